"""List the recipes: each is a visible tuple of passes."""

from __future__ import annotations

from dataclasses import dataclass

from cosim.ir.errors import UserError
from quant.formats import ActFormat, SsmFormat
from quant.passes.draft import Pass
from quant.passes.fold_norms import FoldNorms
from quant.passes.lower_graph import LowerGraph
from quant.passes.quantise_weights import QuantiseWeights
from quant.passes.rotate_online import RotateOut
from quant.passes.rotate_residual import RotateResidual
from quant.weights import WeightFormat


@dataclass(frozen=True)
class Recipe:
    """Name a tuple of passes; the last one lowers."""

    name: str
    about: str
    passes: tuple[Pass, ...]


def rotated(name: str, weight_bits: int, act_bits: int) -> Recipe:
    """Make a recipe with rotations, searched scales and per-token activations."""
    return Recipe(
        name,
        f"rotated, weights {weight_bits} bits, linear inputs {act_bits} bits per token",
        (
            FoldNorms(),
            RotateResidual(),
            RotateOut(),
            QuantiseWeights(WeightFormat(weight_bits), "nearest" if weight_bits == 8 else "gptq",
                            kinds=(("lm_head", WeightFormat(8)),)),
            LowerGraph(ActFormat(act_bits, group=0 if act_bits > 4 else 8)),
        ),
    )


def plain(name: str, weight_bits: int, act_bits: int) -> Recipe:
    """Make the baseline: no rotation, static absolute-maximum scales, round to nearest."""
    return Recipe(
        name,
        f"baseline, weights {weight_bits} bits, linear inputs {act_bits} bits static",
        (
            FoldNorms(),
            QuantiseWeights(WeightFormat(weight_bits, search_clip=False),
                            kinds=(("lm_head", WeightFormat(8, search_clip=False)),)),
            LowerGraph(ActFormat(act_bits, dynamic=False), SsmFormat()),
        ),
    )


BITS = ((8, 8), (8, 6), (4, 8), (4, 4))
RECIPES: dict[str, Recipe] = {
    r.name: r
    for w, a in BITS
    for r in (rotated(f"w{w}a{a}", w, a), plain(f"w{w}a{a}-rtn", w, a))
}


def find_recipe(name: str) -> Recipe:
    """Return a recipe by name; raise UserError listing those there are."""
    if name not in RECIPES:
        raise UserError(f"no recipe {name!r}; there are {', '.join(RECIPES)}")
    return RECIPES[name]

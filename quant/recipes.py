"""List the recipes: each is a visible tuple of passes."""

from __future__ import annotations

from dataclasses import dataclass

from cosim.ir.errors import UserError
from quant.formats import ActFormat
from quant.options import changed
from quant.passes.draft import Pass
from quant.passes.fold_norms import FoldNorms
from quant.passes.lightmamba import LIGHTMAMBA
from quant.passes.lower_graph import LowerGraph
from quant.passes.quantise_weights import QuantiseWeights
from quant.passes.rotate_online import RotateHeads, RotateOut
from quant.passes.rotate_residual import RotateResidual
from quant.weights import WeightFormat


@dataclass(frozen=True)
class Recipe:
    """Name a tuple of passes; the last one lowers."""

    name: str
    about: str
    passes: tuple[Pass, ...]


# Small matrices that steer time steps, and the head: 5 % of the MACs of the shipped model's linear
# layers and 8 % of typeseg's, yet sensitive. They keep 8 bits in every recipe, baselines included.
SENSITIVE = ("x_proj", "dt_proj", "lm_head")
# Columns that share a multiplier of 8 bits where weights have 4; those of 8 have one a row. With a
# state per channel all are in groups of 16, which adds 6 % to weights of 8 bits, 13 % to those of
# 4: on typeseg's "develop" draw groups of 32 doubled the KL of w8a6, and w4a8 with groups of 128
# agreed on 0.965 to 0.971 of the labels (aim: 0.97), according to the groups of the others.
WEIGHT_GROUP = 128
CHANNEL_GROUP = 16
ACT_GROUP = 8
ACT_MANTISSA_BITS = 3


def rotated(name: str, weight_bits: int, act_bits: int) -> Recipe:
    """Make a recipe with rotations, searched weight scales and dynamic activation scales.

    Each group of 8 activations has a scale of its own per token, with three mantissa bits (8 to 15
    eighths of a power of two).
    """
    eight = ActFormat(8, group=ACT_GROUP, mantissa_bits=ACT_MANTISSA_BITS)
    group = WEIGHT_GROUP if weight_bits < 8 else 0
    return Recipe(
        name,
        f"rotated; weights {weight_bits} bits, GPTQ; linear inputs {act_bits} bits, dynamic",
        (
            FoldNorms(),
            RotateResidual(),
            RotateOut(),
            RotateHeads(),
            QuantiseWeights(
                WeightFormat(weight_bits, group),
                "gptq",
                tuple((kind, WeightFormat(8)) for kind in SENSITIVE),
                CHANNEL_GROUP,
            ),
            LowerGraph(
                ActFormat(act_bits, group=ACT_GROUP, mantissa_bits=ACT_MANTISSA_BITS),
                kinds=tuple((kind, eight) for kind in SENSITIVE),
            ),
        ),
    )


def plain(name: str, weight_bits: int, act_bits: int) -> Recipe:
    """Make the baseline: no rotation, static absolute-maximum scales, round to nearest."""
    eight = ActFormat(8, dynamic=False)
    return Recipe(
        name,
        f"baseline; weights {weight_bits} bits per row, nearest; linear inputs {act_bits} bits, "
        "static",
        (
            FoldNorms(),
            QuantiseWeights(
                WeightFormat(weight_bits, search_clip=False),
                kinds=tuple((kind, WeightFormat(8, search_clip=False)) for kind in SENSITIVE),
            ),
            LowerGraph(
                ActFormat(act_bits, dynamic=False),
                kinds=tuple((kind, eight) for kind in SENSITIVE),
            ),
        ),
    )


BITS = ((8, 8), (8, 6), (4, 8), (4, 4))
RECIPES: dict[str, Recipe] = {
    r.name: r for w, a in BITS for r in (rotated(f"w{w}a{a}", w, a), plain(f"w{w}a{a}-rtn", w, a))
}
RECIPES |= {name: Recipe(name, *rest) for name, rest in LIGHTMAMBA.items()}


def find_recipe(name: str) -> Recipe:
    """Return a recipe by name, with options behind it; raise UserError listing those there are.

    >>> find_recipe("w4a4+rotate-bc+state24").about
    'rotated; weights 4 bits, GPTQ; linear inputs 4 bits, dynamic; rotate-bc, state24'
    """
    base, *options = name.split("+")
    if base not in RECIPES:
        raise UserError(f"no recipe {base!r}; there are {', '.join(RECIPES)}")
    found = RECIPES[base]
    if not options:
        return found
    about = f"{found.about}; {', '.join(options)}"
    return Recipe(name, about, changed(name, found.passes, options))

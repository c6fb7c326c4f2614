"""Lower a config alone, without weights: the graph can be printed, simulated and priced."""

from __future__ import annotations

from cosim.ir.errors import InternalError
from cosim.ir.model import Model
from quant.calibrate import NominalRanges
from quant.family import FloatModel, linears
from quant.formats import SsmFormat
from quant.lower.source import Source
from quant.models import bimamba, mamba, mamba2, rwkv4, rwkv5
from quant.passes.lightmamba import HEAD_ACT, LowerLightMamba, RotateWeighted
from quant.passes.lower_graph import LOWERINGS, LowerGraph
from quant.passes.quantise_weights import QuantiseWeights
from quant.passes.rotate_online import RotateOut, RotateState
from quant.passes.rotate_residual import RotateResidual
from quant.recipes import Recipe
from quant.rotation_check import check_rotations
from quant.weights import IntWeight

AnyConfig = mamba.Config | mamba2.Config | bimamba.Config | rwkv4.Config | rwkv5.Config


def lower_config(name: str, config: AnyConfig, recipe: Recipe) -> Model:
    """Return the graph that the recipe would give, with constants declared by type only."""
    quantise = next((p for p in recipe.passes if isinstance(p, QuantiseWeights)), None)
    light = next((p for p in recipe.passes if isinstance(p, LowerLightMamba)), None)
    lower = next((p for p in recipe.passes if isinstance(p, LowerGraph)), None)
    if quantise is None or (lower is None and light is None):
        raise InternalError(f"recipe {recipe.name} does not quantise weights and lower")
    rotated = next((p for p in recipe.passes if isinstance(p, RotateResidual)), None)
    has = {type(p) for p in recipe.passes}
    model, shapes = _empty(config)
    for step in recipe.passes:
        step.check(model)
    matrices = {
        matrix: IntWeight(quantise.format_of(model, matrix), (shapes[matrix][0], shapes[matrix][1]))
        for matrix, _ in linears(model)
    }
    source = Source(
        config=config,
        shapes=shapes,
        tensors=None,
        matrices=matrices,
        ranges=NominalRanges(),
        acts={"default": HEAD_ACT}
        if lower is None
        else {"default": lower.act, **dict(lower.kinds)},
        ssm=SsmFormat() if lower is None else lower.ssm,
        out_hadamard=bool({RotateOut, RotateWeighted} & has),
        state_hadamard=RotateState in has,
        basis=f"{config.hidden_size}s{rotated.seed}" if rotated else "",
    )
    if light is not None:
        return light.emit(name, source)
    integer = LOWERINGS[type(model)](name, source)
    check_rotations(integer)
    return integer


def _empty(config: AnyConfig) -> tuple[FloatModel, dict[str, tuple[int, ...]]]:
    """Return the model of a config without weights, and the shapes of those it would have."""
    match config:
        case mamba.Config():
            return mamba.Mamba(config, {}), mamba.weight_shapes(config)
        case mamba2.Config():
            return mamba2.Mamba2(config, {}), mamba2.weight_shapes(config)
        case bimamba.Config():
            return bimamba.BiMamba(config, {}), bimamba.weight_shapes(config)
        case rwkv4.Config():
            return rwkv4.Rwkv4(config, {}), rwkv4.weight_shapes(config)
        case rwkv5.Config():
            return rwkv5.Rwkv5(config, {}), rwkv5.weight_shapes(config)

"""Lower a config alone, without weights: the graph can be printed, simulated and priced."""

from __future__ import annotations

from cosim.ir.errors import InternalError
from cosim.ir.model import Model
from quant.calibrate import NominalRanges
from quant.family import linears, stream_of
from quant.formats import AttentionFormat, SsmFormat
from quant.lower.source import Source
from quant.lower.spike import spiked
from quant.models import Config, bare_model, llama, weight_shapes
from quant.passes.lightmamba import HEAD_ACT, LowerLightMamba, RotateWeighted
from quant.passes.lower_graph import LOWERINGS, LowerGraph
from quant.passes.quantise_weights import QuantiseWeights
from quant.passes.rotate_online import RotateHeads, RotateOut, RotateState
from quant.passes.rotate_residual import RotateResidual
from quant.passes.spike import SpikeLinears
from quant.recipes import Recipe
from quant.rotation_check import check_rotations
from quant.weights import IntWeight


def lower_config(name: str, config: Config, recipe: Recipe) -> Model:
    """Return the graph that the recipe would give, with constants declared by type only."""
    quantise = next((p for p in recipe.passes if isinstance(p, QuantiseWeights)), None)
    light = next((p for p in recipe.passes if isinstance(p, LowerLightMamba)), None)
    lower = next((p for p in recipe.passes if isinstance(p, LowerGraph)), None)
    if quantise is None or (lower is None and light is None):
        raise InternalError(f"recipe {recipe.name} does not quantise weights and lower")
    rotated = next((p for p in recipe.passes if isinstance(p, RotateResidual)), None)
    has = {type(p) for p in recipe.passes}
    model, shapes = bare_model(config), weight_shapes(config)
    for step in recipe.passes:
        step.check(model)
    turns = stream_of(model).rotates
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
        head_order=config.head_dim
        if RotateHeads in has and isinstance(config, llama.Config)
        else 0,
        attention=AttentionFormat() if lower is None else lower.attention,
        basis=f"{config.hidden_size}s{rotated.seed}" if rotated and turns else "",
    )
    if light is not None:
        return light.emit(name, source)
    integer = LOWERINGS[type(model)](name, source)
    for step in recipe.passes:
        integer = spiked(integer, step.form) if isinstance(step, SpikeLinears) else integer
    check_rotations(integer)
    return integer

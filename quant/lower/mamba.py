"""Lower Mamba-1 to one forward step graph: token id in, logits and greedy token out."""

from __future__ import annotations

from cosim.ir.model import Model
from quant.lower.chain import Chain
from quant.lower.emit import Emitter, Fx
from quant.lower.ends import embed, head, residual_add
from quant.lower.parts import convolution, silu_of
from quant.lower.project import gate_and_project, project_in
from quant.lower.selective import selective_operands, selective_scan
from quant.lower.source import Source
from quant.models.mamba import Config


def lower(name: str, src: Source[Config]) -> Model:
    """Return the integer model of a Mamba-1."""
    c = src.config
    chain = Chain(src.has_weights)
    em = chain.open("step")
    r = embed(em, src, c.vocab_size, c.hidden_size)
    for layer in range(c.num_hidden_layers):
        r = residual_add(em, src, layer, r, _mixer(em, src, layer, r))
    head(em, src, r, c.vocab_size, c.layer_norm_epsilon)
    chain.close()
    return chain.model(name)


def _mixer(em: Emitter, src: Source[Config], layer: int, r: Fx) -> Fx:
    c, p, mixer = src.config, f"layers.{layer}", f"backbone.layers.{layer}.mixer"
    inner = c.intermediate_size
    conv_in, z = project_in(em, src, layer, r, c.layer_norm_epsilon)
    taps = src.array(f"{mixer}.conv1d.weight")
    conv = convolution(
        em,
        f"{p}.conv",
        conv_in,
        None if taps is None else taps[:, 0, :].T,
        src.array(f"{mixer}.conv1d.bias"),
        c.conv_kernel,
        src.ranges.of(f"{p}.conv", (inner,)),
        src.ssm,
    )
    act = silu_of(em, f"{p}.act", conv, src.ranges.of(f"{p}.x", (inner,)), src.ssm)
    operands = selective_operands(em, src, layer, act, 0.0)
    y = selective_scan(em, src, layer, operands, float(src.ranges.of(f"{p}.y", (inner,)).max()))
    return gate_and_project(em, src, layer, y, z, None)

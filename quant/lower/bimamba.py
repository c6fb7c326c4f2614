"""Lower typeseg's bidirectional Mamba: per block a convolution with look-ahead, two scans.

Segments: `in` (embedding, first projection), then per block i `conv.i` (forward with look-ahead:
convolution, SiLU, x_proj, dt), `fwd.i` (scan) and `bwd.i` (scan backward in time, gate, out_proj,
and the next block's projection or the head).
"""

from __future__ import annotations

import torch

from cosim.ir.model import Model
from quant.lower.chain import Chain
from quant.lower.emit import Fx
from quant.lower.ends import embed, head, residual_add
from quant.lower.parts import convolution, silu_of
from quant.lower.project import gate_and_project, project_in
from quant.lower.selective import WIDE, selective_operands, selective_scan
from quant.lower.source import Source
from quant.models.bimamba import BYTE_VALUES, Config, symbols

OPERANDS = ("x", "dt", "B", "C")


def lower(name: str, src: Source[Config]) -> Model:
    """Return the integer model of a bidirectional Mamba whose norms are centred."""
    c = src.config
    chain = Chain(src.has_weights)
    em = chain.open("in")
    rows = symbols(torch.arange(BYTE_VALUES)).numpy()
    r = embed(em, src, BYTE_VALUES, c.hidden_size, rows)
    for layer in range(c.num_hidden_layers):
        conv_in, z = project_in(chain.em, src, layer, r, c.layer_norm_epsilon)
        for port, value in (("r", r), ("conv_in", conv_in), ("z", z)):
            chain.give(port, value)
        chain.close()
        _convolve(chain, src, layer)
        _scan_forward(chain, src, layer)
        r = _scan_backward(chain, src, layer)
    head(chain.em, src, r, len(c.labels), c.layer_norm_epsilon)
    chain.close()
    return chain.model(name)


def _convolve(chain: Chain, src: Source[Config], layer: int) -> None:
    c, p, mixer = src.config, f"layers.{layer}", f"backbone.layers.{layer}.mixer"
    em = chain.open(f"conv.{layer}", look_ahead=c.look_ahead)
    taps = src.array(f"{mixer}.conv1d.weight")
    conv = convolution(
        em,
        f"{p}.conv",
        chain.bring("conv_in"),
        None if taps is None else taps[:, 0, :].T,
        src.array(f"{mixer}.conv1d.bias"),
        c.conv_kernel,
        src.ranges.of(f"{p}.conv", (c.intermediate_size,)),
        src.ssm,
    )
    top = src.ranges.of(f"{p}.x", (c.intermediate_size,))
    act = silu_of(em, f"{p}.act", conv, top, src.ssm)
    for port, value in selective_operands(em, src, layer, act, c.time_step_floor).items():
        chain.give(port, value)
    chain.close()


def _bring_operands(chain: Chain) -> dict[str, Fx]:
    return {port: chain.bring(port) for port in OPERANDS}


def _y_top(src: Source[Config], layer: int) -> float:
    inner = (src.config.intermediate_size,)
    return max(float(src.ranges.of(f"layers.{layer}.{t}", inner).max()) for t in ("y_fwd", "y_bwd"))


def _scan_forward(chain: Chain, src: Source[Config], layer: int) -> None:
    em = chain.open(f"fwd.{layer}")
    y = selective_scan(em, src, layer, _bring_operands(chain), _y_top(src, layer))
    chain.give("y_fwd", y)
    chain.close()


def _scan_backward(chain: Chain, src: Source[Config], layer: int) -> Fx:
    em = chain.open(f"bwd.{layer}", direction="backward")
    operands = _bring_operands(chain)
    y_fwd, z, r = chain.bring("y_fwd"), chain.bring("z"), chain.bring("r")
    y_bwd = selective_scan(em, src, layer, operands, _y_top(src, layer))
    y = em.add(f"layers.{layer}.y", y_fwd, y_bwd, WIDE)
    out = gate_and_project(em, src, layer, y, z, None)
    return residual_add(em, src, layer, r, out)

"""Lower Mamba-2 to one forward step graph: token id in, logits and greedy token out.

Glossary: see quant/models/mamba2.py. `r` is the residual (i32), `u` its norm (i16); a value named
`layers.i.what` stands for the tap of that name in the float model; `k` is 1 - exp(-v), which no
tap shows. Shapes: G groups, H heads, P channels per head, N states.
"""

from __future__ import annotations

import numpy as np

from cosim.ir.model import Model
from cosim.ir.types import i
from cosim.ops import Hadamard
from quant.lower.chain import Chain
from quant.lower.emit import Emitter, Fx, frac_for
from quant.lower.ends import embed, head, residual_add
from quant.lower.linear import Accumulator, lower_linear, section
from quant.lower.parts import NORM_INPUT, convolution, decay_complement, norm, silu_of, step_size
from quant.lower.project import GatedNorm, gate_and_project
from quant.lower.scan import ScanRanges, scan
from quant.lower.source import Source
from quant.models.mamba2 import Config


def lower(name: str, src: Source[Config]) -> Model:
    """Return the integer model of a Mamba-2."""
    chain = Chain(src.has_weights)
    em = chain.open("step")
    c = src.config
    r = embed(em, src, c.vocab_size, c.hidden_size)
    for layer in range(c.num_hidden_layers):
        r = residual_add(em, src, layer, r, _mixer(em, src, layer, r))
    head(em, src, r, c.vocab_size, c.layer_norm_epsilon)
    chain.close()
    return chain.model(name)


def _mixer(em: Emitter, src: Source[Config], layer: int, r: Fx) -> Fx:
    c, p = src.config, f"layers.{layer}"
    inner, n, groups = c.intermediate_size, c.state_size, c.n_groups
    conv_size = inner + 2 * groups * n
    mixer = f"backbone.layers.{layer}.mixer"

    def top(tap: str, *shape: int) -> np.ndarray:
        return src.ranges.of(f"{p}.{tap}", shape)

    u = norm(
        em, f"{p}.norm", r, top("residual", c.hidden_size), c.layer_norm_epsilon, src.ssm.headroom
    )
    acc = lower_linear(
        em,
        f"{p}.in_proj",
        u,
        src.matrices[f"{mixer}.in_proj.weight"],
        src.weight_name(f"{mixer}.in_proj.weight"),
        src.act("in_proj"),
        top("norm", c.hidden_size),
    )
    bias = src.bias(f"{mixer}.in_proj.bias")

    def part(what: str, start: int, stop: int, bits: int, headroom: float, per: bool) -> Fx:
        peak = top("in_proj", 2 * inner + 2 * groups * n + c.num_heads)[start:stop]
        frac = frac_for(peak if per else peak.max(), i(bits), headroom)
        cut = None if bias is None else bias[start:stop]
        return section(em, f"{p}.{what}", acc, start, stop, i(bits), frac, cut)

    z = part("z", 0, inner, src.ssm.value_bits, src.ssm.headroom, False)
    bits = src.ssm.conv_bits
    conv_in = part("conv_in", inner, inner + conv_size, bits, src.ssm.room(bits), True)
    dt_raw = _dt_raw(em, src, layer, acc, inner + conv_size, bias)
    y = _ssm(em, src, layer, conv_in, dt_raw)
    form = GatedNorm(c.layer_norm_epsilon, c.n_groups, c.norm_before_gate)
    return gate_and_project(em, src, layer, y, z, form)


def _dt_raw(
    em: Emitter,
    src: Source[Config],
    layer: int,
    acc: Accumulator,
    start: int,
    bias: np.ndarray | None,
) -> Fx:
    c, p = src.config, f"layers.{layer}"
    total = src.bias(f"backbone.layers.{layer}.mixer.dt_bias")
    if total is not None and bias is not None:
        total = total + bias[start:]
    peak = src.ranges.of(f"{p}.dt_raw", (c.num_heads,)).max()
    if total is not None:
        peak = max(peak, np.abs(total).max())
    wide = i(src.ssm.value_bits)
    frac = frac_for(np.asarray(peak), wide, src.ssm.headroom)
    return section(em, f"{p}.dt_raw", acc, start, start + c.num_heads, wide, frac, total)


def _ssm(em: Emitter, src: Source[Config], layer: int, conv_in: Fx, dt_raw: Fx) -> Fx:
    c, p, mixer = src.config, f"layers.{layer}", f"backbone.layers.{layer}.mixer"
    inner, n, groups, heads = c.intermediate_size, c.state_size, c.n_groups, c.num_heads
    per_group, channels = heads // groups, c.head_dim
    ranges, fmt = src.ranges, src.ssm
    conv_size = inner + 2 * groups * n
    taps = src.array(f"{mixer}.conv1d.weight")
    conv = convolution(
        em,
        f"{p}.conv",
        conv_in,
        None if taps is None else taps[:, 0, :].T,
        src.array(f"{mixer}.conv1d.bias"),
        c.conv_kernel,
        ranges.of(f"{p}.conv", (conv_size,)),
        fmt,
    )
    tops = {
        t: ranges.of(f"{p}.{t}", (s,))
        for t, s in (("x", inner), ("B", groups * n), ("C", groups * n))
    }
    act = silu_of(em, f"{p}.act", conv, np.concatenate(list(tops.values())), fmt)
    narrow, room = i(fmt.operand_bits), fmt.room(fmt.operand_bits)
    x = em.requant(
        f"{p}.x", em.slice(f"{p}.x16", act, 0, inner), narrow, frac_for(tops["x"], narrow, room)
    )
    x = em.reshape(f"{p}.x_heads", x, (groups, per_group, channels, 1))
    growth = np.sqrt(n) if src.state_hadamard else 1.0
    turned = "_rotated" if src.state_hadamard else ""
    b_top, c_top = (ranges.of(f"{p}.{t}{turned}", (groups * n,)).max() for t in ("B", "C"))
    b = _state_operand(em, src, f"{p}.B", act, inner, b_top * growth, 0)
    c_in = _state_operand(
        em, src, f"{p}.C", act, inner + groups * n, c_top / growth, n.bit_length() - 1
    )
    dt = step_size(
        em, f"{p}.dt", dt_raw, ranges.of(f"{p}.dt", (heads,)), 0.0, c.time_step_limit, fmt
    )
    dt = em.reshape(f"{p}.dt_heads", dt, (groups, per_group, 1, 1))
    rate = src.array(f"{mixer}.A_log")
    k = decay_complement(
        em, p, dt, None if rate is None else np.exp(rate), (groups, per_group, 1, 1), fmt
    )
    shape = (groups, per_group, channels, n)
    heads_of = ranges.of(f"{p}.state", shape).max(axis=(2, 3), keepdims=True)
    dt_top = ranges.of(f"{p}.dt", (groups, per_group, 1, 1))
    x_top = tops["x"].reshape(groups, per_group, channels, 1)
    bounds = ScanRanges(
        heads_of * growth, dt_top * x_top, float(ranges.of(f"{p}.y", (inner,)).max())
    )
    y = scan(
        em,
        f"{p}.ssm",
        shape,
        x,
        dt,
        k,
        b,
        c_in,
        src.array(f"{mixer}.D"),
        (groups, per_group, 1),
        bounds,
        fmt,
        NORM_INPUT,
        fmt.state,
    )
    return em.reshape(f"{p}.y", y, (inner,))


def _state_operand(
    em: Emitter, src: Source[Config], name: str, act: Fx, start: int, top: float, gained: int
) -> Fx:
    """Cut B or C out, rotate it along N if asked, and narrow it.

    The unnormalised rotation makes B sqrt(N) times larger; C takes the 1/N (`gained` fraction
    bits), so that the product C.B is unchanged.
    """
    c = src.config
    size = c.n_groups * c.state_size
    wide = em.slice(f"{name}16", act, start, start + size)
    if src.state_hadamard:
        turned = em.node(f"{name}.rotated", Hadamard(c.state_size), [wide.name], wide.frac)
        wide = Fx(turned.name, turned.frac + gained)
    narrow = i(src.ssm.operand_bits)
    frac = frac_for(np.asarray(top), narrow, src.ssm.room(narrow.bits))
    out = em.requant(name, wide, narrow, frac)
    return em.reshape(f"{name}_heads", out, (c.n_groups, 1, 1, c.state_size))

"""Lower Mamba-2 to LightMamba's released integer graph (PKU-SEC-Lab/LightMamba, `layers.h`).

Fraction bits and shifts are the release's, whatever the model's ranges: nothing is calibrated.
Where the release asserts that a value fits 32 bits, it saturates here. Three things are not in the
release and are done as in every other recipe: the embedding (16 bits), the final norm and the head
(8 bits). Values are named after quant/lower/mamba2.py.

Glossary: H heads, P channels per head, N states, inner = H P. Every value is i32 or codes of 8 (4
before a matrix) bits with a shift per 8 neighbours: channels, heads (dt, dA, dB) or states (h2).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cosim.ir.errors import UserError
from cosim.ir.model import Model
from cosim.ir.types import TensorType, i, smallest_type
from cosim.ops import Add, Clip, Embed, Hadamard, Linear
from quant.lower.chain import Chain
from quant.lower.emit import Emitter, Fx, frac_for
from quant.lower.ends import head
from quant.lower.lightmamba_conv import activated, convolved
from quant.lower.lightmamba_scaled import GROUP, WIDE, product, quantise, scaled, truncate
from quant.lower.lightmamba_ssm import LightFormat, ssm
from quant.lower.lightmamba_tables import NORM_GATED, NORM_IN, NormRange, root_table
from quant.lower.source import Source
from quant.models.mamba2 import Config

# The sum of squares of 5120 such values stays in 63 bits; the release's 64 bits end there too.
NORM_INPUT = i(26)
NORM_WEIGHTS = (i(11), i(13))
WEIGHT_FRAC = 10
FRAC = 10


@dataclass(frozen=True)
class Projection:
    """Name a matrix of the block, the fraction bits of its input, and how far its sum is cut."""

    name: str
    down: int


IN_PROJ, OUT_PROJ = Projection("in_proj", 10), Projection("out_proj", 12)


def lower(name: str, src: Source[Config], form: LightFormat) -> Model:
    """Return the integer model; raise UserError where the release has no such Mamba-2."""
    c = src.config
    _refuse_others(c)
    chain = Chain(src.has_weights)
    em = chain.open("step")
    r = _embed(em, src)
    for layer in range(c.num_hidden_layers):
        r = _block(em, src, layer, r, form)
    head(em, src, r, c.vocab_size, c.layer_norm_epsilon)
    chain.close()
    return chain.model(name)


def _refuse_others(c: Config) -> None:
    open_steps = c.time_step_limit == (0.0, np.inf)
    plain = c.n_groups == 1 and not c.use_bias and not c.norm_before_gate and open_steps
    if not plain:
        raise UserError(
            "lightmamba: the released graph has one group of B and C, no bias in its projections, "
            "no limits of the time step and the gate before the norm; quantise this model with "
            "w4a4 instead"
        )
    if c.intermediate_size % GROUP or c.state_size % GROUP or c.hidden_size % GROUP:
        raise UserError(
            f"lightmamba: hidden size {c.hidden_size}, inner size {c.intermediate_size} and state "
            f"size {c.state_size} must be multiples of {GROUP}, the group that shares a shift"
        )


def _embed(em: Emitter, src: Source[Config]) -> Fx:
    c = src.config
    last = c.vocab_size - 1
    token = em.builder.input("token", TensorType(smallest_type(0, last), (), 0, last))
    table = src.array("backbone.embeddings.weight")
    dtype = i(src.ssm.embed_bits)
    frac = FRAC if table is None else int(frac_for(np.abs(table).max(), dtype, 1.0))
    name = src.weight_name("backbone.embeddings.weight")
    stored = em.fixed(name, table, (c.vocab_size, c.hidden_size), dtype, frac)
    row = em.node("embed.row", Embed(), [token, stored.name], frac)
    return em.requant("embed", row, WIDE, FRAC)


def _block(em: Emitter, src: Source[Config], layer: int, r: Fx, form: LightFormat) -> Fx:
    c, p, mixer = src.config, f"layers.{layer}", f"backbone.layers.{layer}.mixer"
    inner, conv = c.intermediate_size, c.conv_channels
    u = _norm(em, src, f"{p}.norm", f"backbone.layers.{layer}.norm", r, NORM_IN)
    projected = _project(em, src, layer, u, IN_PROJ, 0)
    z = em.slice(f"{p}.z", projected, 0, inner)
    conv_in = em.slice(f"{p}.conv_in", projected, inner, inner + conv)
    dt_in = em.slice(f"{p}.dt_in", projected, inner + conv, inner + conv + c.num_heads)
    parts = activated(em, src, layer, convolved(em, src, layer, conv_in), z)
    y = scaled(em, f"{p}.y8", ssm(em, src, layer, parts, dt_in, form), 8)
    gated = product(em, f"{p}.gated", y, parts.z, 10)
    out_in = _norm(em, src, f"{p}.gated_norm", f"{mixer}.norm", gated, NORM_GATED)
    order = inner if src.out_hadamard else 0
    if order:
        turned = em.node(f"{p}.out_in", Hadamard(order), [out_in.name], out_in.frac)
        # The norm 1 / sqrt(n) is a shift here and what is left of it in the weights.
        shift = hadamard_shift(order)
        cut = truncate(em, f"{p}.out_in32", turned, shift)
        out_in = Fx(cut.name, out_in.frac)
    out = _project(em, src, layer, out_in, OUT_PROJ, order)
    return em.node(f"{p}.residual_out", Add(WIDE), [r.name, out.name], FRAC)


def hadamard_shift(order: int) -> int:
    """Return the shift nearest to the square root of an order.

    >>> hadamard_shift(5120), hadamard_shift(384), hadamard_shift(1024)
    (6, 4, 5)
    """
    return round(np.log2(order) / 2)


def _norm(em: Emitter, src: Source[Config], name: str, weight: str, x: Fx, where: NormRange) -> Fx:
    """Normalise x by table, times the norm's weight; the binary point stays."""
    size = em.type(x).shape[-1]
    roots = root_table(where, size)
    shared = f"table.{name.rsplit('.', 1)[-1]}"
    if shared not in em.builder.types:
        em.builder.const(shared, roots.table, smallest_type(0, int(roots.table.max())))
    dtype = NORM_WEIGHTS[0 if where is NORM_IN else 1]
    w = em.fixed(f"{name}.weight", src.array(f"{weight}.weight"), (size,), dtype, 8)
    narrow = em.node(f"{name}.in", Clip(NORM_INPUT.lo + 1, NORM_INPUT.hi), [x.name], x.frac)
    return em.node(name, roots.op, [narrow.name, shared, w.name], x.frac)


def _project(
    em: Emitter, src: Source[Config], layer: int, x: Fx, where: Projection, order: int
) -> Fx:
    """Quantise as wide as the weights, multiply, and cut the sum.

    Released are 4 bits; the scales of weights are 2^a + 2^b.
    """
    name = f"layers.{layer}.{where.name}"
    matrix = f"backbone.layers.{layer}.mixer.{where.name}.weight"
    weight = src.matrices[matrix]
    codes, shifts = quantise(em, name, x, weight.code_type.bits)
    stored = src.weight_name(matrix, order)
    w = em.const(stored, weight.codes, weight.shape, weight.code_type)
    m = em.const(
        f"{stored}.multiplier",
        weight.multipliers,
        (weight.shape[0], weight.group_count),
        weight.multiplier_type,
    )
    op = Linear(weight.group, GROUP, 0)
    acc = em.node(f"{name}.acc", op, [codes.name, w, m, shifts.name], x.uniform + WEIGHT_FRAC)
    return truncate(em, name, acc, where.down)

"""Lower what stands at both ends of every model: embedding, residual, final norm, head, arg-max."""

from __future__ import annotations

from typing import Any

import numpy as np

from cosim.ir.types import TensorType, i, smallest_type
from cosim.ops import Argmax, Embed
from quant.lower.emit import Emitter, Fx, frac_for
from quant.lower.linear import lower_linear, section
from quant.lower.parts import norm
from quant.lower.source import Source

RESIDUAL = i(32)


def residual_frac(src: Source[Any], layer: int) -> int:
    """Return the fraction bits of the residual that layer `layer` writes (-1: the embedding).

    Each layer moves the binary point to what it adds up, because trained residuals grow with
    depth by orders of magnitude and a norm follows each of them.
    """
    size = (src.config.hidden_size,)
    if layer < 0:
        top = src.ranges.of("embed", size).max()
        return _residual_point(src, top)
    return sum_frac(src, tuple(f"layers.{layer}.{t}" for t in ("residual", "out")))


def sum_frac(src: Source[Any], taps: tuple[str, ...]) -> int:
    """Return the fraction bits of a residual that holds the sum of two named values."""
    size = (src.config.hidden_size,)
    return _residual_point(src, max(src.ranges.of(t, size).max() for t in taps))


def _residual_point(src: Source[Any], top: float) -> int:
    return int(frac_for(np.asarray(2 * top), RESIDUAL, src.ssm.headroom))


def embed(
    em: Emitter,
    src: Source[Any],
    vocabulary: int,
    size: int,
    rows: np.ndarray | None = None,
    matrix: str = "backbone.embeddings.weight",
) -> Fx:
    """Declare the token input and look its row up; return the residual.

    `rows` [vocabulary] says which row of the embedding each token has, where they differ.
    """
    last = vocabulary - 1
    token = em.builder.input("token", TensorType(smallest_type(0, last), (), 0, last))
    table = src.array(matrix)
    dtype = i(src.ssm.embed_bits)
    frac = 6 if table is None else int(frac_for(np.abs(table).max(), dtype, 1.0))
    if table is not None and rows is not None:
        table = table[rows]
    stored = em.fixed(src.weight_name(matrix), table, (vocabulary, size), dtype, frac)
    row = em.node("embed.row", Embed(), [token, stored.name], frac)
    return em.requant("embed", row, RESIDUAL, residual_frac(src, -1))


def residual_add(em: Emitter, src: Source[Any], layer: int, r: Fx, out: Fx) -> Fx:
    """Add a block's output to the residual, in the block's binary point."""
    moved = em.requant(f"layers.{layer}.residual_in", r, RESIDUAL, residual_frac(src, layer))
    return em.add(f"layers.{layer}.residual_out", moved, out, RESIDUAL)


def head(
    em: Emitter,
    src: Source[Any],
    r: Fx,
    classes: int,
    epsilon: float,
    taps: tuple[str, str] | None = None,
) -> Fx:
    """Normalise, project to the classes (i32 logits) and choose the greedy one.

    `taps` name the two values whose sum the residual is; by default those of the last block.
    """
    size = src.config.hidden_size
    last = f"layers.{src.config.num_hidden_layers - 1}"
    taps = taps or (f"{last}.residual", f"{last}.out")
    tops = sum(src.ranges.of(t, (size,)).max() for t in taps)
    u = norm(em, "final_norm", r, np.asarray(tops), epsilon, src.ssm.headroom)
    acc = lower_linear(
        em,
        "lm_head",
        u,
        src.matrices["lm_head.weight"],
        src.weight_name("lm_head.weight"),
        src.act("lm_head"),
        src.ranges.of("final_norm", (size,)),
    )
    frac = int(frac_for(src.ranges.of("logits", (classes,)).max(), i(32), 8.0))
    logits = section(em, "logits", acc, 0, classes, i(32), min(frac, 20), src.bias("lm_head.bias"))
    em.builder.output("logits", logits.name)
    em.builder.output("next", em.node("next", Argmax(), [logits.name], 0).name)
    return logits

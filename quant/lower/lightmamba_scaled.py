"""Emit values as LightMamba keeps them: codes with a power-of-two shift per group of 8.

The quantiser is applied to what flows (`quantise`), and, before the graph is built, to constants
(`scaled_constant`): a real value is rounded to its binary point first, as all integers there are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cosim.ir.numerics import saturate
from cosim.ir.op import Op
from cosim.ir.types import IntType, TensorType, i, u
from cosim.ops import GroupShift, MulShift, Quantize, Reshape, Slice, Spread, Transpose, Truncate
from quant.lower.emit import Emitter, Fx

GROUP, MOST = 8, 15
SHIFT = u(4)
WIDE = i(32)
# Constants have 5 bits for a shift; beyond 24, no product would fit the release's sums of 34 bits.
CONSTANT_SHIFT, CONSTANT_MOST = u(5), 24


@dataclass(frozen=True)
class Scaled:
    """Name codes and the shift of each of them: real = code * 2^(shift - frac)."""

    codes: Fx
    shifts: Fx

    @property
    def frac(self) -> int:
        """Return the fraction bits of the value that the codes stand for."""
        return self.codes.uniform


def quantise(em: Emitter, name: str, x: Fx, bits: int) -> tuple[Fx, Fx]:
    """Quantise x by groups of 8 of its last axis; return codes, and one shift per group."""
    shifts = em.node(f"{name}.shift", GroupShift(GROUP, bits, MOST), [x.name], 0)
    op = Quantize(GROUP, i(bits))
    return code_node(em, f"{name}.q", op, [x.name, shifts.name], x.frac), shifts


def code_node(em: Emitter, name: str, op: Op, inputs: list[str], frac: np.ndarray) -> Fx:
    """Add a node of codes: each has a scale of its own, so that none is annotated."""
    em.builder.add(name, op, *inputs)
    return Fx(name, frac)


def scaled(em: Emitter, name: str, x: Fx, bits: int) -> Scaled:
    """Quantise x and wire its group's shift to every element."""
    codes, shifts = quantise(em, name, x, bits)
    return Scaled(codes, spread(em, f"{name}.s", shifts, em.type(x).shape[-1]))


def spread(em: Emitter, name: str, shifts: Fx, size: int) -> Fx:
    """Give each element of the last axis its group's shift."""
    return em.node(name, Spread(GROUP, size), [shifts.name], 0)


def cut(em: Emitter, name: str, codes: Fx, shifts: Fx, start: int, stop: int) -> Scaled:
    """Take a range of codes that begins and ends with a group, with the shift of each element."""
    part = code_node(em, f"{name}.q", Slice(start, stop), [codes.name], codes.frac)
    own = em.node(f"{name}.shift", Slice(start // GROUP, stop // GROUP), [shifts.name], 0)
    return Scaled(part, spread(em, f"{name}.s", own, stop - start))


def reshaped(em: Emitter, x: Scaled, target: tuple[int, ...], suffix: str) -> Scaled:
    """Reshape codes and shifts alike."""

    def one(v: Fx) -> Fx:
        name = f"{v.name}.{suffix}"
        return code_node(em, name, Reshape(em.type(v).shape, target), [v.name], v.frac)

    return Scaled(one(x.codes), one(x.shifts))


def transposed(em: Emitter, x: Scaled, order: tuple[int, ...], suffix: str) -> Scaled:
    """Put the axes of codes and shifts in another order."""

    def one(v: Fx) -> Fx:
        return code_node(em, f"{v.name}.{suffix}", Transpose(order), [v.name], v.frac)

    return Scaled(one(x.codes), one(x.shifts))


def product(em: Emitter, name: str, a: Scaled, b: Scaled, down: int) -> Fx:
    """Multiply two scaled values and drop `down` fraction bits, rounding down; i32."""
    inputs = [a.codes.name, b.codes.name, a.shifts.name, b.shifts.name]
    return em.node(name, MulShift(down, WIDE), inputs, a.frac + b.frac - down)


def truncate(em: Emitter, name: str, x: Fx, down: int) -> Fx:
    """Drop `down` fraction bits, rounding down; i32."""
    return em.node(name, Truncate(down, WIDE), [x.name], x.frac - down)


def quantise_constant(data: np.ndarray, frac: int, bits: int) -> tuple[np.ndarray, np.ndarray]:
    """Return codes and the shift of every element, in groups of 8 of the last axis.

    >>> codes, shifts = quantise_constant(np.array([0.25, 0.1]), 10, 8)
    >>> codes.tolist(), shifts.tolist()
    ([127, 51], [1, 1])
    """
    x = np.rint(data * 2.0**frac).astype(np.int64)
    rule = GroupShift(GROUP, bits, CONSTANT_MOST)
    shifts = rule.meaning(x)
    codes = saturate(Quantize(GROUP, i(bits)).meaning(x, shifts), i(bits))
    return codes, Spread(GROUP, x.shape[-1]).meaning(shifts)


def scaled_constant(
    em: Emitter, name: str, data: np.ndarray | None, shape: tuple[int, ...], frac: int, bits: int
) -> Scaled:
    """Declare a real vector as codes and shifts, in groups of 8, of the shape given."""
    codes = shifts = None
    if data is not None:
        codes, shifts = quantise_constant(data, frac, bits)
    q = em.const(f"{name}.q", codes, shape, i(bits))
    s = _shift_constant(em, f"{name}.s", shifts, shape)
    return Scaled(Fx(q, np.asarray(frac)), Fx(s, np.asarray(0)))


def _shift_constant(em: Emitter, name: str, data: np.ndarray | None, shape: tuple[int, ...]) -> str:
    if data is None or not em.has_weights:
        return em.builder.const(name, TensorType(CONSTANT_SHIFT, shape, 0, CONSTANT_MOST))
    return em.const(name, data, shape, CONSTANT_SHIFT)


def grouped_constant(
    em: Emitter, name: str, data: np.ndarray | None, shape: tuple[int, ...], frac: int
) -> tuple[str, str]:
    """Declare a real constant as 8-bit codes and one shift per 8 of its last axis."""
    codes = shifts = None
    if data is not None:
        codes, each = quantise_constant(data, frac, 8)
        shifts = each[..., ::GROUP]
    groups = (*shape[:-1], -(-shape[-1] // GROUP))
    q = em.const(f"{name}.q", codes, shape, i(8))
    return q, _shift_constant(em, f"{name}.s", shifts, groups)


def fixed_constant(
    em: Emitter,
    name: str,
    data: np.ndarray | None,
    shape: tuple[int, ...],
    frac: int,
    dtype: IntType,
) -> Fx:
    """Declare what 8-bit codes and their shifts stand for, where only their value is read."""
    values = None
    if data is not None:
        codes, shifts = quantise_constant(data, frac, 8)
        values = codes << shifts
    return Fx(em.const(name, values, shape, dtype), np.asarray(frac))

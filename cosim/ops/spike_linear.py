"""Multiply spikes by a weight matrix, step by step: y = sum_t w(t) * (W s_t).

Glossary (shapes of one token):
    s  [T, K]   spikes of `spike_encode`
    w  [T]      weights of the steps, of the same coding and order
    W, m, c     weight codes, their multipliers, scale codes of activations: see `linear`
    y  [R]      the integers of `linear` on the counts that the spikes stand for
Every product of a step has an operand of 0 and 1, or of -1, 0 and 1: an addition or nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from cosim.ir.numerics import Array, namespace
from cosim.ir.op import Op, Types, largest
from cosim.ir.types import MAX_BITS, TensorType, i
from cosim.ir.work import Work, pair
from cosim.ops.linear import Linear
from cosim.ops.spike_encode import check_form, step_weights


@dataclass(frozen=True)
class SpikeLinear(Op):
    """Compute W c from the spikes of c; inputs: s, W, m and, where act_group > 0, codes."""

    coding: str
    steps: int
    highest_first: bool
    weight_group: int
    act_group: int = 0
    mantissa_bits: int = 0

    name: ClassVar[str] = "spike_linear"
    constants: ClassVar[tuple[int, ...]] = (1, 2)

    @property
    def weights(self) -> list[int]:
        """Return the weight of each step."""
        return step_weights(self.coding, self.steps, self.highest_first)

    @property
    def product(self) -> Linear:
        """Return the product that each step makes."""
        return Linear(self.weight_group, self.act_group, self.mantissa_bits)

    def counted(self, inputs: Types) -> tuple[TensorType, ...]:
        """Return the operands of the same product on counts; raise UserError for other spikes."""
        s = inputs[0]
        check_form(self, self.coding, self.steps, self.highest_first)
        if len(s.shape) != 2 or s.shape[0] != self.steps or s.peak > 1:
            raise self.refuse(
                f"expected spikes [{self.steps},K] of -1, 0 and 1, got {s}; encode the counts"
            )
        ends = [sorted((w * s.lo, w * s.hi)) for w in self.weights]
        lo, hi = sum(a for a, _ in ends), sum(b for _, b in ends)
        return (TensorType(i(MAX_BITS), s.shape[1:], lo, hi), *inputs[1:])

    def infer(self, inputs: Types) -> TensorType:
        """Bound the result by that of the counts that the spikes can mean."""
        return self.product.infer(self.counted(inputs))

    def meaning(self, *inputs: Array) -> Array:
        """Multiply each step's spikes, and add up by the steps' weights."""
        s = inputs[0]
        total = None
        for t, weight in enumerate(self.weights):
            term = self.product.meaning(s[..., t, :], *inputs[1:]) * weight
            total = term if total is None else total + term
        return total

    def peak(self, inputs: Types) -> int:
        """Bound the sum of all steps' magnitudes; it holds for every partial sum."""
        counts, *rest = self.counted(inputs)
        top = sum(abs(w) for w in self.weights) * inputs[0].peak
        wide = replace(counts, lo=-top, hi=top)
        return max(self.product.peak((wide, *rest)), largest(inputs[:1]))

    def work(self, inputs: Types, out: TensorType) -> Work:
        """Count T*R*K accumulations of a weight by a spike; scalings are those of `linear`."""
        s, w, _m = inputs[:3]
        once = self.product.work((replace(s, shape=s.shape[1:]), *inputs[1:]), out)
        return replace(
            once,
            macs={pair(w.dtype.bits, s.dtype.bits): self.steps * w.size},
            adds=dict(once.adds) | {out.dtype.bits: once.adds.get(out.dtype.bits, 0)
                                    + self.steps * out.size},
            in_bits=once.in_bits + s.size_bits - s.size_bits // self.steps,
        )  # fmt: skip


def decode(op: SpikeLinear, spikes: Array) -> Array:
    """Return the counts [..., K] of spikes [..., T, K]."""
    xp = namespace(spikes)
    weights = xp.asarray(op.weights, dtype=spikes.dtype, device=spikes.device)
    return xp.sum(spikes * weights[:, None], axis=-2, dtype=spikes.dtype)

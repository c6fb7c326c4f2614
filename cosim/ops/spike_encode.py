"""Expand integer counts over time steps into planes of spikes: unary or bit by bit.

Glossary:
    x  [..., K]     counts
    T  `steps`      time steps; an axis of the value's shape, so that one token stays one graph step
    s  [..., T, K]  spikes: {0, 1}, or {-1, 0, 1} in a signed coding
    w  [T]          weight of each step: x = sum_t w(t) s_t for every count that T steps hold

    coding           alphabet    w(t), lowest first   counts
    rate             0, 1        1                    0..T
    rate_signed      -1, 0, 1    1                    -T..T
    unsigned         0, 1        2^t                  0..2^T - 1
    sign_magnitude   -1, 0, 1    2^t                  -(2^T - 1)..2^T - 1
    twos_complement  0, 1        2^t, last -2^(T-1)   -2^(T-1)..2^(T-1) - 1

The codings are those of SpikingBrain (arXiv 2509.05276, section 3.3.2: binary, ternary, bitwise,
bidirectional, two's complement). Its equation 23 sends the lowest bit first, its released code the
highest: `highest_first` says which. An encoder never clips: where the proved counts do not fit it
is refused, and a `clip` before it is the one way to lose something, in plain sight.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from cosim.ir.numerics import Array, namespace, shift_floor
from cosim.ir.op import Op, Types
from cosim.ir.types import MAX_BITS, TensorType, i, u
from cosim.ir.work import Work

RATE = ("rate", "rate_signed")
SIGNED = ("rate_signed", "sign_magnitude")
CODINGS = (*RATE, "unsigned", "sign_magnitude", "twos_complement")
MOST_RATE_STEPS = 1024


def count_range(coding: str, steps: int) -> tuple[int, int]:
    """Return the smallest and the largest count that so many steps hold.

    >>> [count_range(c, 3) for c in CODINGS]
    [(0, 3), (-3, 3), (0, 7), (-7, 7), (-4, 3)]
    """
    if coding == "twos_complement":
        return -(1 << (steps - 1)), (1 << (steps - 1)) - 1
    hi = steps if coding in RATE else (1 << steps) - 1
    return (-hi if coding in SIGNED else 0), hi


def steps_for(coding: str, lo: int, hi: int) -> int | None:
    """Return the fewest steps that hold every count from lo to hi; None where none would do.

    >>> [steps_for(c, -9, 7) for c in CODINGS]
    [None, 9, None, 4, 5]
    """
    if lo < 0 and coding in ("rate", "unsigned"):
        return None
    top = max(-lo, hi, 1)
    if coding == "twos_complement":
        return max((~lo).bit_length() if lo < 0 else 0, max(hi, 0).bit_length()) + 1
    return top if coding in RATE else top.bit_length()


def step_weights(coding: str, steps: int, highest_first: bool = False) -> list[int]:
    """Return the weight of each step.

    >>> step_weights("sign_magnitude", 3), step_weights("twos_complement", 3, highest_first=True)
    ([1, 2, 4], [-4, 2, 1])
    """
    if coding in RATE:
        return [1] * steps
    weights = [1 << t for t in range(steps)]
    if coding == "twos_complement":
        weights[-1] = -weights[-1]
    return weights[::-1] if highest_first else weights


def check_form(op: Op, coding: str, steps: int, highest_first: bool) -> None:
    """Raise UserError unless the coding exists and its steps and order make sense."""
    if coding not in CODINGS:
        raise op.refuse(f"no coding {coding!r}; there are {', '.join(CODINGS)}")
    most = MOST_RATE_STEPS if coding in RATE else MAX_BITS - 1
    if not 1 <= steps <= most:
        raise op.refuse(f"{steps} steps of {coding}: need 1..{most}")
    if coding in RATE and highest_first:
        raise op.refuse(f"the steps of {coding} weigh alike: leave highest_first out")


@dataclass(frozen=True)
class SpikeEncode(Op):
    """Send counts [..., K] as spikes [..., steps, K]."""

    coding: str
    steps: int
    highest_first: bool = False

    name: ClassVar[str] = "spike_encode"

    def infer(self, inputs: Types) -> TensorType:
        """Refuse counts that the steps do not hold, and say how many steps would."""
        (x,) = inputs
        check_form(self, self.coding, self.steps, self.highest_first)
        if not x.shape:
            raise self.refuse(f"the counts {x} are a scalar; reshape them to a vector")
        lo, hi = count_range(self.coding, self.steps)
        if x.lo < lo or x.hi > hi:
            wanted = steps_for(self.coding, x.lo, x.hi)
            way = (
                "choose a signed coding"
                if wanted is None
                else f"take {wanted} steps, or put a clip to {lo}..{hi} before it"
            )
            raise self.refuse(
                f"{self.steps} steps of {self.coding} hold {lo}..{hi}, but the counts are "
                f"{x.lo}..{x.hi}; {way}"
            )
        shape = (*x.shape[:-1], self.steps, x.shape[-1])
        if self.coding in SIGNED:
            return TensorType(i(2), shape, -int(x.lo < 0), int(x.hi > 0))
        return TensorType(u(1), shape, 0, int(x.lo < 0 or x.hi > 0))

    def meaning(self, *inputs: Array) -> Array:
        """Compare with the step's number, or take the step's bit; then the sign."""
        (x,) = inputs
        xp = namespace(x)
        size = xp.abs(x) if self.coding in SIGNED else x
        if self.coding in RATE:
            planes = [xp.clip(size - t, 0, 1) for t in range(self.steps)]
        else:
            planes = [shift_floor(size, t) & 1 for t in range(self.steps)]
        if self.highest_first:
            planes = planes[::-1]
        spikes = xp.stack(planes, axis=-2)
        return xp.where(x[..., None, :] < 0, -spikes, spikes) if self.coding in SIGNED else spikes

    def peak(self, inputs: Types) -> int:
        """Bound the distance from the last step's number."""
        return inputs[0].peak + self.steps

    def work(self, inputs: Types, out: TensorType) -> Work:
        """Compare at each step of a rate; bits are wiring, a magnitude is one addition."""
        (x,) = inputs
        return Work(
            compares={x.dtype.bits: out.size} if self.coding in RATE else {},
            adds={x.dtype.bits: x.size} if self.coding in SIGNED else {},
            in_bits=x.size_bits,
            out_bits=out.size_bits,
        )

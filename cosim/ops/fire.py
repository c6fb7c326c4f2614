"""Fire where a potential passes a threshold: s = [v > theta], in the comparator that is asked for.

Frameworks part over v > theta (snnTorch, NIR, Loihi) and v >= theta (SpikingJelly, Sinabs). In
floats that is rare, in integers common, so that it is an attribute. `<=` and `<` give what stays:
`mul(v, v <= theta)` is a hard reset to 0, `v - theta s` a soft one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from cosim.ir.numerics import Array, namespace
from cosim.ir.op import Op, Types, same_rank
from cosim.ir.types import TensorType, i, u
from cosim.ir.work import Work

COMPARATORS = (">", ">=", "<", "<=")


@dataclass(frozen=True)
class Fire(Op):
    """Compare v with theta, broadcast: out 0 and 1; `signed`: also -1 where -v passes theta."""

    comparator: str
    signed: bool = False

    name: ClassVar[str] = "fire"

    def infer(self, inputs: Types) -> TensorType:
        """Bound by what the bounds let happen."""
        _, theta = inputs
        shape = same_rank(self, inputs)
        if self.comparator not in COMPARATORS:
            raise self.refuse(
                f"no comparator {self.comparator!r}; there are {', '.join(COMPARATORS)}"
            )
        least = 1 if self.comparator == ">=" else 0
        if self.signed and (self.comparator[0] == "<" or theta.lo < least):
            raise self.refuse(
                f"signed spikes need > and a threshold >= 0, or >= and one >= 1; got "
                f"{self.comparator} and {theta}"
            )
        if self.signed:
            return TensorType(i(2), shape, -1, 1)
        return TensorType(u(1), shape, 0, 1)

    def meaning(self, *inputs: Array) -> Array:
        """Compare."""
        v, theta = inputs
        up = self._passes(v, theta)
        return up - self._passes(-v, theta) if self.signed else up

    def peak(self, inputs: Types) -> int:
        """Bound the operands."""
        return max(1, *(t.peak for t in inputs))

    def work(self, inputs: Types, out: TensorType) -> Work:
        """Compare once, twice for both signs."""
        v, theta = inputs
        bits = max(v.dtype.bits, theta.dtype.bits)
        return Work(
            compares={bits: out.size * (2 if self.signed else 1)},
            in_bits=v.size_bits + theta.size_bits,
            out_bits=out.size_bits,
        )

    def _passes(self, v: Array, theta: Array) -> Array:
        xp = namespace(v)
        flags = {
            ">": lambda: v > theta,
            ">=": lambda: v >= theta,
            "<": lambda: v < theta,
            "<=": lambda: v <= theta,
        }[self.comparator]()
        return xp.where(flags, xp.ones_like(v), xp.zeros_like(v))

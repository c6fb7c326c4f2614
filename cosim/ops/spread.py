"""Give each member of a group the group's value: a scale for every element; no arithmetic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from cosim.ir.numerics import Array
from cosim.ir.op import Op, Types
from cosim.ir.types import TensorType
from cosim.ir.work import Work
from cosim.ops.group_scale import expand_groups


@dataclass(frozen=True)
class Spread(Op):
    """Repeat each element of the last axis `group` times and cut the axis to `size`."""

    group: int
    size: int

    name: ClassVar[str] = "spread"

    def infer(self, inputs: Types) -> TensorType:
        """Require one element per group of `size`."""
        (x,) = inputs
        if self.group < 1 or not x.shape or x.shape[-1] != -(-self.size // self.group):
            raise self.refuse(f"groups of {self.group} of {self.size} elements do not fit {x}")
        return TensorType(x.dtype, (*x.shape[:-1], self.size), x.lo, x.hi)

    def meaning(self, *inputs: Array) -> Array:
        """Repeat."""
        return expand_groups(inputs[0], self.group, self.size)

    def work(self, inputs: Types, out: TensorType) -> Work:
        """Count nothing: it is wiring."""
        return Work()

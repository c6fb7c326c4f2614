"""State what every operator must answer: attributes, type rule, integer meaning, work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import ClassVar

from cosim.ir.errors import UserError
from cosim.ir.numerics import Array
from cosim.ir.types import MAX_BITS, IntType, TensorType, signed_bits
from cosim.ir.work import Work

Types = Sequence[TensorType]
Attribute = int | bool | str | tuple[int, ...] | IntType


class Op:
    """Be the base of all operators: frozen dataclasses whose fields are the attributes.

    Shapes are those of one token. Arrays given to `meaning` may have any leading axes (batch,
    time), so that it must work on trailing axes only. `meaning` returns the value before
    saturation; where `saturates` is set, executors clip it to the declared type and count it,
    and where it is not, `infer` has proved that it fits. `constants` are the positions of inputs
    that must be constants of the graph: tables and matrices, which have no leading axes.
    """

    name: ClassVar[str]
    saturates: ClassVar[bool] = False
    constants: ClassVar[tuple[int, ...]] = ()

    def infer(self, inputs: Types) -> TensorType:
        """Return the declared type with the bounds of `meaning`; raise UserError if illegal."""
        raise NotImplementedError

    def meaning(self, *inputs: Array) -> Array:
        """Compute the value before saturation, in the plainest integer code there is."""
        raise NotImplementedError

    def work(self, inputs: Types, out: TensorType) -> Work:
        """Count the work of one token."""
        raise NotImplementedError

    def peak(self, inputs: Types) -> int:
        """Bound every intermediate magnitude of `meaning`, inputs and result included."""
        return max(self.infer(inputs).peak, largest(inputs))

    def attributes(self) -> dict[str, Attribute]:
        """Return the attributes by name."""
        return {f.name: getattr(self, f.name) for f in fields(self)}  # type: ignore[arg-type]

    def refuse(self, sentence: str) -> UserError:
        """Make the error of an illegal use, opened by the operator's name."""
        return UserError(f"operator {self.name}: {sentence}")

    def __str__(self) -> str:
        """Print as `name(attribute=value, ...)`."""
        args = ", ".join(f"{k}={_plain(v)}" for k, v in self.attributes().items())
        return f"{self.name}({args})" if args else self.name


def _plain(value: Attribute) -> str:
    if isinstance(value, tuple):
        return "[" + ",".join(map(str, value)) + "]"
    return str(value)


def same_rank(op: Op, inputs: Types) -> tuple[int, ...]:
    """Return the broadcast shape; raise UserError unless ranks agree and sizes are 1 or equal.

    Equal ranks keep broadcasting right when executors add leading axes.
    """
    ranks = {len(t.shape) for t in inputs}
    if len(ranks) != 1:
        shapes = " and ".join(str(list(t.shape)) for t in inputs)
        raise op.refuse(f"operands of shapes {shapes} differ in rank; reshape one of them")
    shape = []
    for sizes in zip(*(t.shape for t in inputs), strict=True):
        wide = {s for s in sizes if s != 1}
        if len(wide) > 1:
            shapes = " and ".join(str(list(t.shape)) for t in inputs)
            raise op.refuse(f"operands of shapes {shapes} do not broadcast")
        shape.append(wide.pop() if wide else 1)
    return tuple(shape)


def exact_type(op: Op, shape: tuple[int, ...], lo: int, hi: int) -> TensorType:
    """Return the narrowest signed type of an exact result; raise UserError past MAX_BITS."""
    bits = signed_bits(lo, hi)
    if bits > MAX_BITS:
        raise op.refuse(
            f"the exact result over {list(shape)} reaches {lo}..{hi}, which needs {bits} bits, "
            f"more than {MAX_BITS}; narrow the operands"
        )
    return TensorType(IntType(bits, True), shape, lo, hi)


def largest(inputs: Types) -> int:
    """Return the largest magnitude among the inputs."""
    return max(t.peak for t in inputs)


def product_bounds(a: TensorType, b: TensorType) -> tuple[int, int]:
    """Return the bounds of an elementwise product."""
    corners = [x * y for x in (a.lo, a.hi) for y in (b.lo, b.hi)]
    return min(corners), max(corners)

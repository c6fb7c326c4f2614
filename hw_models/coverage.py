"""Say how much of a model the hardware model covers: operators, multiply-accumulates, bytes."""

from __future__ import annotations

from dataclasses import dataclass

from cosim.design.kinds import KIND_OF_OP
from cosim.ir.model import Model


@dataclass(frozen=True)
class Coverage:
    """Hold counts per token, of all operators and of those that a unit carries.

    Bytes are the operators' own streams, constants and states (`Work`), on chip or off.
    """

    operators: int
    operators_covered: int
    macs: int
    macs_covered: int
    bits: int
    bits_covered: int
    missing: tuple[str, ...]

    @property
    def operators_share(self) -> float:
        """Return the share of operators that are covered, 0 to 1."""
        return _share(self.operators_covered, self.operators)

    @property
    def macs_share(self) -> float:
        """Return the share of multiply-accumulates that are covered, 0 to 1."""
        return _share(self.macs_covered, self.macs)

    @property
    def bytes_share(self) -> float:
        """Return the share of moved bytes that are covered, 0 to 1."""
        return _share(self.bits_covered, self.bits)

    @property
    def is_whole(self) -> bool:
        """Tell whether nothing is left out."""
        return not self.missing

    def text(self) -> str:
        """Print in one line.

        >>> print(Coverage(10, 9, 100, 100, 8000, 7200, ("softmax",)).text())
        covered: 90.00 % of 10 operators, 100.00 % of 100 MACs, 90.00 % of 1,000 bytes; not softmax
        """
        shares = (
            f"{100 * self.operators_share:.2f} % of {self.operators:,} operators",
            f"{100 * self.macs_share:.2f} % of {self.macs:,} MACs",
            f"{100 * self.bytes_share:.2f} % of {self.bits // 8:,} bytes",
        )
        missing = f"; not {', '.join(self.missing)}" if self.missing else ""
        return f"covered: {', '.join(shares)}{missing}"


def cover(model: Model) -> Coverage:
    """Count what of a model is covered; operators that only rename elements count as covered."""
    operators = macs = bits = 0
    missed = [0, 0, 0]
    names: dict[str, None] = {}
    for segment in model.segments:
        for node in segment.graph.nodes:
            types = segment.graph.input_types(node)
            work = node.op.work(types, segment.graph.types[node.name])
            moved = (
                work.const_bits + work.in_bits + work.out_bits
                + work.state_read_bits + work.state_write_bits
            )  # fmt: skip
            operators, macs, bits = operators + 1, macs + work.mac_count, bits + moved
            if node.op.name not in KIND_OF_OP:
                names[node.op.name] = None
                missed = [missed[0] + 1, missed[1] + work.mac_count, missed[2] + moved]
    return Coverage(
        operators, operators - missed[0], macs, macs - missed[1], bits, bits - missed[2],
        tuple(names),
    )  # fmt: skip


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 1.0

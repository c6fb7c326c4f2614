"""Report how an accelerator in wires compares: its outputs bit for bit, its beats by cycle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cosim.ir.errors import InternalError
from reports.table import Column, Table


@dataclass(frozen=True)
class WiresCheck:
    """Say what a simulation of the wires gave, beside the reference and the cycle model.

    `integers` are the elements of all outputs of all tokens, `differences` those that differ;
    `beats` the beats whose cycle was predicted (0: none was), `late` those in another cycle;
    `first` the sentence of the first of either. `processor_seconds` are those of this process,
    which is all that simulates unless the simulator is Icarus.
    """

    recipe: str
    design: str
    prompt: str
    level: str
    simulator: str
    tokens: int
    integers: int
    differences: int
    beats: int
    late: int
    total_cycles: int
    cycles_per_token: float
    build_seconds: float
    simulate_seconds: float
    processor_seconds: float
    first: str | None = None

    def __post_init__(self) -> None:
        """Refuse an empty comparison, and a difference without its place."""
        if min(self.tokens, self.integers) <= 0:
            raise InternalError(f"{self.recipe}: compared nothing: {self}")
        if (self.differences + self.late > 0) != (self.first is not None):
            raise InternalError(f"{self.recipe}: {self.differences}, {self.late}, {self.first!r}")

    @property
    def is_exact(self) -> bool:
        """Tell whether every bit, and every predicted cycle, agreed."""
        return self.first is None

    @property
    def sentence(self) -> str:
        """Say where the executions part."""
        where = f"{self.recipe}, {self.prompt!r}, {self.simulator}"
        return f"{where}: {self.first or 'all bits and cycles agree'}"


def table(checks: Sequence[WiresCheck]) -> Table:
    """Print a row per comparison."""
    rows = tuple(
        (
            c.recipe, repr(c.prompt), f"reference == {c.level} in {c.simulator}", c.tokens,
            c.integers, c.differences, c.beats or None, c.late if c.beats else None,
            c.first or "all agree", c.total_cycles, c.cycles_per_token,
            c.total_cycles / c.simulate_seconds, c.build_seconds, c.simulate_seconds,
            c.processor_seconds, c.design,
        )
        for c in checks
    )  # fmt: skip
    columns = (
        Column("recipe", "recipe"),
        Column("prompt", "prompt"),
        Column("compared", "compared"),
        Column("tokens", "tokens", "given"),
        Column("integers", "integers", "measured"),
        Column("differences", "differ", "measured"),
        Column("beats", "beats", "modelled"),
        Column("late", "other cycle", "measured"),
        Column("verdict", "verdict"),
        Column("total_cycles", "cycles", "measured"),
        Column("cycles_per_token", "a token", "measured", ".1f"),
        Column("cycles_per_second", "cycles/s", "measured", ".0f"),
        Column("build_seconds", "build, s", "measured", ".1f"),
        Column("simulate_seconds", "run, s", "measured", ".2f"),
        Column("processor_seconds", "processor, s", "measured", ".2f"),
        Column("design", "design"),
    )
    title = "Wires: every output with ==, every beat in its predicted cycle"
    return Table("wires", title, columns, rows)

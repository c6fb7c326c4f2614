"""Report what was compared bit for bit, and the first difference where there is one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cosim.ir.errors import InternalError
from reports.table import Column, Table


@dataclass(frozen=True)
class Exactness:
    """Say that executor `left` and `right` were compared on every node with ==.

    The right one ran in `threads` threads. `nodes` is how many values of the graph were compared,
    `integers` how many of their elements, over `tokens` tokens; `differences` how many elements
    differ, `first` the sentence of the first.
    """

    recipe: str
    left: str
    right: str
    nodes: int
    tokens: int
    integers: int
    differences: int
    first: str | None = None
    left_seconds: float = 0.0
    right_seconds: float = 0.0
    threads: int = 1

    def __post_init__(self) -> None:
        """Refuse an empty comparison, and a difference without its place."""
        if min(self.nodes, self.tokens, self.integers) <= 0:
            raise InternalError(f"{self.recipe}: compared nothing: {self}")
        if (self.differences > 0) != (self.first is not None):
            raise InternalError(f"{self.recipe}: {self.differences} differences, {self.first!r}")

    @property
    def is_exact(self) -> bool:
        """Tell whether every bit agreed."""
        return self.differences == 0

    @property
    def sentence(self) -> str:
        """Say where the executions part."""
        threads = f"{self.threads} thread{'s' if self.threads > 1 else ''}"
        return f"{self.recipe}, {threads}: {self.first or 'all bits agree'}"


def table(checks: Sequence[Exactness]) -> Table:
    """Print a row per comparison."""
    rows = tuple(
        (
            c.recipe,
            f"{c.left} == {c.right}",
            c.threads,
            c.nodes,
            c.tokens,
            c.integers,
            c.differences,
            c.left_seconds,
            c.right_seconds,
            c.first or "all bits agree",
        )
        for c in checks
    )
    columns = (
        Column("recipe", "recipe"),
        Column("compared", "compared"),
        Column("threads", "threads", "given"),
        Column("nodes", "values", "derived"),
        Column("tokens", "tokens", "given"),
        Column("integers", "integers", "measured"),
        Column("differences", "differ", "measured"),
        Column("left_seconds", "first, s", "measured", ".1f"),
        Column("right_seconds", "second, s", "measured", ".1f"),
        Column("verdict", "verdict"),
    )
    title = "Exactness: every value of the graph, with =="
    return Table("exactness", title, columns, rows)

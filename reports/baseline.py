"""Set GPUs beside a design: bounds at batch 1, at the very same bits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reports.table import Column, Table

TITLE = (
    "GPUs decoding the same bits at batch 1: all of the bandwidth over the bytes, arithmetic free, "
    "kernels that read these bits (published runs reach 64 to 79 % of it)"
)


@dataclass(frozen=True)
class BaselineRow:
    """Hold the bound of one GPU for the bytes of one recipe; `assumptions`: its own two."""

    recipe: str
    gpu: str
    bytes_per_token: float
    tokens_per_s: float
    joules_per_token: float
    assumptions: str


def table(rows: Sequence[BaselineRow]) -> Table:
    """Print a row per GPU."""
    columns = (
        Column("recipe", "recipe"),
        Column("gpu", "GPU"),
        Column("bytes_per_token", "bytes per token", "derived", ",.0f"),
        Column("tokens_per_s", "tokens/s at most", "modelled", "4"),
        Column("energy_j_per_token", "J per token at least", "modelled", "3"),
        Column("assumptions", "assumed"),
    )
    return Table(
        "gpus", TITLE, columns,
        tuple((r.recipe, r.gpu, r.bytes_per_token, r.tokens_per_s, r.joules_per_token,
               r.assumptions) for r in rows),
    )  # fmt: skip

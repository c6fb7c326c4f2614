"""Say what each phase of a workload takes: its pace, its bytes, and when the first token is out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reports.table import Column, Table


@dataclass(frozen=True)
class PhaseRow:
    """Hold one phase of a workload on one design; bytes are off chip, per token of a sequence."""

    recipe: str
    phase: str
    passes: str
    tokens_per_s: float
    cycles_per_token: float
    energy_pj_per_token: float
    offchip_bytes: float
    operations_per_byte: float | None
    compute_share: float
    memory_share: float
    binds: str


def table(rows: Sequence[PhaseRow], first_token_s: float, notes: Sequence[str]) -> Table:
    """Print a row per phase, the time to the first token, and what the context changes."""
    columns = (
        Column("recipe", "recipe"),
        Column("phase", "phase"),
        Column("passes", "passes that share weights"),
        Column("tokens_per_s", "tokens/s", "modelled", "4"),
        Column("cycles_per_token", "cycles per token", "modelled", ",.0f"),
        Column("energy_uj_per_token", "energy per token, µJ", "modelled", "4"),
        Column("offchip_bytes", "off-chip bytes per token", "modelled", ",.0f"),
        Column("operations_per_byte", "operations per off-chip byte", "modelled", "4"),
        Column("compute_share", "of the products' bound", "modelled", ".1%"),
        Column("memory_share", "of the memory's bound", "modelled", ".1%"),
        Column("binds", "what binds the design"),
    )
    cells = tuple(
        (r.recipe, r.phase, r.passes, r.tokens_per_s, r.cycles_per_token,
         r.energy_pj_per_token / 1e6, r.offchip_bytes, r.operations_per_byte, r.compute_share,
         r.memory_share, r.binds)
        for r in rows
    )  # fmt: skip
    first = f"first token of every sequence after {first_token_s * 1e3:,.4g} ms (modelled)"
    return Table(
        "workload", "Workload, phase by phase", columns, cells, "\n  ".join((first, *notes))
    )

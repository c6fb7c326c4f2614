"""Report what the units of an accelerator take, as a synthesis tool counts it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reports.table import Column, Table


@dataclass(frozen=True)
class SynthesisRow:
    """Hold what one unit takes; `delay` is relative, `rtl/synth.py` says to what."""

    unit: str
    kind: str
    lanes: str
    luts: int
    ffs: int
    dsps: int
    brams: float
    urams: int
    levels: int
    delay: float


def table(rows: Sequence[SynthesisRow], family: str, tool: str) -> Table:
    """Return a row per unit and their sum; a longest path has no sum, but a longest."""
    lines = [
        (r.unit, r.kind, r.lanes, r.luts, r.ffs, r.dsps, r.brams, r.urams, r.levels, r.delay)
        for r in rows
    ]
    sums = [sum(getattr(r, n) for r in rows) for n in ("luts", "ffs", "dsps", "brams", "urams")]
    most = max(rows, key=lambda r: r.delay)
    lines.append(("sum", None, None, *sums, most.levels, most.delay))
    columns = (
        Column("unit", "unit"),
        Column("kind", "kind"),
        Column("lanes", "lanes", "given"),
        Column("luts", "LUT", "measured"),
        Column("ffs", "FF", "measured"),
        Column("dsps", "DSP", "measured"),
        Column("brams", "BRAM", "measured", ".1f"),
        Column("urams", "URAM", "measured"),
        Column("levels", "levels", "measured"),
        Column("delay", "relative delay", "derived", ".1f"),
    )
    return Table(
        "synthesis", f"Synthesis for {family} by {tool}, unit by unit", columns, tuple(lines)
    )

"""Synthesise the units of an accelerator one by one; what is known already is not redone."""

from __future__ import annotations

from collections.abc import Sequence

from cosim.design import Design, graph_kinds
from cosim.design.logic import UnitLogic, unit_logic
from cosim.flow.progress import Progress
from cosim.ir.errors import UserError
from cosim.ir.model import Model
from cosim.machine import Machine
from reports.synthesis import SynthesisRow
from rtl.elaborate import elaborate
from rtl.export import export
from rtl.synth import Synthesis, synthesised


def synthesise_units(
    model: Model,
    machine: Machine,
    design: Design,
    units: Sequence[str],
    family: str,
    progress: Progress,
) -> tuple[list[SynthesisRow], str]:
    """Return a row for each unit, and the tool that counted; no `units`: all of them.

    Beside what the tool counts stands what the design's estimates say of the unit.

    Raise UserError for a unit that is not there.
    """
    made = elaborate(model, design)
    strange = [u for u in units if u not in made.plans]
    if strange:
        raise UserError(f"no unit is called {strange[0]!r}; there are {', '.join(made.plans)}")
    wanted = list(dict.fromkeys(units)) or list(made.plans)
    rows, tool = [], ""
    chosen = design.choices
    kinds = graph_kinds(model, chosen.order, chosen.fused, chosen.matrix)
    logic = {u.unit.name: u for u in unit_logic(design, kinds, machine, "tool")}
    with progress.task(f"synthesise for {family}"):
        for number, name in enumerate(wanted):
            found = synthesised(export(made.block(name), made.modules[name]), family)
            rows.append(_row(design, name, found, logic[name]))
            tool = found.tool
            progress.advance(number + 1, len(wanted))
    return rows, tool


def _row(design: Design, name: str, found: Synthesis, own: UnitLogic) -> SynthesisRow:
    unit = design.unit(name)
    size = f"{unit.lanes} x {unit.columns}" if unit.kind == "matrix" else str(unit.lanes)
    return SynthesisRow(
        name, unit.kind, size, found.luts, found.ffs, found.dsps, found.brams, found.urams,
        found.levels, found.delay, own.estimate.luts, own.estimate.ffs, own.dsps,
        "; ".join(m.text() for m in own.estimate.marks),
    )  # fmt: skip

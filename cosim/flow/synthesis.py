"""Synthesise the units of an accelerator one by one, or all in one; what is known is not redone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cosim.design import Design, graph_kinds
from cosim.design.logic import UnitLogic, unit_logic
from cosim.flow.progress import Progress
from cosim.ir.errors import UserError
from cosim.ir.model import Model
from cosim.machine import Machine
from reports.placement import PlacedRow
from reports.synthesis import SynthesisRow
from rtl.cells import Synthesis
from rtl.elaborate import TOP, Elaboration, elaborate
from rtl.export import Verilog, export
from rtl.hierarchy import export_all
from rtl.place import FAMILY, placed, setting
from rtl.synth import synthesised, synthesised_whole, version

# The families that `cosim/design/fitted.yaml` was fitted to or set against.
SAMPLED = ("xcup", "xc7")


@dataclass(frozen=True)
class SynthesisRequest:
    """Say what is synthesised for which family: `units` (none: all), or the `whole` in one.

    `place`: each unit is placed and routed too, which is for ECP5 alone.
    """

    family: str = "xcup"
    units: tuple[str, ...] = ()
    whole: bool = False
    place: bool = False

    def __post_init__(self) -> None:
        """Refuse what does not go together."""
        if self.whole and (self.units or self.place):
            raise UserError(
                "--whole counts all units in one; leave --unit and --place away, or leave --whole"
            )
        if self.place and self.family != FAMILY:
            raise UserError(
                f"--place is for the family {FAMILY} alone, not {self.family}: add --family "
                f"{FAMILY}"
            )

    @property
    def tool(self) -> str:
        """Return who would count; raise UserError where a tool is not there."""
        return version() + (f", {setting()}" if self.place else "")


@dataclass(frozen=True)
class Counted:
    """Hold a row for each unit, the tool that counted, and the units that were placed."""

    rows: tuple[SynthesisRow, ...]
    tool: str
    placed: tuple[PlacedRow, ...] = ()


def synthesise_design(
    model: Model, machine: Machine, design: Design, request: SynthesisRequest, progress: Progress
) -> Counted:
    """Return what the units of a design take.

    Beside what the tool counts stands what the design's estimates say of the unit. Raise UserError
    for a unit that is not there.
    """
    made = elaborate(model, design)
    strange = [u for u in request.units if u not in made.plans]
    if strange:
        raise UserError(f"no unit is called {strange[0]!r}; there are {', '.join(made.plans)}")
    wanted = list(dict.fromkeys(request.units)) or list(made.plans)
    chosen = design.choices
    kinds = graph_kinds(model, chosen.order, chosen.fused, chosen.matrix)
    logic = {u.unit.name: u for u in unit_logic(design, kinds, machine, "tool")}
    if request.whole:
        return _whole(made, design, logic, request.family, progress)
    modules: dict[str, Verilog] = {}
    rows: list[SynthesisRow] = []
    tool = ""
    with progress.task(f"synthesise for {request.family}"):
        for number, name in enumerate(wanted):
            modules[name] = export(made.block(name), made.modules[name])
            found = synthesised(modules[name], request.family)
            rows.append(_row(design, name, found, logic[name]))
            tool = found.tool
            progress.advance(number + 1, len(wanted))
    if not request.place:
        return Counted(tuple(rows), tool)
    return Counted(tuple(rows), tool, _placed(modules, design, progress))


def _whole(
    made: Elaboration,
    design: Design,
    logic: Mapping[str, UnitLogic],
    family: str,
    progress: Progress,
) -> Counted:
    """Synthesise top and units in one run; the top's row has the longest path through all."""
    with progress.task("build units"):
        modules = export_all(made, progress.advance)
    with progress.task(f"synthesise all units for {family}"):
        found = synthesised_whole(modules, family)
    rows = [_row(design, name, own, logic[name]) for name, own in found.units.items()]
    rest, flat = found.rest, found.flat
    # The top is wires alone: nothing is estimated for it where units have estimates.
    none = 0 if family in SAMPLED else None
    rows.append(
        SynthesisRow(
            TOP, "top", "", rest.luts, rest.ffs, rest.dsps, rest.brams, rest.urams, flat.levels,
            flat.delay, none, none, none,
        )
    )  # fmt: skip
    return Counted(tuple(rows), flat.tool)


def _placed(
    modules: Mapping[str, Verilog], design: Design, progress: Progress
) -> tuple[PlacedRow, ...]:
    rows = []
    with progress.task("place and route"):
        for number, (name, module) in enumerate(modules.items()):
            p = placed(module)
            rows.append(
                PlacedRow(
                    name, design.unit(name).kind, _size(design, name), p.luts, p.ffs, p.dsps,
                    p.blocks / 2, p.fmax_mhz, p.logic_ns, p.routing_ns, p.starts, p.ends, p.tool,
                )
            )  # fmt: skip
            progress.advance(number + 1, len(modules))
    return tuple(rows)


def _row(design: Design, name: str, found: Synthesis, own: UnitLogic) -> SynthesisRow:
    """Put a unit's figures beside its estimates; none is known of families never sampled."""
    counts: tuple[int | None, int | None, int | None] = (None, None, None)
    outside = f"family {found.family} not sampled"
    if found.family in SAMPLED:
        counts = own.estimate.luts, own.estimate.ffs, own.dsps
        outside = "; ".join(m.text() for m in own.estimate.marks)
    return SynthesisRow(
        name, design.unit(name).kind, _size(design, name), found.luts, found.ffs, found.dsps,
        found.brams, found.urams, found.levels, found.delay, *counts, outside,
    )  # fmt: skip


def _size(design: Design, name: str) -> str:
    unit = design.unit(name)
    return f"{unit.lanes} x {unit.columns}" if unit.kind == "matrix" else str(unit.lanes)

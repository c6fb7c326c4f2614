"""Keep what was found of a graph's wires in its run folder, and read it back for the report.

Each comparison is a step of the run folder (`cosim/flow/folder.py`): written whole or not at all,
and answered from there while graph, design, machine, tool and code are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from cosim.design import Design
from cosim.flow.folder import RunFolder, code_digest, digest
from cosim.flow.progress import Progress
from cosim.flow.request import REQUEST_FILE
from cosim.flow.synthesis import Counted, SynthesisRequest
from cosim.flow.units import Alone
from cosim.flow.whole import Whole
from cosim.flow.wires import WiresRequest, design_label
from cosim.ir.file import content_hash
from cosim.ir.model import Model
from cosim.machine import Machine
from reports.resources import Resources
from reports.wires import WiresCheck
from reports.wires_units import UnitCheck
from rtl.simulate import tool_text

T = TypeVar("T")
WHOLE, UNIT, SYNTHESIS = "wires", "wire-unit", "synthesis"
CODE = (
    "cosim.ir", "cosim.ops", "cosim.reference", "cosim.design", "cosim.machine", "hw_models", "rtl",
    "cosim.flow.beats", "cosim.flow.wires", "cosim.flow.whole", "cosim.flow.units",
)  # fmt: skip
SYNTHESIS_CODE = ("cosim.ir", "cosim.ops", "cosim.design", "rtl", "cosim.flow.synthesis")


@dataclass(frozen=True)
class Origin:
    """Say of which graph a record is, and by which code: another one's says nothing of this."""

    graph: str
    code: str


@dataclass(frozen=True)
class WholeRecord:
    """Hold a comparison of a whole accelerator."""

    origin: Origin
    check: WiresCheck


@dataclass(frozen=True)
class UnitRecord:
    """Hold a comparison of a unit alone, and which of the design's units it is."""

    origin: Origin
    place: int
    check: UnitCheck


@dataclass(frozen=True)
class SynthesisRecord:
    """Hold what the units of a design take."""

    origin: Origin
    found: Resources


@dataclass(frozen=True)
class Found:
    """Hold what a run folder knows of the wires of its graphs, and how many records are stale."""

    whole: tuple[WiresCheck, ...] = ()
    units: tuple[UnitCheck, ...] = ()
    resources: tuple[Resources, ...] = ()
    stale: int = 0


@dataclass(frozen=True)
class Recorder:
    """Answer comparisons of one graph from its run folder, or do them; without folder, do them."""

    folder: RunFolder | None
    recipe: str
    model: Model
    machine: Machine
    design: Design

    def whole(self, work: Whole, prompt: str, cycles: bool) -> WiresCheck:
        """Compare what the whole accelerator writes after a prompt."""
        asked = {**_asked(work.request), "prompt": prompt, "cycles": cycles}

        def compute() -> WholeRecord:
            return WholeRecord(self._origin(CODE), work.verify(prompt, cycles))

        return self._step(WHOLE, prompt, asked, CODE, WholeRecord, compute).check

    def unit(self, work: Alone, unit: str) -> UnitCheck:
        """Compare a unit alone."""
        asked = {**_asked(work.request), "prompt": work.request.prompts[0], "unit": unit}

        def compute() -> UnitRecord:
            place = list(work.made.plans).index(unit)
            return UnitRecord(self._origin(CODE), place, work.verify(unit))

        return self._step(UNIT, unit, asked, CODE, UnitRecord, compute).check

    def synthesis(self, request: SynthesisRequest, count: Callable[[], Counted]) -> Resources:
        """Count what units take."""

        def compute() -> SynthesisRecord:
            told = count()
            origin = self._origin(SYNTHESIS_CODE)
            label = design_label(self.design)
            found = Resources(
                self.recipe, label, request.family, told.tool, told.rows, told.placed
            )  # fmt: skip
            return SynthesisRecord(origin, found)

        asked = {
            "family": request.family, "units": list(request.units), "whole": request.whole,
            "place": request.place, "tool": request.tool,
        }  # fmt: skip
        step = (SYNTHESIS, request.family, asked, SYNTHESIS_CODE)
        return self._step(*step, SynthesisRecord, compute).found

    def _origin(self, code: tuple[str, ...]) -> Origin:
        return Origin(content_hash(self.model), _code(code))

    def _step(
        self,
        kind: str,
        what: str,
        asked: Mapping[str, object],
        code: tuple[str, ...],
        type_: type[T],
        compute: Callable[[], T],
    ) -> T:
        if self.folder is None:
            return compute()
        machine = digest(repr(self.machine) + repr(self.machine.sources))
        inputs = {
            "graph": content_hash(self.model), "recipe": self.recipe, "machine": machine,
            "design": self.design.text(), **asked,
        }  # fmt: skip
        # Several designs, prompts and tools stand beside each other.
        name = f"{kind} {self.recipe} {what[:24]} {digest(inputs)[:8]}"
        return self.folder.step(name, inputs, code, type_, compute)


def run_folder_of(graph: Path, progress: Progress) -> RunFolder | None:
    """Return the run folder that a path is, or that a graph's folder lies in; None without one."""
    there = graph.resolve()
    inside = there.parent.parent if there.parent.name == "graph" else there
    for path in (there, inside):
        if (path / REQUEST_FILE).is_file():
            return RunFolder(path, progress)
    return None


def found_in(folder: RunFolder, hashes: Mapping[str, str]) -> Found:
    """Return what was found of the graphs with these hashes, by recipe, and by today's code."""
    whole = folder.left(f"{WHOLE} ", WholeRecord)
    units = folder.left(f"{UNIT} ", UnitRecord)
    synthesis = folder.left(f"{SYNTHESIS} ", SynthesisRecord)
    good, made = ((_code(c), set(hashes.values())) for c in (CODE, SYNTHESIS_CODE))

    def holds(origin: Origin, of: tuple[str, set[str]]) -> bool:
        return origin.code == of[0] and origin.graph in of[1]

    kept = Found(
        tuple(sorted((r.check for r in whole if holds(r.origin, good)), key=_order)),
        tuple(r.check for r in sorted(units, key=_unit_order) if holds(r.origin, good)),
        tuple(r.found for r in synthesis if holds(r.origin, made)),
    )
    stale = len(whole) + len(units) + len(synthesis)
    stale -= len(kept.whole) + len(kept.units) + len(kept.resources)
    return replace(kept, stale=stale)


def _order(check: WiresCheck) -> tuple[str, ...]:
    return check.recipe, check.design, check.simulator, check.prompt


def _unit_order(record: UnitRecord) -> tuple[str, str, str, int]:
    check = record.check
    return check.recipe, check.design, check.simulator, record.place


def _asked(request: WiresRequest) -> dict[str, object]:
    tool = tool_text(request.tool)
    return {"level": request.level, "tool": tool, "tokens": request.tokens}


def _code(parts: tuple[str, ...]) -> str:
    return digest({part: code_digest(part) for part in parts})

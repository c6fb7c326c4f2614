"""Say what is built of a graph in wires, and write it as a folder of Verilog.

What goes in are the prompt's tokens and then what the accelerator itself has written.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cosim.design import Choices, Design, Lanes, default_design, sized_design
from cosim.design.plan import MAIN_PLACES
from cosim.flow.beats import predicted_beats
from cosim.flow.folder import code_digest, digest
from cosim.flow.generate import NEXT, prompt_tokens, vocabulary
from cosim.flow.progress import Progress
from cosim.ir.errors import UserError
from cosim.ir.file import content_hash
from cosim.ir.model import Model
from cosim.machine import Machine
from cosim.reference import run as refer
from rtl.elaborate import elaborate
from rtl.golden import Golden
from rtl.hierarchy import export_all
from rtl.memory import memory_of
from rtl.project import kept, project_files, refuse_lost, unit_files, write_project

LEVELS: Mapping[str, tuple[str, ...]] = {
    "pyrtl": ("pyrtl", "compiled"),
    "verilog": ("verilator", "icarus"),
}
PREFETCH_BEATS = 64
# What is asked for may exceed its machine, in a study or by an estimate that is wrong by half.
MOST_TIMES = 4
# What the bytes of a folder follow from, besides what was asked for.
EXPORT_CODE = (
    "cosim.ir", "cosim.ops", "cosim.reference", "cosim.design", "cosim.machine", "hw_models", "rtl",
    "cosim.flow.beats", "cosim.flow.wires",
)  # fmt: skip


@dataclass(frozen=True)
class WiresRequest:
    """Say what is built and run.

    `lanes` (rows, columns, state, chain) None: the machine's default design, which says itself
    what lives where; else `weights`, `states` and `embedding` live on chip or in memory. `matrix`:
    one matrix unit for all projections, or one for each.
    """

    lanes: tuple[int, int, int, int] | None = None
    weights: str = "chip"
    states: str = "chip"
    embedding: str = "chip"
    matrix: str = "shared"
    prompts: tuple[str, ...] = ("def ",)
    tokens: int = 16
    level: str = "verilog"
    simulator: str = ""

    @property
    def tool(self) -> str:
        """Return the simulator; raise UserError where the level has none of that name."""
        if self.level not in LEVELS:
            raise UserError(f"level {self.level!r} is unknown; choose one of {', '.join(LEVELS)}")
        own = LEVELS[self.level]
        if self.simulator and self.simulator not in own:
            raise UserError(
                f"level {self.level} is simulated by {' or '.join(own)}, not {self.simulator}"
            )
        return self.simulator or own[0]


def design_for(model: Model, machine: Machine, request: WiresRequest) -> Design:
    """Map a model on a machine as asked.

    Raise UserError where it would be far larger than the machine: its wires would take hours.
    """
    if request.lanes is None:
        return default_design(model, machine)
    rows, columns, state, chain = request.lanes
    places = {name: getattr(request, name) for name in MAIN_PLACES}
    lanes = Lanes(rows, columns, state, chain, PREFETCH_BEATS)
    design = sized_design(
        model, machine,
        Choices(lanes, places=tuple(places.items()), matrix=request.matrix),  # type: ignore[arg-type]  # the command line lets only known words through
    )  # fmt: skip
    for name in ("lut", "dsp"):
        used, there = design.resources[name], design.budget[name]
        if used > MOST_TIMES * there:
            raise UserError(
                f"design of {design.model} takes about {used:,} {name.upper()}, {machine.name} has "
                f"{there:,}; wires are built up to {MOST_TIMES} times a machine: choose fewer lanes"
            )
    return design


def design_label(design: Design) -> str:
    """Say which design this is, in few words."""
    lanes = design.choices.lanes
    widths = f"{lanes.rows} x {lanes.columns}, state {lanes.state}, chains {lanes.chain}"
    off = [name for name in MAIN_PLACES if design.places[name] == "memory"]
    where = f"{' and '.join(off)} in {design.ports.memory}" if off else "all on chip"
    if design.choices.matrix == "separate":
        widths += ", a matrix unit per projection"
    return f"{design.machine}: {widths}, {where}"


def written(model: Model, prompt: str, count: int, progress: Progress) -> Golden:
    """Let the reference read a prompt and write `count` tokens; the last one is not read again."""
    if not model.is_causal or NEXT not in model.outputs:
        raise UserError(
            f"model {model.name} labels tokens and writes none; wires are built for a causal model"
        )
    (name,) = model.inputs
    tokens = prompt_tokens(model.name, vocabulary(model), prompt).tolist()
    total = len(tokens) + count - 1
    outputs: dict[str, list[np.ndarray]] = {n: [] for n in model.outputs}
    states = None
    for number in range(total):
        ran = refer(model, {name: np.array(tokens[number : number + 1])}, states)
        states = ran.states
        for key, value in ran.outputs.items():
            outputs[key].append(value[0])
        if number + 1 == len(tokens):
            tokens.append(int(ran.outputs[NEXT][0]))
        progress.advance(number + 1, total)
    return Golden({name: np.array(tokens[:total])}, {n: np.stack(v) for n, v in outputs.items()})


def write_folder(
    folder: Path,
    model: Model,
    machine: Machine,
    design: Design,
    request: WiresRequest,
    units: tuple[str, ...],
    progress: Progress,
) -> dict[str, str]:
    """Write an accelerator, or some of its units, into a folder; return the files by name.

    A folder that was made of the same graph, design, request and code stays as it is. A killed
    process leaves the folder as it was. Raise UserError for a unit that is not there, and where
    something else would be lost.
    """
    key = digest(
        {
            "graph": content_hash(model), "design": design.text(), "units": list(units),
            "machine": digest(repr(machine) + repr(machine.sources)),
            "prompt": request.prompts[0], "tokens": request.tokens,
            "code": {part: code_digest(part) for part in EXPORT_CODE},
        }
    )  # fmt: skip
    files = kept(folder, key)
    if files is not None:
        progress.reused(f"write {folder}")
        return files
    refuse_lost(folder)
    facts = {"prompt": request.prompts[0], "machine": machine.name, "key": key}
    if units:
        files = export_units(model, design, units, progress, {"key": key})
    else:
        files = export_design(model, machine, design, request, progress, facts)
    with progress.task(f"write {folder}"):
        write_project(folder, files)
    return files


def export_design(
    model: Model,
    machine: Machine,
    design: Design,
    request: WiresRequest,
    progress: Progress,
    facts: Mapping[str, object],
) -> dict[str, str]:
    """Return the files of a whole accelerator with golden vectors and predicted cycles."""
    with progress.task("build units"):
        made = elaborate(model, design)
        modules = export_all(made, progress.advance)
    with progress.task("write golden vectors"):
        golden = written(model, request.prompts[0], request.tokens, progress)
    with progress.task("predict cycles"):
        cycles = predicted_beats(model, machine, design, golden.tokens)
        memory = memory_of(made, machine, golden.tokens)
        whole = Golden(golden.inputs, golden.outputs, cycles, memory)
    return project_files(made, modules, whole, content_hash(model), facts)


def export_units(
    model: Model,
    design: Design,
    units: tuple[str, ...],
    progress: Progress,
    facts: Mapping[str, object],
) -> dict[str, str]:
    """Return the files of some units alone; raise UserError for a unit that is not there."""
    made = elaborate(model, design)
    strange = [u for u in units if u not in made.plans]
    if strange:
        raise UserError(f"no unit is called {strange[0]!r}; there are {', '.join(made.plans)}")
    with progress.task("build units"):
        return unit_files(made, units, content_hash(model), progress.advance, facts)

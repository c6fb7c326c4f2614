"""Build a graph's accelerator in wires, export it, and hold it against the reference and the model.

`pyrtl` simulates all units as one PyRTL block; `verilog` the exported modules, in Verilator or
Icarus. What goes in are the prompt's tokens and then what the accelerator itself has written.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from cosim.design import Choices, Design, Lanes, default_design, sized_design
from cosim.flow.beats import predicted_beats
from cosim.flow.generate import NEXT, prompt_tokens, vocabulary
from cosim.flow.progress import Progress
from cosim.ir.errors import UserError
from cosim.ir.file import content_hash
from cosim.ir.model import Model
from cosim.machine import Machine
from cosim.reference import run as refer
from reports.wires import WiresCheck
from rtl.elaborate import elaborate, one_block
from rtl.export import Verilog
from rtl.golden import Golden
from rtl.hierarchy import export_all
from rtl.netlist import Block
from rtl.project import project_files, unit_files
from rtl.whole import Ran, outside, run, weight_feeds

LEVELS: Mapping[str, tuple[str, ...]] = {
    "pyrtl": ("pyrtl", "compiled"),
    "verilog": ("verilator", "icarus"),
}
PREFETCH_BEATS = 64


@dataclass(frozen=True)
class WiresRequest:
    """Say what is built and run.

    `lanes` (rows, columns, state, chain) None: the machine's default design; `weights` says where
    they live, chip or memory.
    """

    lanes: tuple[int, int, int, int] | None = None
    weights: str = "chip"
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
    """Map a model on a machine as asked; the embedding and the states are on chip."""
    if request.lanes is None:
        return default_design(model, machine)
    rows, columns, state, chain = request.lanes
    places = {"weights": request.weights, "states": "chip", "embedding": "chip"}
    return sized_design(
        model, machine,
        Choices(Lanes(rows, columns, state, chain, PREFETCH_BEATS), places=tuple(places.items())),  # type: ignore[arg-type]  # the command line lets only places through
    )  # fmt: skip


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


def export_design(
    model: Model, machine: Machine, design: Design, request: WiresRequest, progress: Progress
) -> dict[str, str]:
    """Return the files of a whole accelerator with golden vectors and predicted cycles."""
    with progress.task("build units"):
        made = elaborate(model, design)
        modules = export_all(made, progress.advance)
    with progress.task("write golden vectors"):
        golden = written(model, request.prompts[0], request.tokens, progress)
    with progress.task("predict cycles"):
        cycles = predicted_beats(model, machine, design, golden.tokens)
        feeds = weight_feeds(made, machine)
        whole = Golden(golden.inputs, golden.outputs, cycles, feeds)
    facts = {"prompt": request.prompts[0], "machine": machine.name}
    return project_files(made, modules, whole, content_hash(model), facts)


def export_units(
    model: Model, design: Design, units: tuple[str, ...], progress: Progress
) -> dict[str, str]:
    """Return the files of some units alone; raise UserError for a unit that is not there."""
    made = elaborate(model, design)
    strange = [u for u in units if u not in made.plans]
    if strange:
        raise UserError(f"no unit is called {strange[0]!r}; there are {', '.join(made.plans)}")
    with progress.task("build units"):
        return unit_files(made, units, content_hash(model), progress.advance)


def verify_wires(
    label: str,
    model: Model,
    machine: Machine,
    design: Design,
    request: WiresRequest,
    cycles: bool,
    progress: Progress,
) -> list[WiresCheck]:
    """Run the accelerator on its own tokens; compare each output, and the cycle of each beat.

    A comparison for each prompt, all from reset.
    """
    tool, size = request.tool, vocabulary(model)
    prompts = {p: prompt_tokens(model.name, size, p) for p in request.prompts}
    started = time.perf_counter()
    made = elaborate(model, design)
    block: Block | Verilog
    with progress.task("build units"):
        in_one = request.level == "pyrtl"
        block = one_block(model, design) if in_one else export_all(made, progress.advance).whole
    build_seconds = time.perf_counter() - started
    feeds = weight_feeds(made, machine)
    (name,) = model.inputs
    with progress.task(f"compile for {tool}"):
        first = next(iter(prompts.values()))[:1]
        run(made, block, outside(made, {name: first}, weights=feeds), tool)
    found = []
    for prompt, tokens in prompts.items():
        with progress.task(f"reference writes after {prompt!r} ({label})"):
            golden = written(model, prompt, request.tokens, progress)
        around = outside(made, {name: tokens}, golden.tokens, {name: NEXT}, feeds)
        told = predicted_beats(model, machine, design, golden.tokens)
        with progress.task(f"simulate in {tool}"):
            started, worked = time.perf_counter(), time.process_time()
            ran = run(made, block, around, tool, limit_of(told))
            seconds = time.perf_counter() - started
            processor_seconds = time.process_time() - worked
        spent = (build_seconds, seconds, processor_seconds)
        found.append(
            _compared((label, prompt), request, golden, ran, told if cycles else {}, spent)
        )
    return found


def limit_of(told: Mapping[str, np.ndarray]) -> int:
    """Return after how many cycles a run is given up: twice as many as it should take."""
    return 2 * max(int(c.max()) for c in told.values()) + 1000


def _compared(
    label: tuple[str, str],
    request: WiresRequest,
    golden: Golden,
    ran: Ran,
    told: Mapping[str, np.ndarray],
    seconds: tuple[float, float, float],
) -> WiresCheck:
    """Count what differs, and name the first of each."""
    integers = differences = beats = late = 0
    first: list[tuple[int, str]] = []
    for name, whole in golden.outputs.items():
        want = whole.reshape(golden.tokens, -1)
        got = ran.outputs[name]
        integers += want.size
        differences += int(np.count_nonzero(got != want))
        for token, place in np.argwhere(got != want)[:1].tolist():
            said = f"{got[token, place]} in {request.tool}, {want[token, place]} in the reference"
            first.append((token, f"token {token}, {name}[{place}]: {said}"))
    for name, want in told.items():
        got = ran.cycles[name]
        beats += want.size
        late += int(np.count_nonzero(got != want))
        for token, beat in np.argwhere(got != want)[:1].tolist():
            said = f"cycle {got[token, beat]} in {request.tool}, {want[token, beat]} predicted"
            first.append((token, f"token {token}, beat {beat} of {name}: {said}"))
    ends = np.max([c[:, -1] for c in ran.cycles.values()], axis=0)
    pace = float(ends[-1] - ends[0]) / (ends.size - 1) if ends.size > 1 else float(ends[0] + 1)
    return WiresCheck(
        *label, request.level, request.tool, golden.tokens, integers, differences, beats, late,
        ran.total_cycles, pace, *seconds, min(first)[1] if first else None,
    )  # fmt: skip

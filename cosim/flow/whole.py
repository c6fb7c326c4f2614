"""Verify a whole accelerator in wires: what it writes, bit by bit, and the cycle of each beat.

`pyrtl` simulates all units as one PyRTL block; `verilog` the exported modules, in Verilator or
Icarus. Every prompt starts from reset.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from cosim.design import Design
from cosim.flow.beats import predicted_beats
from cosim.flow.generate import NEXT, prompt_tokens, vocabulary
from cosim.flow.progress import Progress
from cosim.flow.wires import WiresRequest, design_label, written
from cosim.ir.model import Model
from cosim.machine import Machine
from reports.wires import WiresCheck
from rtl.elaborate import Elaboration, elaborate, one_block
from rtl.export import Verilog
from rtl.golden import Golden
from rtl.hierarchy import export_all
from rtl.netlist import Block
from rtl.ports import outputs_of
from rtl.simulate import Starved, tool_text
from rtl.whole import Ran, outside, run


@dataclass(frozen=True, eq=False)
class Whole:
    """Hold a design that is verified; its wires are built when a comparison first needs them."""

    label: str
    model: Model
    machine: Machine
    design: Design
    request: WiresRequest
    progress: Progress

    @cached_property
    def made(self) -> Elaboration:
        """Look at all units."""
        return elaborate(self.model, self.design)

    @cached_property
    def _sizes(self) -> Mapping[str, int]:
        """Return how many integers of a token go out through each port."""
        ports = outputs_of(self.made.plans)
        return {p.name: int(np.count_nonzero(p.wanted >= 0)) for p in ports}

    @cached_property
    def built(self) -> tuple[Block | Verilog, float]:
        """Return the wires, compiled for the simulator, and the seconds to make them."""
        started = time.perf_counter()
        with self.progress.task("build units"):
            if self.request.level == "pyrtl":
                block: Block | Verilog = one_block(self.model, self.design)
            else:
                block = export_all(self.made, self.progress.advance).whole
        seconds = time.perf_counter() - started
        with self.progress.task(f"compile for {self.request.tool}"):
            (name,) = self.model.inputs
            first = outside(self.made, {name: np.zeros(1, np.int64)}, machine=self.machine)
            limit = limit_of(predicted_beats(self.model, self.machine, self.design, 1))
            with suppress(Starved):  # which the prompt's own run says with its place
                run(self.made, block, first, self.request.tool, limit)
        return block, seconds

    def verify(self, prompt: str, cycles: bool) -> WiresCheck:
        """Compare what is written after a prompt; with `cycles`, the cycle of each beat too.

        What differs is in the result. Raise UserError where the design deadlocks.
        """
        (name,) = self.model.inputs
        tokens = prompt_tokens(self.model.name, vocabulary(self.model), prompt)
        total = tokens.size + self.request.tokens - 1
        ends = predicted_beats(self.model, self.machine, self.design, total)
        with self.progress.task(f"reference writes after {prompt!r} ({self.label})"):
            golden = written(self.model, prompt, self.request.tokens, self.progress)
        around = outside(self.made, {name: tokens}, golden.tokens, {name: NEXT}, self.machine)
        block, build_seconds = self.built
        limit, tool = limit_of(ends), self.request.tool
        found = _Compared(tool, golden, ends if cycles else {})
        with self.progress.task(f"simulate in {tool} after {prompt!r}"):
            started, worked = time.perf_counter(), time.process_time()
            try:
                found.compare(run(self.made, block, around, tool, limit))
            except Starved as error:
                if error.stream not in ends:
                    raise  # what goes to the memory is not predicted
                found.starve(error, ends, self._sizes[error.stream])
            seconds = time.perf_counter() - started
            processor_seconds = time.process_time() - worked
        return WiresCheck(
            self.label, design_label(self.design), prompt, self.request.level, tool_text(tool),
            golden.tokens, found.integers, found.differences, found.beats, found.late,
            found.total_cycles, found.pace_cycles, build_seconds, seconds, processor_seconds,
            found.first,
        )  # fmt: skip


def limit_of(told: Mapping[str, np.ndarray]) -> int:
    """Return after how many cycles a run is given up: twice as many as it should take."""
    return 2 * max(int(c.max()) for c in told.values()) + 1000


class _Compared:
    """Count what a run compared and what of it differs, and name the first of it."""

    def __init__(self, tool: str, golden: Golden, ends: Mapping[str, np.ndarray]) -> None:
        self.tool, self.golden, self.ends = tool, golden, ends
        self.integers = sum(v.size for v in golden.outputs.values())
        self.beats = sum(c.size for c in ends.values())
        self.differences = self.late = self.total_cycles = 0
        self.pace_cycles = 0.0
        self.first: str | None = None

    def compare(self, ran: Ran) -> None:
        """Hold all outputs, and all beats that were predicted, against a run."""
        first: list[tuple[int, str]] = []
        for name, whole in self.golden.outputs.items():
            want, got = whole.reshape(self.golden.tokens, -1), ran.outputs[name]
            self.differences += int(np.count_nonzero(got != want))
            for token, place in np.argwhere(got != want)[:1].tolist():
                said = f"{got[token, place]} in {self.tool}, {want[token, place]} in the reference"
                first.append((token, f"token {token}, {name}[{place}]: {said}"))
        for name, want in self.ends.items():
            got = ran.cycles[name]
            self.late += int(np.count_nonzero(got != want))
            for token, beat in np.argwhere(got != want)[:1].tolist():
                said = f"cycle {got[token, beat]} in {self.tool}, {want[token, beat]} predicted"
                first.append((token, f"token {token}, beat {beat} of {name}: {said}"))
        self.first = min(first)[1] if first else None
        ends = np.max([c[:, -1] for c in ran.cycles.values()], axis=0)
        self.total_cycles = ran.total_cycles
        many = ends.size > 1
        self.pace_cycles = float(ends[-1] - ends[0]) / (ends.size - 1) if many else ends[0] + 1.0

    def starve(self, error: Starved, ends: Mapping[str, np.ndarray], size: int) -> None:
        """Note that an output's beats stopped: what is missing of it differs."""
        want, tokens = ends[error.stream], self.golden.tokens
        token, beat = divmod(error.got, want.shape[1])
        self.differences = (tokens - token) * size
        self.late = error.wanted - error.got if self.ends else 0
        self.total_cycles = error.limit_cycles
        self.pace_cycles = error.limit_cycles / tokens
        self.first = (
            f"token {token}, beat {beat} of {error.stream}: not there after {error.limit_cycles} "
            f"cycles in {self.tool}, predicted in cycle {want[token, beat]}"
        )

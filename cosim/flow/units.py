"""Verify the units of an accelerator one by one: each alone, in bits and in the cycle of each beat.

Three runs a unit, from reset: on what the reference had there, at once and under gaps and stalls;
and on drawn values, ends of the bounds among them, under gaps and stalls.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np

from cosim import reference
from cosim.design import Design, graph_kinds
from cosim.design.plan import weights_of
from cosim.flow.beats import told
from cosim.flow.generate import prompt_tokens, vocabulary
from cosim.flow.progress import Progress
from cosim.flow.wires import WiresRequest, design_label, written
from cosim.ir.errors import UserError
from cosim.ir.model import Model
from cosim.machine import Machine
from hw_models.build import build_network
from hw_models.dataflow import solve
from hw_models.network import Actor, Channel, Firing, Network, Pattern, Program
from reports.wires_units import UnitCheck
from rtl.elaborate import Elaboration, elaborate
from rtl.export import Verilog, export
from rtl.netlist import Block
from rtl.simulate import Drain, Feed, Starved, simulate, tool_text
from rtl.simulators import verilator
from rtl.units.alone import Case, make_case
from rtl.units.memory import fetched_bits
from rtl.units.plan import UnitPlan
from rtl.units.unit import unit_block, unit_ports
from rtl.units.values import drawn, recorded
from rtl.units.weights import streamed

# These pass beats on, without arithmetic: what they do is seen end to end.
ENDS = ("source", "sink", "switch")
CHANCE = "drawn values, gaps and stalls"
RUNS = ("values of the reference", "values of the reference, gaps and stalls", CHANCE)


@dataclass(frozen=True, eq=False)
class Alone:
    """Hold a design whose units are verified; what the reference had there is run when needed."""

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

    def units(self, asked: Sequence[str]) -> list[str]:
        """Return the units to verify; none asked: all. Raise UserError for one that is not there.

        What only passes beats on is left out; so is an embedding that is off chip.
        """
        plans = self.made.plans.items()
        there = [n for n, p in plans if p.kind not in ENDS and not fetched_bits(p)]
        strange = [u for u in asked if u not in there]
        if strange:
            raise UserError(
                f"no unit is called {strange[0]!r} that can stand alone; there are "
                f"{', '.join(there)}"
            )
        return list(dict.fromkeys(asked)) or there

    @cached_property
    def recorded(self) -> dict[str, np.ndarray]:
        """Return every value of the reference's run over the first tokens."""
        prompt, wanted = self.request.prompts[0], self.request.tokens
        own = prompt_tokens(self.model.name, vocabulary(self.model), prompt).size
        with self.progress.task(f"reference writes after {prompt!r} ({self.label})"):
            golden = written(self.model, prompt, max(1, wanted - own + 1), self.progress)
            inputs = {n: v[:wanted] for n, v in golden.inputs.items()}
            return reference.run(self.model, inputs, keep=None).values

    def verify(self, unit: str) -> UnitCheck:
        """Verify one unit; what differs is in the result."""
        plan = self.made.plans[unit]
        words = self._weights(plan)
        started = time.perf_counter()
        built = unit_block(plan, {name: bits for name, (bits, _) in words.items()})
        block: Block | Verilog = built
        if self.request.level == "verilog":
            block = export(built, self.made.modules[unit])
            if self.request.tool == "verilator":
                verilator.built(block)
        build_seconds = time.perf_counter() - started
        extra = {name: beats for name, (_, beats) in words.items()}
        tally = _Tally(self.request.tool)
        for seed, what in enumerate(RUNS):
            values = (
                drawn(plan, np.random.default_rng(seed)) if what == CHANCE
                else recorded(plan, self.recorded)
            )  # fmt: skip
            case = make_case(plan, values, self.request.tokens, seed, seed == 0, extra)
            ends = unit_beats(self.model, self.machine, self.design, plan, case)
            tally.run(what, plan, case, ends, block)
        kind = self.design.unit(unit)
        lanes = f"{kind.lanes} x {kind.columns}" if kind.kind == "matrix" else str(kind.lanes)
        return UnitCheck(
            self.label, design_label(self.design), unit, plan.kind, lanes, self.request.level,
            tool_text(self.request.tool), len(RUNS), self.request.tokens, tally.integers,
            tally.differences, tally.beats, tally.late, tally.cycles, build_seconds,
            tally.seconds, tally.first,
        )  # fmt: skip

    def _weights(self, plan: UnitPlan) -> dict[str, tuple[int, list[int]]]:
        """Return the bits and a token's beats of a stream of weights, where they come as one."""
        name = weights_of(plan.unit)
        if plan.kind != "matrix" or name not in self.made.weights:
            return {}
        beats = [beat for words in streamed(plan) for beat in words.integers()]
        return {name: (self.made.weights[name], beats)}


@dataclass
class _Tally:
    """Count what the runs of a unit compared, and name the first that differs."""

    tool: str
    integers: int = 0
    differences: int = 0
    beats: int = 0
    late: int = 0
    cycles: int = 0
    seconds: float = 0.0
    first: str | None = None

    def run(
        self, what: str, plan: UnitPlan, case: Case, ends: dict[str, list[int]],
        block: Block | Verilog,
    ) -> None:  # fmt: skip
        """Simulate a case and compare every beat that comes out."""
        own = {f.name for f in plan.into}
        ports = unit_ports(plan, [n for n in case.feeds if n not in own])
        feeds = {ports[n]: f for n, f in case.feeds.items()}
        drains = {ports[n]: d for n, d in case.drains.items()}
        limit = 2 * max(max(c, default=0) for c in ends.values()) + 1000
        self.integers += sum(b.elements for own in case.expected.values() for b in own)
        self.beats += sum(map(len, ends.values()))
        started = time.perf_counter()
        try:
            trace = simulate(block, feeds, drains, self.tool, limit)
        except Starved as error:
            (name,) = (n for n in case.drains if ports[n] == error.stream)
            missing = case.expected[name][error.got :]
            self.late += len(missing)
            self.differences += sum(b.elements for b in missing)
            said = f"not there after {limit} cycles, predicted in cycle {ends[name][error.got]}"
            self.first = self.first or f"{what}: beat {error.got} of {name!r}: {said}"
            return
        self.seconds += time.perf_counter() - started
        self.cycles += trace.total_cycles
        found = []
        for name, beats in case.expected.items():
            port = ports[name]
            rows = zip(beats, trace.beats[port], trace.cycles[port], ends[name], strict=True)
            for number, (want, got, went, end) in enumerate(rows):
                where = f"{what}: beat {number} of {name!r}"
                if (got ^ want.word) & want.mask:
                    self.differences += want.elements
                    pair = f"{got & want.mask:#x} in {self.tool}, {want.word & want.mask:#x} meant"
                    found.append((went, f"{where}: {pair}"))
                if went != end:
                    self.late += 1
                    pair = f"cycle {went} in {self.tool}, {end} predicted"
                    found.append((went, f"{where}: {pair}"))
        if found and self.first is None:
            self.first = min(found)[1]


def unit_beats(
    model: Model, machine: Machine, design: Design, plan: UnitPlan, case: Case
) -> dict[str, list[int]]:
    """Return the cycle in which each beat leaves a unit that stands alone, by the cycle model."""
    c = design.choices
    (kind,) = graph_kinds(model, c.order, c.fused, c.matrix)
    whole = build_network(kind.skeleton, design.layouts[0], design, machine)
    (unit,) = (a for a in whole.actors if a.name == plan.unit.name)
    parts = [unit.before, *[unit.body] * unit.loops, unit.after]
    actors = [Actor(unit.name, Program.join(parts * case.tokens))]
    channels = {name: Channel(depth) for name, depth in case.places.items()}
    for name, feed in case.feeds.items():
        runs = [Firing((), (name,), feed.latency, gap) for gap in _gaps(feed, len(feed.beats))]
        actors.append(_end(name, runs, feed.allowed))
        channels[name] = Channel(feed.depth or max(len(feed.beats), 1))
    for name, drain in case.drains.items():
        runs = [Firing((name,), (), 1, gap) for gap in _gaps(drain, drain.count)]
        actors.append(told(_end(name, runs, drain.allowed)))
    timing = solve(Network(tuple(actors), channels))
    return {
        name: [s.start_cycle for s in timing.spans(actors=[f"end {name}"])] for name in case.drains
    }


def _end(name: str, runs: Sequence[Firing], allowed: Sequence[bool]) -> Actor:
    return Actor(
        f"end {name}", Program.of(*((1, r) for r in runs)), pattern=Pattern(tuple(allowed))
    )


def _gaps(port: Feed | Drain, count: int) -> Iterator[Fraction]:
    """Return the interval after each beat."""
    every = list(port.intervals) * (count if len(port.intervals) == 1 else 1)
    return map(Fraction, every)

"""Simulate a model on a machine: cycles, stalls, bytes and energy of a token.

A causal model generates: each token starts when the last one is out, and figures are those of a
token in the steady state. A model of several segments runs over a window, segment after segment,
and figures are the window's, divided by its tokens.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields

from cosim.design import Design, GraphKind, Workload, default_design, graph_kinds
from cosim.design.fitted import fits
from cosim.design.sized import doing
from cosim.ir.errors import UserError
from cosim.ir.model import Model
from cosim.machine import Machine
from hw_models.build import NO_PATTERNS
from hw_models.costs import OperatorRow, price_tokens
from hw_models.coverage import Coverage, cover
from hw_models.energy import price_list, static_pj
from hw_models.energy_constants import Constant, Scaling
from hw_models.network import Pattern
from hw_models.pace import Pace, Solved, ends_of, pace_of
from hw_models.stalls import StallRow, stall_rows
from hw_models.storage import has_cache
from hw_models.trace import Stretch, events, stretches

PROVENANCE: Mapping[str, str] = {
    "clock_hz": "given",
    "memory_bytes_per_s": "derived",
    "macs_per_s": "derived",
    "macs": "derived",
    "operations": "derived",
    "bytes": "derived",
    "offchip_bytes": "derived",
    "coverage": "derived",
    "cycles": "modelled",
    "cycles_per_token": "modelled",
    "latency_cycles": "modelled",
    "tokens_per_second": "modelled",
    "energy_pj": "modelled",
    "resources": "modelled",
}


@dataclass(frozen=True)
class UnitRow:
    """Say what a unit does in the cycles of a token: works, waits for beats, waits for places."""

    unit: str
    kind: str
    busy_cycles: float
    starved_cycles: float
    blocked_cycles: float
    utilisation: float


@dataclass(frozen=True)
class Ceilings:
    """Hold what the design could do at best: products of its matrix unit, bytes of its memory."""

    clock_hz: float
    macs_per_s: float
    memory: str
    memory_bytes_per_s: float


@dataclass(frozen=True)
class Simulation:
    """Hold the modelled figures of one model on one machine with one design."""

    model: str
    machine: str
    design: Design
    coverage: Coverage
    tokens: int
    cycles_per_token: float
    latency_cycles: int
    tokens_per_second: float
    units: tuple[UnitRow, ...]
    stalls: tuple[StallRow, ...]
    operators: tuple[OperatorRow, ...]
    energy_pj: Mapping[str, float]
    ceilings: Ceilings
    constants: tuple[Constant, ...]
    scalings: tuple[Scaling, ...]
    notes: tuple[str, ...]
    timeline: tuple[Stretch, ...]

    @property
    def energy_pj_per_token(self) -> float:
        """Return the energy of a token, all components."""
        return sum(self.energy_pj.values())

    def rows(self) -> list[dict[str, object]]:
        """Return a row per operator, for CSV."""
        return [asdict(row) for row in self.operators]

    def to_json(self) -> str:
        """Return all figures as JSON, apart from the timeline."""
        skipped = {"design", "timeline", "coverage"}
        plain: dict[str, object] = {
            f.name: _plain(getattr(self, f.name)) for f in fields(self) if f.name not in skipped
        }
        plain["coverage"] = {
            **asdict(self.coverage),
            "operators_share": self.coverage.operators_share,
            "macs_share": self.coverage.macs_share,
            "bytes_share": self.coverage.bytes_share,
        }
        plain["design"] = self.design.text()
        plain["resources"] = dict(self.design.resources)
        plain["resources_extrapolated"] = list(self.design.outside)
        plain["binds"] = self.design.binds
        plain["energy_pj_per_token"] = self.energy_pj_per_token
        plain["provenance"] = dict(PROVENANCE)
        return json.dumps(plain, indent=1)

    def trace_events(self) -> list[dict[str, object]]:
        """Return the timeline as Chrome trace events, one track per unit, times in µs."""
        return events(self.timeline, self.ceilings.clock_hz)


def simulate(
    model: Model,
    machine: Machine,
    design: Design | None = None,
    tokens: int = 0,
    patterns: Mapping[str, Pattern] = NO_PATTERNS,
    workload: Workload | None = None,
) -> Simulation:
    """Simulate some tokens; 0 chooses: one generated token, or the design's window.

    `design` None takes the default one for the workload; `workload` None takes the design's, or
    one sequence that generates; with both, the design does what it may not have been made for.
    Figures are those of one token of one sequence; of a prompt, means over its tokens, and
    `latency_cycles` those of all prompts. `patterns` say of sources and sinks (units such as
    `source.token` and `sink.logits`) in which cycles they may move beats; the pace is then the mean
    of the tokens that follow the first. Raise UserError where an operator has no unit, a design is
    not this model's or has no room for the workload, or the design deadlocks.
    """
    coverage = cover(model)
    if not coverage.is_whole:
        raise UserError(f"model {model.name}: {coverage.text()}; no unit carries what is missing")
    if tokens < 0:
        raise UserError(f"{tokens} tokens cannot be simulated; give 1 or more")
    if design is None:
        design = default_design(model, machine, workload=workload or Workload())
    chosen = design.choices
    kinds = graph_kinds(model, chosen.order, chosen.fused, chosen.matrix)
    _check_design(design, model, machine, kinds)
    if workload is not None and workload != chosen.workload:
        design = doing(design, kinds, machine, workload)
    _check_patterns(design, patterns)
    pace = pace_of(model, kinds, design, machine, tokens, patterns)
    solved, period = pace.solved, pace.cycles_per_token
    clock_hz = machine.clock.frequency_mhz * 1e6
    prices = price_list(machine)
    networks = [(s.timing.network, s.passes) for s in solved][: len(design.layouts)]
    rows, energy = price_tokens(model, kinds, design, networks, prices)
    energy["clock"] = prices.clock_pj(design.resources["ff"], period)
    energy["static"] = static_pj(machine, period / clock_hz)
    memory = next(m for m in machine.memories if m.name == design.ports.memory)
    matrix = [u for u in design.units if u.kind == "matrix"]
    return Simulation(
        model=model.name,
        machine=machine.name,
        design=design,
        coverage=coverage,
        tokens=pace.tokens,
        cycles_per_token=period,
        latency_cycles=pace.latency_cycles,
        tokens_per_second=clock_hz / period,
        units=_units(pace, design),
        stalls=stall_rows((s.timing, s.share, s.turn) for s in solved),
        operators=rows,
        energy_pj=energy,
        ceilings=Ceilings(
            clock_hz,
            clock_hz * sum(u.lanes * u.columns for u in matrix),
            memory.name,
            memory.effective_gb_s * 1e9,
        ),
        constants=tuple(prices.constants.values()),
        scalings=prices.scalings,
        notes=_notes(machine, model, design),
        timeline=_timeline(solved, model),
    )


def _check_design(design: Design, model: Model, machine: Machine, kinds: list[GraphKind]) -> None:
    if design.machine != machine.name:
        raise UserError(
            f"the design is for machine {design.machine!r}, not {machine.name!r}; make one for it"
        )
    for kind, layout in zip(kinds, design.layouts, strict=False):
        ours = [(t.name, t.nodes, t.span) for t in kind.skeleton.tasks]
        if ours != [(t.name, t.nodes, t.span) for t in layout.tasks]:
            raise UserError(
                f"the design of {design.model!r} does not fit the graph of {model.name!r}: layout "
                f"{layout.name!r} has other tasks; make one for this model"
            )
    if len(kinds) != len(design.layouts):
        raise UserError(
            f"the design of {design.model!r} has {len(design.layouts)} layouts and the graph of "
            f"{model.name!r} {len(kinds)}; make one for this model"
        )


def _check_patterns(design: Design, patterns: Mapping[str, Pattern]) -> None:
    ends = [u.name for u in design.units if u.kind in {"source", "sink"}]
    for name in patterns:
        if name not in ends:
            raise UserError(
                f"pattern for {name!r}: {design.model} has no such source or sink; give it to one "
                f"of {', '.join(ends)}"
            )


def _units(pace: Pace, design: Design) -> tuple[UnitRow, ...]:
    """Sum what each actor does per token; ports of the memory stand beside the design's units."""
    kinds = {u.name: str(u.kind) for u in design.units}
    total: dict[str, list[float]] = {}
    for s in pace.solved:
        timing, network = s.timing, s.timing.network
        part = s.share
        for actor in network.actors:
            sums = total.setdefault(actor.name, [0.0, 0.0, 0.0])
            sums[0] += timing.busy(actor.name, s.turn) * part
        for fifo in network.channels:
            maker, taker = network.ends(fifo)
            total.setdefault(taker, [0.0, 0.0, 0.0])[1] += timing.starved(fifo, s.turn) * part
            total.setdefault(maker, [0.0, 0.0, 0.0])[2] += timing.blocked(fifo, s.turn) * part
    return tuple(
        UnitRow(
            name, kinds.get(name, "memory"), busy, starved, blocked, busy / pace.cycles_per_token
        )
        for name, (busy, starved, blocked) in total.items()
    )


def _timeline(solved: Sequence[Solved], model: Model) -> tuple[Stretch, ...]:
    """Join the timelines of the segments, one after another."""
    found: list[Stretch] = []
    offset = 0
    for segment in model.segments:
        s = next(s for s in solved if segment.name in s.kind.segments)
        layered = s.kind.skeleton.sketch.layers > 1
        found += stretches(s.timing, segment.name, offset, layered)
        offset += int(ends_of(s)[-1]) if len(model.segments) > 1 else 0
    return tuple(found)


def _notes(machine: Machine, model: Model, design: Design) -> tuple[str, ...]:
    energy = machine.energy
    factor = machine.source("energy.logic_factor").text
    carried = f"times {energy.logic_factor:g} for {energy.node_nm} nm: {factor}"
    return (
        f"power of {machine.power.boundary}",
        f"logic priced by {energy.table}, {carried}",
        _resource_note(design),
        *design.reasons,
        _context_note(model, design.choices.workload),
    )


def _resource_note(design: Design) -> str:
    """Say what the resources are, and which of them are extrapolated."""
    known = fits()
    told = (
        f"LUT and FF are estimates, fitted to {known.tool} for {known.family}; DSP and blocks are "
        "counted as the maker packs them"
    )
    return f"{told}; extrapolated: {'; '.join(design.outside)}" if design.outside else told


def _context_note(model: Model, workload: Workload) -> str:
    """Say what the context length changes."""
    caches = sum(has_cache(s.graph) for s in model.segments)
    told = f"after {workload.context:,} tokens"
    if caches:
        return f"{told}: caches hold that many, and are read and priced so"
    return f"{told}: as after any number of them, for all states are of a fixed size"


def _plain(value: object) -> object:
    if isinstance(value, tuple):
        return [_plain(v) for v in value]
    if hasattr(value, "__dataclass_fields__"):
        return asdict(value)  # type: ignore[call-overload]
    return dict(value) if isinstance(value, Mapping) else value

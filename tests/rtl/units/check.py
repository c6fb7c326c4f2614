"""Hold a unit in wires against its meaning, bit by bit, and against hw_models, cycle by cycle.

`rtl/units/alone.py` says what goes in and must come out. The expected cycles are those of the
unit's actor in the timed dataflow, between a source and a sink per FIFO, played cycle by cycle by
the tests' own oracle: of the beats that come out, and of those that are taken.
"""

import random
from collections.abc import Mapping, Sequence
from fractions import Fraction

import numpy as np

from cosim import reference
from cosim.design import Choices, Design, Lanes, graph_kinds, sized_design
from cosim.ir.model import Model
from cosim.machine import load_machine
from hw_models import network as times
from hw_models.build import build_network
from rtl.simulate import Feed, Trace, simulate
from rtl.units.alone import STATE_IN, Case, make_case
from rtl.units.plan import UnitPlan, unit_plans
from rtl.units.unit import unit_block, unit_ports
from rtl.units.values import drawn, recorded
from tests.hw_models.oracle import firings_of, play

MACHINE = "u280"


def network_of(model: Model, design: Design, plan: UnitPlan, case: Case) -> times.Network:
    """Return the network of the unit's actor, its feeds and its drains."""
    c = design.choices
    (kind,) = graph_kinds(model, c.order, c.fused, c.matrix)
    machine = load_machine(design.machine)
    whole = build_network(kind.skeleton, design.layouts[0], design, machine)
    unit = next(a for a in whole.actors if a.name == plan.unit.name)
    parts = [unit.before, *[unit.body] * unit.loops, unit.after]
    actors = [times.Actor("dut", times.Program.join(parts * case.tokens))]
    channels = {name: times.Channel(depth) for name, depth in case.places.items()}
    for name, port in (*case.feeds.items(), *case.drains.items()):
        is_feed = isinstance(port, Feed)
        count = len(port.beats) if is_feed else port.count
        gaps = list(port.intervals) * (count if len(port.intervals) == 1 else 1)
        runs = [
            (1, times.Firing((), (name,), port.latency, Fraction(gap)) if is_feed
             else times.Firing((name,), (), 1, Fraction(gap)))
            for gap in gaps
        ]  # fmt: skip
        pattern = times.Pattern(tuple(port.allowed))
        actors.append(times.Actor(f"end {name}", times.Program.of(*runs), pattern=pattern))
        if is_feed:
            channels[name] = times.Channel(port.depth or max(count, 1))
    return times.Network(tuple(actors), channels)


def hold(
    model: Model, design: Design, plan: UnitPlan, case: Case, block, simulator: str = "pyrtl",
    what: object = "",
) -> Trace:  # fmt: skip
    """Demand every bit and every cycle of a case, of the beats popped and of those pushed."""
    network = network_of(model, design, plan, case)
    played = play(network, 1)
    assert played is not None, "the model deadlocks"
    starts, _ = played
    into = {f.name for f in plan.into} | {STATE_IN}
    ports = unit_ports(plan, [n for n in case.feeds if n not in into])
    feeds = {ports[n]: f for n, f in case.feeds.items()}
    drains = {ports[n]: d for n, d in case.drains.items()}
    trace = simulate(block, feeds, drains, simulator)
    for name, beats in case.expected.items():
        got = [w & b.mask for w, b in zip(trace.beats[ports[name]], beats, strict=True)]
        want = [b.word & b.mask for b in beats]
        wrong = [n for n, (a, b) in enumerate(zip(got, want, strict=True)) if a != b]
        assert not wrong, (
            f"{what} {plan.unit}: beat {wrong[0]} of {len(want)} of {name!r} is "
            f"{got[wrong[0]]:#x}, must be {want[wrong[0]]:#x}; {len(wrong)} differ"
        )
        went = list(trace.cycles[ports[name]])
        _same_cycles(f"{what} {plan.unit}: {name!r}", went, starts[f"end {name}"])
    firings = firings_of(network.actors[0], 1)
    for name in case.feeds:
        popped = [t for t, (_, k, _) in zip(starts["dut"], firings, strict=True) if name in k.pops]
        went = list(trace.cycles[ports[name]])
        # The wires may run on, or be stopped with the last beat that comes out.
        both = min(len(went), len(popped))
        _same_cycles(f"{what} {plan.unit}: {name!r}", went[:both], popped[:both])
    return trace


def _same_cycles(what: str, went: Sequence[int], want: Sequence[int]) -> None:
    assert len(went) == len(want), what
    late = [n for n, (a, b) in enumerate(zip(went, want, strict=True)) if a != b]
    assert not late, (
        f"{what}: beat {late[0]} goes in cycle {went[late[0]]}, the model says {want[late[0]]}"
    )


def check_drawn(
    model: Model, design: Design, plan: UnitPlan, block, hows: Sequence[str], seed: int = 0,
    simulator: str = "pyrtl", what: object = "", tokens: int = 2,
    extra: Mapping[str, list[int]] | None = None,
) -> None:  # fmt: skip
    """Check a unit on operands drawn in each of some ways, under gaps and stalls."""
    for how in hows:
        values = drawn(plan, np.random.default_rng(seed), how)
        case = make_case(plan, values, tokens, seed, extra=extra)
        hold(model, design, plan, case, block, simulator, (*np.atleast_1d(what), how))


def check_unit(
    model: Model, design: Design, name: str, tokens: int = 3, seeds=(0,), simulator: str = "pyrtl",
    recorded_too: bool = True,
) -> int:  # fmt: skip
    """Check a unit of a design: recorded values, drawn ones, calm and under gaps and stalls.

    Return how many runs were equal.
    """
    plan = unit_plans(model, design)[name]
    block = unit_block(plan)
    runs = 0
    if recorded_too:
        ((source, kind),) = model.inputs.items()
        ids = np.random.default_rng(7).integers(0, kind.hi, tokens)
        values = recorded(plan, reference.run(model, {source: ids}, keep=None).values)
        for calm in (True, False):
            case = make_case(plan, values, tokens, runs, calm)
            hold(model, design, plan, case, block, simulator, "recorded")
            runs += 1
    for seed in seeds:
        case = make_case(plan, drawn(plan, np.random.default_rng(seed)), tokens, seed)
        hold(model, design, plan, case, block, simulator, f"drawn with seed {seed}")
        runs += 1
    return runs


def draw_design(model: Model, rng: random.Random, kinds: tuple[str, ...]) -> tuple[Design, str]:
    """Draw lanes and FIFO depths; return the design and one unit of the kinds."""
    machine = load_machine(MACHINE)
    lanes = Lanes(
        rng.choice([1, 3, 5, 8, 9, 16, 36]), 4, rng.choice([1, 2, 4, 5, 8, 12, 16, 20, 32, 64]),
        rng.choice([1, 2, 3, 4, 5, 7, 8, 12, 16, 24, 33, 64]), 64,
    )  # fmt: skip
    design = sized_design(model, machine, lanes)
    names = [u.name for u in design.units if u.kind in kinds]
    name = rng.choice(names)
    (layout,) = design.layouts
    depths = tuple(
        (f.name, rng.choice([1, 2, 3, 4, 8, 40]))
        for f in layout.fifos if layout.task(f.maker).unit == name
    )  # fmt: skip
    order = rng.choice(["waited", "waited", "graph"])
    return sized_design(model, machine, Choices(lanes, depths=depths, order=order)), name

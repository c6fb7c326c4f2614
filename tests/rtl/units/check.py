"""Hold a unit in wires against the reference, bit by bit, and against hw_models, cycle by cycle.

The unit stands alone: a feed before each FIFO that it pops, a drain behind each FIFO that it
pushes. What goes in is what the reference had there (`recorded`), or is drawn, corners and ends of
the bounds included, and the graph's own nodes are then evaluated by their meaning (`drawn`). The
same actor stands in a network of the timed dataflow between a source and a sink per FIFO.
"""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from cosim import reference
from cosim.design import Choices, Design, Fifo, Lanes, graph_kinds, sized_design
from cosim.design.plan import STATE_FIFOS
from cosim.design.streams import TaskStream
from cosim.ir.model import Model
from cosim.ir.numerics import saturate
from cosim.machine import load_machine
from hw_models import network as times
from hw_models.build import build_network
from rtl.simulate import Drain, Feed, Trace, simulate
from rtl.units.kept import streams_of, words_of_states
from rtl.units.plan import Job, UnitPlan, unit_plans
from rtl.units.rows import laid
from rtl.units.stages import latency_of
from rtl.units.unit import unit_block, unit_ports
from tests.hw_models.oracle import play

MACHINE = "u280"
STATE_IN, STATE_OUT = STATE_FIFOS
# One element of a value at a time in one turn of one token: (token, turn, root) to flat integers.
Values = Callable[[int, int, str], np.ndarray]


@dataclass(frozen=True)
class Beat:
    """Hold a beat's word, and which of its bits mean something."""

    word: int
    mask: int


@dataclass(frozen=True)
class Case:
    """Hold a unit with what goes in, what must come out, and when."""

    plan: UnitPlan
    feeds: Mapping[str, Feed]
    drains: Mapping[str, Drain]
    expected: Mapping[str, list[Beat]]
    cycles: Mapping[str, list[int]]


def pack(values: np.ndarray, bits: int, beat: int, noise: random.Random) -> Beat:
    """Pack the elements of a beat, the first one lowest; above them stands noise."""
    mask = (1 << bits) - 1
    word = 0
    for place, value in enumerate(values.tolist()):
        word |= (value & mask) << (place * bits)
    used = bits * values.size
    return Beat(word | noise.getrandbits(bits * (beat - values.size)) << used if beat > values.size
                else word, (1 << used) - 1)  # fmt: skip


def beats_of(plan: UnitPlan, job: Job, fifo: Fifo, data: np.ndarray, noise: random.Random):
    """Return the beats in which a value goes through a FIFO."""
    skeleton = plan.folded.skeleton
    emitted = TaskStream.of(skeleton, skeleton.task(fifo.maker)).emission(fifo.value)
    bits = plan.folded.type(fifo.value).dtype.bits
    carried = job.flow.passage(fifo).carried(fifo.beat)
    in_turn = data.reshape(-1)[emitted]
    return [
        pack(in_turn[at * fifo.beat : (at + 1) * fifo.beat], bits, fifo.beat, noise)
        for at in np.flatnonzero(carried)
    ]


def name_in(plan: UnitPlan, root: str, turn: int, part: str) -> str:
    """Return what a root of the sketch is called in the graph, in one turn."""
    folded = plan.folded
    carry = folded.skeleton.sketch.carries.get(root)
    if carry is None:
        names = folded.names(root)
        return names[turn if len(names) > 1 else 0]
    block = folded.names(carry.block)
    if part == "after":
        return block[-1]
    return carry.first if turn == 0 else block[turn - 1]


def recorded(plan: UnitPlan, model: Model, tokens: np.ndarray) -> Values:
    """Return the values of a run of the reference."""
    (source,) = model.inputs
    ran = reference.run(model, {source: tokens}, keep=None)
    (segment,) = plan.folded.layout.segments
    return lambda token, _, name: ran.values[f"{segment}/{name}"][token]


def drawn(plan: UnitPlan, rng: np.random.Generator, how: str = "mixed") -> Values:
    """Draw what comes in, and evaluate the nodes behind it; states go on from token to token."""
    folded = plan.folded
    graph = folded.graph
    into = {f.value for f in plan.into}
    states = {n: np.broadcast_to(
        0 if s.init is None else graph.tensors[s.init], s.type.shape).astype(np.int64)
        for n, s in graph.states.items()}  # fmt: skip
    known: dict[tuple[int, int, str], np.ndarray] = {}

    def value(token: int, turn: int, name: str) -> np.ndarray:
        key = (token, turn, name)
        if key not in known:
            known[key] = find(token, turn, name)
        return known[key]

    def find(token: int, turn: int, name: str) -> np.ndarray:
        if name in graph.tensors:
            return graph.tensors[name]
        if name in graph.states:
            return states[name]
        if name in given(turn):
            return draw(rng, graph.types[name], how)
        node = folded.nodes[name]
        raw = node.op.meaning(*(value(token, turn, n) for n in node.inputs))
        return saturate(raw, graph.types[name].dtype) if node.op.saturates else raw

    def given(turn: int) -> set[str]:
        parts = {j.task.part for j in plan.jobs}
        return {name_in(plan, root, turn, part) for root in into for part in parts}

    def step(token: int, turn: int) -> None:
        for job in plan.jobs:
            for node in job.task.nodes:
                value(token, turn, name_in(plan, node, turn, job.task.part))
        for name, s in graph.states.items():
            if (token, turn, s.next) in known:
                states[name] = known[token, turn, s.next]

    def at(token: int, turn: int, name: str) -> np.ndarray:
        if (token, turn) not in done:
            done.add((token, turn))
            step(token, turn)
        return value(token, turn, name)

    done: set[tuple[int, int]] = set()
    return at


def draw(rng: np.random.Generator, type_, how: str = "mixed") -> np.ndarray:
    """Draw a value in the bounds of its type: anywhere, at the ends, around 0 and small."""
    if how == "mixed":
        how = str(rng.choice(["any", "ends", "near", "small", "any"]))
    shape, lo, hi = type_.shape, type_.lo, type_.hi
    if how == "any":
        return rng.integers(lo, hi, shape, endpoint=True)
    if how == "ends":
        return rng.choice([lo, hi], shape)
    if how == "near":
        return np.clip(rng.integers(-2, 2, shape, endpoint=True), lo, hi)
    # Every magnitude as likely: a width is drawn, then a value of it.
    width = rng.integers(0, max(abs(lo), hi).bit_length() + 1, shape)
    size = rng.integers(0, 1 << 62, shape) >> (62 - width)
    return np.clip(np.where(rng.random(shape) < 0.5, -size, size), lo, hi)


def patterns(rng: random.Random, count: int, calm: bool) -> tuple[list[int], list[bool]]:
    """Draw intervals for a round's beats, and the cycles that are allowed."""
    if calm:
        return [1], [True]
    gaps = [rng.choice([1, 1, 1, rng.randint(1, 6)]) for _ in range(count)]
    allowed = [True, *(rng.random() < 0.6 for _ in range(rng.choice([0, 0, 3, 11])))]
    return gaps, allowed


def make_case(
    model: Model, design: Design, plan: UnitPlan, values: Values, tokens: int, seed: int,
    calm: bool = False, extra: Mapping[str, list[int]] | None = None,
) -> Case:  # fmt: skip
    """Lay out what goes into a unit and what must come out; `extra` streams by token's beats."""
    rng = random.Random(seed)
    beats: dict[str, list[Beat]] = {f.name: [] for f in (*plan.into, *plan.out)}
    for token in range(tokens):
        for part in ("before", "block", "after"):
            for turn in range(plan.turns if part == "block" else 1):
                for job in plan.jobs:
                    if job.task.part != part:
                        continue
                    for fifo in (*job.into, *job.out):
                        name = name_in(plan, fifo.value, turn, part)
                        data = values(token, turn, name)
                        beats[fifo.name] += beats_of(plan, job, fifo, data, rng)
    if states := streams_of(plan):
        beats |= states_of(plan, values, tokens, rng)
        channel = {STATE_OUT: states.places}
    else:
        channel = {}
    feeds, drains = {}, {}
    words = {f.name: [b.word for b in beats[f.name]] for f in plan.into}
    words |= {name: list(own) * tokens for name, own in (extra or {}).items()}
    words |= {STATE_IN: [b.word for b in beats[STATE_IN]]} if states else {}
    apart = cycles_apart(plan)
    for name, own in words.items():
        gaps, allowed = patterns(rng, len(own), calm)
        if apart > 1:  # the last beat of each turn keeps the next one off
            gaps = list(gaps) * (len(own) if len(gaps) == 1 else 1)
            each = len(own) // (tokens * plan.turns)
            gaps[each - 1 :: each] = [apart] * len(gaps[each - 1 :: each])
        depth = None if calm else rng.choice([None, 1, 2, 5])
        feeds[name] = Feed(own, gaps, depth, 1 if calm else rng.randint(1, 4), allowed=allowed)
    places = {f.name: f.depth for f in plan.out} | channel
    for name in places:
        count = len(beats[name])
        gaps, allowed = patterns(rng, count, calm)
        drains[name] = Drain(count, gaps, allowed=allowed)
    cycles = model_cycles(model, design, plan, feeds, drains, tokens, places)
    return Case(plan, feeds, drains, {name: beats[name] for name in places}, cycles)


def states_of(plan: UnitPlan, values: Values, tokens: int, rng: random.Random):
    """Return the beats of states that come in, noise before the first token, and that go out."""
    own, sketch = laid(plan), plan.folded.skeleton.sketch
    found: dict[str, list[Beat]] = {STATE_IN: [], STATE_OUT: []}
    words = words_of_states(own, plan.folded).values()
    before: dict[tuple[str, int], np.ndarray] = {}
    for token in range(tokens):
        for turn in range(plan.turns):
            after = {w.state: values(token, turn, name_in(plan, sketch.states[w.state], turn, ""))
                     for w in words}  # fmt: skip
            for row in np.flatnonzero(own.rows.is_step):
                for name in (STATE_IN, STATE_OUT):
                    beat, mask, low = 0, 0, 0
                    for w in words:
                        used = w.elements[row][w.elements[row] >= 0]
                        data = after[w.state] if name == STATE_OUT else before.get((w.state, turn))
                        one = Beat(rng.getrandbits(w.bits), 0)
                        if data is not None:
                            one = pack(data.reshape(-1)[used], w.type.dtype.bits, w.width, rng)
                        beat, mask = beat | one.word << low, mask | one.mask << low
                        low += w.bits
                    found[name].append(Beat(beat, mask))
            before |= {(n, turn): data for n, data in after.items()}
    return found


def cycles_apart(plan: UnitPlan) -> int:
    """Return the cycles between turns that a state unit may count on.

    A layer's next turn hangs on the beats of this one, so that no state comes back before it is
    written. Alone, a unit of few rows must be fed so.
    """
    if plan.kind != "state" or plan.turns == 1:
        return 1
    latency, rows = latency_of(plan), laid(plan).count
    return 1 if rows * plan.turns >= latency else latency


def model_cycles(model, design, plan, feeds, drains, tokens, places) -> dict[str, list[int]]:
    """Return the cycle in which each beat goes out, as the timed dataflow has it."""
    c = design.choices
    (kind,) = graph_kinds(model, c.order, c.fused, c.matrix)
    whole = build_network(kind.skeleton, design.layouts[0], design, load_machine(MACHINE))
    unit = next(a for a in whole.actors if a.name == plan.unit.name)
    parts = [unit.before, *[unit.body] * unit.loops, unit.after]
    actors = [times.Actor("dut", times.Program.join(parts * tokens))]
    channels = {name: times.Channel(depth) for name, depth in places.items()}
    for name, port in (*feeds.items(), *drains.items()):
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
    played = play(times.Network(tuple(actors), channels), 1)
    assert played is not None, "the model deadlocks"
    return {name: played[0][f"end {name}"] for name in drains}


def hold(case: Case, block, simulator: str = "pyrtl", what: object = "") -> Trace:
    """Demand every bit and every cycle of a case."""
    into = {f.name for f in case.plan.into} | {STATE_IN}
    ports = unit_ports(case.plan, [n for n in case.feeds if n not in into])
    feeds = {ports[n]: f for n, f in case.feeds.items()}
    drains = {ports[n]: d for n, d in case.drains.items()}
    trace = simulate(block, feeds, drains, simulator)
    for name, beats in case.expected.items():
        got = [w & b.mask for w, b in zip(trace.beats[ports[name]], beats, strict=True)]
        want = [b.word & b.mask for b in beats]
        wrong = [n for n, (a, b) in enumerate(zip(got, want, strict=True)) if a != b]
        assert not wrong, (
            f"{what} {case.plan.unit}: beat {wrong[0]} of {len(want)} of {name!r} is "
            f"{got[wrong[0]]:#x}, must be {want[wrong[0]]:#x}; {len(wrong)} differ"
        )
    for name, want in case.cycles.items():
        went = trace.cycles[ports[name]]
        late = [n for n, (a, b) in enumerate(zip(went, want, strict=True)) if a != b]
        assert not late, (
            f"{what} {case.plan.unit}: beat {late[0]} of {name!r} goes in cycle "
            f"{went[late[0]]}, the model says {want[late[0]]}"
        )
    return trace


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
        ids = np.random.default_rng(7).integers(0, next(iter(model.inputs.values())).hi, tokens)
        for calm in (True, False):
            case = make_case(model, design, plan, recorded(plan, model, ids), tokens, runs, calm)
            hold(case, block, simulator, "recorded")
            runs += 1
    for seed in seeds:
        values = drawn(plan, np.random.default_rng(seed))
        case = make_case(model, design, plan, values, tokens, seed)
        hold(case, block, simulator, f"drawn with seed {seed}")
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

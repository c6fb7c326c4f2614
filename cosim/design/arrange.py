"""Choose the order of rows in a projection, and the FIFOs between tasks.

Rows go out in the order in which they are waited for: what a recurrence needs comes first, small
pieces before large ones (a whole B or C is needed before the first x), and the rest follows, or
alternates with the last such piece head by head. This is the computation reordering of LightMamba
(arXiv 2502.15260), read off the graph.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import prod

import numpy as np

from cosim.design.choices import Choices, Order
from cosim.design.plan import Fifo, Runs, Task, Unit
from cosim.design.streams import Passage, TaskStream, runs_of
from cosim.design.tasks import REMEMBERS, Skeleton, layer_of, starred
from cosim.ir.errors import UserError

# Only chains pass an order on; the others step through their span as it is.
PASSES_ORDER = ("vector", "fir")


def arranged(skeleton: Skeleton, order: Order = "waited") -> Skeleton:
    """Return the skeleton with the order of rows chosen, and passed on along chains."""
    if order == "graph":
        return skeleton
    done: dict[str, Task] = {}
    for task in skeleton.tasks:
        kind = skeleton.kind(task)
        if kind == "matrix":
            done[task.name] = replace(task, order=_row_order(skeleton, task, order))
        elif kind in PASSES_ORDER:
            done[task.name] = replace(task, order=_passed_order(skeleton, task, done))
        else:
            done[task.name] = task
    return replace(skeleton, tasks=tuple(done.values()))


def _row_order(skeleton: Skeleton, task: Task, order: Order) -> Runs:
    """Sort the rows of a linear task by who waits for them."""
    leaves = _leaves(skeleton, task, np.arange(task.span))
    ends = sorted({end for _, end in leaves})
    waits = [_reaches_state(skeleton, end, layer_of(task.name), set()) for end in ends]
    labels = np.zeros(task.span, np.int64)
    for rows, end in leaves:
        labels[rows] |= 1 << ends.index(end)
    cuts = [0, *(np.flatnonzero(np.diff(labels)) + 1).tolist(), task.span]
    pieces = list(pairwise(cuts))

    def late(piece: tuple[int, int]) -> tuple[bool, int]:
        label = int(labels[piece[0]])
        waited = any(wait and label >> k & 1 for k, wait in enumerate(waits))
        return not waited, (piece[1] - piece[0]) if waited else 0

    pieces.sort(key=late)
    first = [p for p in pieces if not late(p)[0]]
    rest = [p for p in pieces if late(p)[0]]
    if order == "heads" and first and len(rest) == 1:
        pieces = [*first[:-1], *_by_head(first[-1], rest[0], _heads(skeleton))]
    return runs_of(np.concatenate([np.arange(a, b) for a, b in pieces]))


def _by_head(x: tuple[int, int], z: tuple[int, int], heads: int) -> list[tuple[int, int]]:
    """Let two pieces alternate head by head, where both are whole heads of one size.

    >>> _by_head((4, 8), (0, 4), 2)
    [(4, 6), (0, 2), (6, 8), (2, 4)]
    """
    size = x[1] - x[0]
    if size != z[1] - z[0] or size % heads:
        return [x, z]
    own = size // heads
    starts = [p[0] + h * own for h in range(heads) for p in (x, z)]
    return [(a, a + own) for a in starts]


def _heads(skeleton: Skeleton) -> int:
    """Return the heads of the largest state: each is a matrix, the state's last two axes."""
    states = [skeleton.sketch.types[s].shape for s in skeleton.sketch.states]
    return prod(max(states, key=prod, default=(1,))[:-2])


def _leaves(skeleton: Skeleton, task: Task, rows: np.ndarray) -> list[tuple[np.ndarray, str]]:
    """Follow rows through chains that keep them apart; return (rows, task that mixes them)."""
    found = []
    for root, maker in skeleton.maker.items():
        if maker != task.name or skeleton.sketch.types[root].size != rows.size:
            continue
        for taker in skeleton.takers(root):
            for elements in _uses(skeleton, taker, root):
                inner: list[tuple[np.ndarray, str]] = []
                if skeleton.kind(taker) in PASSES_ORDER and _is_one_to_one(elements, taker.span):
                    inner = _leaves(skeleton, taker, rows[elements])
                found += inner or [(rows[elements[elements >= 0]], taker.name)]
    return found


def _uses(skeleton: Skeleton, taker: Task, root: str) -> list[np.ndarray]:
    stream = TaskStream.of(skeleton, taker)
    if skeleton.kind(taker) == "matrix":
        return [np.flatnonzero(stream.used(root))]
    return stream.needs(root)


def _is_one_to_one(elements: np.ndarray, span: int) -> bool:
    """Tell whether each of `span` elements needs one of its own."""
    return bool(elements.size == span and elements.min() >= 0 and np.bincount(elements).max() == 1)


def _reaches_state(skeleton: Skeleton, name: str, layer: str, seen: set[str]) -> bool:
    """Tell whether a task, or one that it feeds in the same layer, updates a state.

    All that a layer makes reaches the states of later layers, but these are not what waits first.
    """
    task = skeleton.task(name)
    if layer_of(name) != layer:
        return False
    if skeleton.kind(task) in REMEMBERS:
        return True
    if name in seen or skeleton.kind(task) in {"switch", "sink"}:
        return False
    seen.add(name)
    makes = [r for r, m in skeleton.maker.items() if m == name]
    return any(
        _reaches_state(skeleton, t.name, layer, seen) for r in makes for t in skeleton.takers(r)
    )


def _passed_order(skeleton: Skeleton, task: Task, done: Mapping[str, Task]) -> Runs:
    """Step through a chain's elements in the order in which its reordered input brings them."""
    stream = TaskStream.of(skeleton, task)
    for root in skeleton.reads(task):
        maker = done.get(skeleton.maker[root])
        if maker is None or len(maker.order) == 1:
            continue
        emitted = TaskStream.of(skeleton, maker).emission(root)
        rank = np.empty(emitted.size, np.int64)
        rank[emitted] = np.arange(emitted.size)
        for elements in stream.needs(root):
            if _is_one_to_one(elements, task.span):
                return runs_of(np.argsort(rank[elements], kind="stable"))
    return ((0, task.span),)


def beat_of(lanes: int, size: int, span: int) -> int:
    """Return the elements per beat of a value of `size` that `span` steps of `lanes` make.

    >>> beat_of(16, 5120, 5120), beat_of(16, 640, 5120), beat_of(64, 5120, 655360)
    (16, 2, 1)
    """
    return max(1, min(size, lanes * size // max(span, size)))


def fifos_of(skeleton: Skeleton, units: Mapping[str, Unit], choices: Choices) -> tuple[Fifo, ...]:
    """Return the FIFOs between the tasks, deep enough that a turn never deadlocks.

    A taker that waits for several FIFOs, or whose unit has other tasks to do first, gets FIFOs that
    hold the whole value, so that no maker is ever held up by it; all others take as they come.
    Where a turn has several passes, such a FIFO holds the value of each; where matrix units have a
    memory for all their results (`Choices.shares_weights`), of each only if the taker waits for
    what a matrix unit makes of all passes, and a full FIFO would keep some of them from it.
    """
    given = {n: d for n, d in choices.depths if n not in choices.spills}
    whole = choices.fifos == "whole"
    found = []
    for link in skeleton.once("links", _links):
        maker, taker, root = link.maker, link.taker, link.root
        beat = beat_of(units[maker.unit].lanes, link.size, maker.span)
        beats = given.get(link.name)
        if beats is None and (whole or link.waits):
            carried = Passage.of(skeleton, maker, taker, root).count(beat)
            all_passes = not choices.shares_weights or _waits_for_all(skeleton, maker, taker)
            beats = max(choices.shallow_beats, carried * (choices.passes if all_passes else 1))
        depth = choices.shallow_beats if beats is None else beats
        key = "fifo", link.name, beat, depth
        fifo = skeleton.known.get(key)
        if not isinstance(fifo, Fifo) or (fifo.maker, fifo.taker) != (maker.name, taker.name):
            width = beat * link.bits
            fifo = Fifo(link.name, maker.name, taker.name, root, beat, width, depth)
            skeleton.known[key] = fifo
        found.append(fifo)
    fifos = tuple(found) if skeleton.sketch.layers > 1 else _shared(skeleton, found, given)
    return _spilt(skeleton, fifos, choices) if choices.spills else fifos


def _spilt(skeleton: Skeleton, fifos: Iterable[Fifo], choices: Choices) -> tuple[Fifo, ...]:
    """Let FIFOs go through the memory; raise UserError where one of them cannot."""
    given = dict(choices.depths)
    found = []
    for fifo in fifos:
        if fifo.channel in choices.spills:
            if not can_spill(skeleton, fifo):
                raise UserError(
                    f"choices: FIFO {fifo.channel!r} joins {fifo.maker!r} and {fifo.taker!r}, and "
                    "only what two units of one part of the graph hand on can spill; choose another"
                )
            near = given.get(fifo.channel, choices.shallow_beats)
            fifo = replace(fifo, near=min(near, fifo.depth))
        found.append(fifo)
    return tuple(found)


def can_spill(skeleton: Skeleton, fifo: Fifo) -> bool:
    """Tell whether a FIFO may go through the memory: both ends compute, once for each other."""
    ends = [skeleton.task(name) for name in (fifo.maker, fifo.taker)]
    fixed = {"source", "sink", "switch"}
    return ends[0].part == ends[1].part and not fixed & {skeleton.kind(t) for t in ends}


@dataclass(frozen=True)
class _Link:
    """Hold what lanes do not change of a FIFO: its ends, its value, that of `size` elements.

    `waits`: its taker waits for several FIFOs, or its taker's unit has other tasks to do.
    """

    name: str
    maker: Task
    taker: Task
    root: str
    size: int
    bits: int
    waits: bool


def _links(skeleton: Skeleton) -> tuple[_Link, ...]:
    tasks_on = Counter(t.unit for t in skeleton.tasks)
    found = []
    for task in skeleton.tasks:
        reads, is_switch = skeleton.reads(task), skeleton.kind(task) == "switch"
        waits = not is_switch and (len(reads) > 1 or tasks_on[task.unit] > 1)
        for root in reads:
            maker, type_ = skeleton.task(skeleton.maker[root]), skeleton.sketch.types[root]
            name = f"{root} -> {task.name}"
            found.append(_Link(name, maker, task, root, type_.size, type_.dtype.bits, waits))
    return tuple(found)


def _shared(
    skeleton: Skeleton, fifos: Sequence[Fifo], given: Mapping[str, int]
) -> tuple[Fifo, ...]:
    """Let layers that are not folded share FIFOs, as wide and deep as any of them needs.

    A value of the same name goes from one unit to another in every layer; where both units come to
    the layers in the same order, one FIFO holds them one after another.
    """
    found = list(fifos)
    for name, places in skeleton.once("shared FIFOs", _sharing):
        group = [fifos[k] for k in places]
        depth = given.get(name, max(f.depth for f in group))
        width = max(f.width_bits for f in group)
        for k in places:
            found[k] = replace(fifos[k], shared=name, depth=depth, width_bits=width)
    return tuple(found)


def _sharing(skeleton: Skeleton) -> list[tuple[str, list[int]]]:
    """Return the name of each FIFO that several links share, and the places of these."""
    links = skeleton.once("links", _links)
    place = {t.name: k for k, t in enumerate(skeleton.tasks)}
    groups: dict[tuple[str, str, str], list[int]] = defaultdict(list)
    for k, link in enumerate(links):
        units = link.maker.unit, link.taker.unit
        groups[(*units, f"{starred(link.root)} -> {starred(link.taker.name)}")].append(k)
    found: list[tuple[str, list[int]]] = []
    names: set[str] = set()
    for (*_, name), group in groups.items():
        ends = sorted((place[links[k].maker.name], place[links[k].taker.name]) for k in group)
        in_turn = all(a < c and b < d for (a, b), (c, d) in pairwise(ends))
        if len(group) > 1 and in_turn and name not in names:
            found.append((name, group))
        names |= {links[k].name for k in group}
    return found


def _waits_for_all(skeleton: Skeleton, maker: Task, taker: Task) -> bool:
    """Tell whether a taker waits for a matrix unit that a full FIFO keeps from its input.

    What blocks a maker blocks all that feed it, up to the memory of a matrix unit's results; and
    whoever is blocked hands nothing on to its other takers either.
    """
    key = "waits for all", maker.name, taker.name
    if key not in skeleton.known:
        skeleton.known[key] = _finds_wait(skeleton, maker, taker)
    return bool(skeleton.known[key])


def _finds_wait(skeleton: Skeleton, maker: Task, taker: Task) -> bool:
    blocked: dict[str, Task] = {}
    todo = [maker]
    while todo:
        task = todo.pop()
        if task.name not in blocked:
            blocked[task.name] = task
            if skeleton.kind(task) not in {"matrix", "switch"}:
                todo += [skeleton.task(skeleton.maker[root]) for root in skeleton.reads(task)]
    return any(_past_matrix(skeleton, task, taker) for task in blocked.values())


def _past_matrix(skeleton: Skeleton, maker: Task, taker: Task) -> bool:
    """Tell whether some way from a task to another, in one turn, goes through a matrix unit.

    That unit does all passes of what comes before it, so that the maker must have done them too.
    """
    seen: set[tuple[str, bool]] = set()
    todo = [(maker, False)]
    while todo:
        task, past = todo.pop()
        if past and task.name == taker.name:
            return True
        for root in (r for r, m in skeleton.maker.items() if m == task.name):
            for after in skeleton.takers(root):
                key = after.name, past or skeleton.kind(after) == "matrix"
                # A switch hands a value on to the next turn.
                if skeleton.kind(after) != "switch" and key not in seen:
                    seen.add(key)
                    todo.append((after, key[1]))
    return False

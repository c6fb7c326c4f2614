"""Say what a token moves between the chip and its memory, and share the memory's ports out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil

from cosim.design.choices import Choices
from cosim.design.drawn import constant_bits, drawing_tasks, window_bits, window_tasks
from cosim.design.graph_kind import GraphKind
from cosim.design.plan import Fifo, Layout, Place, Ports
from cosim.design.shapes import linear_shapes, state_bits, state_tasks
from cosim.design.streams import Passage
from cosim.design.tasks import Skeleton
from cosim.machine import Machine

# A memory with few channels is shared by a fixed pattern of so many turns.
TDM_PARTS = 64
MANY_CHANNELS = 16
# What is small beside weights and states has a finer pattern, so that its least share costs little,
# and more than its bits ask for: a unit takes it within a part of a turn (a convolution in about a
# third), and waits for it otherwise.
FINER, HASTE = 16, 4


@dataclass(frozen=True)
class Moved:
    """Hold the bits that a token of the workload moves off chip, as means; weights are only read.

    `states` one way; they go both ways. `others`, by the name of their ports, both ways together.
    """

    weights: Fraction
    states: Fraction
    others: Mapping[str, Fraction]

    @property
    def total(self) -> Fraction:
        """Return all bits, both ways."""
        return self.weights + 2 * self.states + sum(self.others.values(), Fraction(0))


def share_memory(
    kinds: list[GraphKind],
    layouts: Sequence[Layout],
    places: Mapping[str, Place],
    machine: Machine,
    choices: Choices,
) -> Ports:
    """Share the fastest memory between weights, states and the rest as their bits are."""
    memory = machine.fastest_memory
    coarse = parts = memory.channels if memory.channels >= MANY_CHANNELS else TDM_PARTS
    moved = moved_bits(kinds, layouts, places, choices)
    others: dict[str, int] = {}
    if moved.others:
        parts *= FINER
        # Half of the memory at most.
        most = max(1, parts // (2 * len(moved.others)))
        others = {name: min(most, ceil(parts * HASTE * bits / moved.total))
                  for name, bits in moved.others.items()}  # fmt: skip
    left = parts - sum(others.values())
    weights, states = moved.weights, moved.states
    # As coarse as without the others: states need what is rounded up, for weights wait on them.
    each = ceil(coarse * Fraction(states, weights + 2 * states)) if states else 0
    each = min(each, (coarse - 1) // 2) * left // coarse
    ahead = choices.lanes.prefetch
    return Ports(memory.name, parts, left - 2 * each, each, ahead, tuple(others.items()))


def moved_bits(
    kinds: list[GraphKind],
    layouts: Sequence[Layout],
    places: Mapping[str, Place],
    choices: Choices,
) -> Moved:
    """Return what a token of the workload moves.

    A token of a prompt wants no weights of what follows the layers.
    """
    is_prompt = choices.workload.is_prompt
    weights = states = constants = windows = sequences = 0
    spilt: dict[str, int] = {}
    for kind, layout in zip(kinds, layouts, strict=True):
        own, count = kind.skeleton, len(kind.segments)
        if places["weights"] == "memory":
            weights += count * sum(
                s.stored_bits * n for s, n in linear_shapes(own)
                if not is_prompt or own.in_prompt(own.task(s.task))
            )  # fmt: skip
        if places["states"] == "memory":
            states += count * sum(state_bits(own, t) * n for t, n in state_tasks(own))
        if places["constants"] == "memory":
            constants += count * sum(
                constant_bits(own, t) * n for t, n in drawing_tasks(own)
                if not is_prompt or own.in_prompt(t)
            )  # fmt: skip
        if places["windows"] == "memory":
            windows += count * sum(window_bits(own, t) * n for t, n in window_tasks(own))
        if places["sequences"] == "memory":
            sequences += count * sum(sequence_bits(own, name) for name in layout.sequences)
        for fifo in layout.fifos:
            if fifo.near and not (is_prompt and not _in_prompt(own, fifo)):
                bits = spilt_bits(own, fifo) * _turns(layout, fifo) * count
                spilt[fifo.channel] = spilt.get(fifo.channel, 0) + bits
    others = {
        "constants": constants * choices.constant_moves,
        "windows": 2 * windows * choices.state_moves,
        "sequences": Fraction(sequences),
        **{port_of(name): Fraction(2 * bits) for name, bits in spilt.items()},
    }
    return Moved(
        weights * choices.turns.fetches, states * choices.state_moves,
        {name: bits for name, bits in others.items() if bits},
    )  # fmt: skip


def port_of(fifo: str) -> str:
    """Return the name by which a spilt FIFO has its share of the memory."""
    return f"spill {fifo}"


def spilt_bits(skeleton: Skeleton, fifo: Fifo) -> int:
    """Return the bits of one pass that go through a spilt FIFO, one way."""
    maker, taker = skeleton.task(fifo.maker), skeleton.task(fifo.taker)
    used = Passage.of(skeleton, maker, taker, fifo.value).used
    return int(used.sum()) * skeleton.sketch.types[fifo.value].dtype.bits


def sequence_bits(skeleton: Skeleton, task: str) -> int:
    """Return the bits that a source takes from the memory, or a sink gives it, for one token."""
    name = task.removeprefix("source.")
    sketch = skeleton.sketch
    value = sketch.outputs[task.removeprefix("sink.")] if task.startswith("sink.") else name
    return sketch.types[value].size_bits


def _turns(layout: Layout, fifo: Fifo) -> int:
    return layout.layers if layout.task(fifo.maker).part == "block" else 1


def _in_prompt(skeleton: Skeleton, fifo: Fifo) -> bool:
    return all(skeleton.in_prompt(skeleton.task(n)) for n in (fifo.maker, fifo.taker))


def port_cycles(moved: Moved, ports: Ports, rate: Fraction) -> Iterable[tuple[str, Fraction]]:
    """Return the cycles a token that each share of the memory is busy; `rate` bits a cycle."""
    shares = [("weights", moved.weights, ports.weight_parts),
              ("states", moved.states, ports.state_parts)]  # fmt: skip
    shares += [(name, moved.others.get(name, Fraction(0)), n) for name, n in ports.others]
    for name, bits, parts in shares:
        if bits:
            yield name, bits / (rate * Fraction(parts, ports.parts))

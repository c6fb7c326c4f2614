"""Hold what the firings of every unit may look at: the design, its ports, the passes of a turn."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property

from cosim.design.design import Design
from cosim.design.drawn import constant_beats
from cosim.design.kinds import Kind
from cosim.design.plan import (
    Layout,
    Task,
    Unit,
    constants_of,
)
from cosim.design.rows import Flow
from cosim.design.sketch import Part
from cosim.design.tasks import Skeleton
from cosim.machine import Machine, Port
from hw_models.network import Program
from hw_models.passes import Passes
from hw_models.steps import Draws

# One unit's firings in one part of the round; a task may need several units, such as its port.
Piece = tuple[str, Part, Program]
MOST_PIECES = 4000


@dataclass
class Made:
    """Hold the programs that were made for a skeleton: by task and widths, and joined."""

    pieces: dict[tuple[object, ...], tuple[Task, list[Piece]]] = field(default_factory=dict)
    # Numbers of what else programs depend on: hashes of exact fractions are slow.
    numbers: dict[tuple[object, ...], int] = field(default_factory=dict)
    # What was joined is kept with its parts, so that no other program gets their numbers.
    joined: dict[tuple[int, ...], tuple[Program, list[Program]]] = field(default_factory=dict)


def made_for(skeleton: Skeleton) -> Made:
    """Return what was made for designs of a skeleton, emptied where it grew too large."""
    made = skeleton.known.setdefault("programs", Made())
    assert isinstance(made, Made)
    if len(made.pieces) > MOST_PIECES:
        made.pieces.clear()
        made.joined.clear()
        made.numbers.clear()
    return made


@dataclass(frozen=True)
class Site:
    """Hold what every unit may look at while its firings are made, and the ports' shares."""

    skeleton: Skeleton
    layout: Layout
    design: Design
    machine: Machine
    weights: Port
    states: Port
    words: tuple[str, ...]
    passes: Passes

    @classmethod
    def of(
        cls,
        skeleton: Skeleton,
        layout: Layout,
        design: Design,
        machine: Machine,
        words: tuple[str, ...],
        passes: Passes,
    ) -> Site:
        """Look at one layout of a design on a machine."""
        shares, source = (
            design.ports,
            next(m for m in machine.memories if m.name == design.ports.memory),
        )
        weights, states = (
            machine.port(source, Fraction(max(parts, 1), shares.parts))
            for parts in (shares.weight_parts, shares.state_parts)
        )
        return cls(skeleton, layout, design, machine, weights, states, words, passes)

    def port(self, name: str, part: Fraction) -> Port:
        """Return a part of the share that one of `Ports.others` has."""
        shares, parts = self.design.ports, dict(self.design.ports.others)
        source = next(m for m in self.machine.memories if m.name == shares.memory)
        return self.machine.port(source, Fraction(parts[name], shares.parts) * part)

    @cached_property
    def made(self) -> Made:
        """Return the programs that were made for designs that are alike."""
        return made_for(self.skeleton)

    @cached_property
    def _numbers(self) -> tuple[int, int, int]:
        places = tuple(self.design.places.items())
        alike = (
            (self.passes,), (self.passes, self.words),
            (self.passes, self.weights, self.states, places, self.comes_back,
             self.design.ports.others, self.words),
        )  # fmt: skip
        known = self.made.numbers
        few, ends, ports = (known.setdefault(key, len(known)) for key in alike)
        return few, ends, ports

    def number_for(self, kind: Kind) -> int:
        """Return a number for what the firings of a kind depend on beside their task and FIFOs."""
        few, ends, ports = self._numbers
        if kind in {"matrix", "state", "memory", "fir"} or self.design.ports.others:
            return ports
        return ends if kind in {"source", "sink"} else few

    @property
    def comes_back(self) -> bool:
        """Tell whether the next turn works on the same states: there are no layers between."""
        return self.layout.layers == 1

    @property
    def shares_weights(self) -> bool:
        """Tell whether passes share a fetch of weights: there is one, and more than one pass."""
        return self.passes.in_tiles and self.design.places["weights"] == "memory"

    def draws(self, flow: Flow) -> Draws | None:
        """Return the constants that a task takes from off chip; None: it takes none."""
        if self.design.places["constants"] == "chip":
            return None
        steps = constant_beats(self.skeleton, flow.task, self.unit(flow).lanes)
        return Draws(constants_of(flow.task.unit), steps) if steps.any() else None

    def unit(self, flow: Flow) -> Unit:
        """Return the unit that does a task."""
        return self.design.unit(flow.task.unit)

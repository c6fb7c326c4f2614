"""Hold a Design: a graph mapped on a machine, with the choices that it was made by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from cosim.design.choices import Choices
from cosim.design.plan import Layout, Place, Ports, Runs, Unit
from cosim.ir.errors import UserError


@dataclass(frozen=True)
class Design:
    """Hold a graph mapped on a machine.

    `places` says where weights (`weights`), the embedding (`embedding`), decaying states
    (`states`), the other constants of layers (`constants`), windows of convolutions (`windows`) and
    what segments hand on over a window (`sequences`) live; tables and shifts are on chip.
    `resources` and `binds` explain the choice; they follow from the rest. `outside` says which
    units' LUT and FF are estimated from outside the sample that the estimates were fitted to,
    `reasons` why some of it was put off chip.
    """

    model: str
    machine: str
    choices: Choices
    units: tuple[Unit, ...]
    layouts: tuple[Layout, ...]
    places: Mapping[str, Place]
    ports: Ports
    resources: Mapping[str, int]
    budget: Mapping[str, int]
    binds: str
    outside: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check that every task has its unit."""
        names = [u.name for u in self.units]
        if len(set(names)) != len(names):
            raise UserError(f"design of {self.model}: two units share a name in {names}")
        for layout in self.layouts:
            for task in layout.tasks:
                if task.unit not in names:
                    raise UserError(f"task {task.name!r} wants a unit {task.unit!r}: none has it")

    @property
    def window(self) -> int:
        """Return the longest run in tokens; a causal model needs no more than one at a time."""
        return self.choices.window

    @cached_property
    def by_name(self) -> Mapping[str, Unit]:
        """Return the units by name."""
        return {u.name: u for u in self.units}

    def unit(self, name: str) -> Unit:
        """Return a unit by name."""
        return self.by_name[name]

    def text(self) -> str:
        """Print as short stable text."""
        lines = [f"design of {self.model} on {self.machine}"]
        for unit in self.units:
            size = f"{unit.lanes} x {unit.columns}" if unit.kind == "matrix" else f"{unit.lanes}"
            tasks = sum(t.unit == unit.name for la in self.layouts for t in la.tasks)
            lines.append(f"  unit {unit.name}: {unit.kind}, lanes {size}, {tasks} tasks")
        lines.append(f"  {self.choices.text()}")
        for layout in self.layouts:
            turns = f"{layout.layers} layers" if layout.layers > 1 else "one block"
            lines.append(f"  layout {layout.name}: {turns}, {len(layout.segments)} segments")
            for task in layout.tasks:
                order = "" if len(task.order) == 1 else f", order {_runs(task.order)}"
                nodes = " ".join(task.nodes)
                lines.append(f"    {task.part} {task.name} on {task.unit}: {nodes}{order}")
            for f in layout.fifos:
                size = f"{f.depth} x {f.width_bits} bits"
                size += f", spilt, {f.near} at either end" if f.near else ""
                lines.append(f"    fifo {f.maker} -> {f.taker}: {f.value}, {size}")
        where = {"chip": "on chip", "memory": f"in {self.ports.memory}"}
        lines += [f"  {what} {where[place]}" for what, place in self.places.items()]
        p = self.ports
        lines.append(
            f"  {p.memory}: {p.weight_parts} of {p.parts} for weights, 2 x {p.state_parts} for "
            f"states; {p.prefetch_beats} beats ahead"
        )
        lines += [f"  {p.memory}: {n} of {p.parts} for {name}" for name, n in p.others]
        lines += [f"  {reason}" for reason in self.reasons]
        for name, used in self.resources.items():
            lines.append(f"  {name} {used} of {self.budget[name]}")
        lines += [f"  LUT and FF extrapolated: {mark}" for mark in self.outside]
        lines.append(f"  binds: {self.binds}")
        return "\n".join(lines) + "\n"


def _runs(order: Runs) -> str:
    return " ".join(f"{a}..{b}" for a, b in order)

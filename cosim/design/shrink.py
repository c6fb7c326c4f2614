"""Shrink a design until it fits its machine, or find that not even the smallest one does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction

from cosim.design.account import cycles_alone
from cosim.design.arrange import can_spill
from cosim.design.choices import DECODE, Choices, Lanes
from cosim.design.design import Design
from cosim.design.graph_kind import GraphKind
from cosim.design.plan import STATE_FIFOS
from cosim.design.resources import Resources, fifo_cost, stored_cost
from cosim.design.shapes import state_tasks
from cosim.design.sized import laid_out
from cosim.design.workload import Workload
from cosim.ir.errors import UserError
from cosim.ir.model import Model
from cosim.machine import Machine

PREFETCH = (64, 4096)
SHALLOW_STATES = 128
# Shallower FIFOs are of LUTs, or nearly: those at two ends would take as much.
SPILT_DEPTH = 128


@dataclass(frozen=True)
class Ask:
    """Hold what a design is asked for."""

    model: Model
    machine: Machine
    kinds: list[GraphKind]
    workload: Workload
    window: int


@dataclass(frozen=True)
class Refused:
    """Hold the smallest design that was found, and what it takes too much of."""

    design: Design
    name: str
    by: int

    @property
    def text(self) -> str:
        """Say what is short."""
        return (
            f"{self.design.resources[self.name]:,} {self.name.upper()}, {self.by:,} more than the "
            f"{self.design.budget[self.name]:,} it may use"
        )

    def error(self, ask: Ask) -> UserError:
        """Return the sentence that refuses a machine."""
        fixed = _fixed(self.design, ask.kinds, ask.machine)[self.name]
        load = f" ({ask.workload.text()})" if ask.workload != DECODE else ""
        return UserError(
            f"machine {ask.machine.name} is too small for {ask.model.name}{load}: the smallest "
            f"design needs {self.text}"
            + (f" ({fixed:,} for what no choice takes off the chip)" if fixed else "")
            + "; choose a larger machine or a smaller model"
            + (" or batch" if ask.workload.batch > 1 else "")
        )


def shrunk(
    ask: Ask, choices: Choices, shallow: bool, spill: bool, below: Fraction | None
) -> Design | Refused | None:
    """Shrink what takes most until a design fits; return the smallest one where none does.

    `shallow` allows FIFOs of states that are shorter than a layer's, `spill` some that go through
    the memory. None: it would not be estimated to take less than `below` cycles, for what is
    smaller is never faster.
    """
    model, machine, kinds = ask.model, ask.machine, ask.kinds
    while True:
        design = laid_out(model, machine, kinds, choices)
        over = {
            n: u - design.budget[n] for n, u in design.resources.items() if u > design.budget[n]
        }
        if below is not None and estimate(design, kinds, machine) >= below:
            return None
        if not over:
            return design
        beats = _state_beats(design, kinds) if shallow else 0
        smaller = _smaller(choices, over, beats, spillable(design, kinds, machine) if spill else "")
        if smaller is None:
            name, by = max(over.items(), key=lambda item: item[1] / max(design.budget[item[0]], 1))
            return Refused(design, name, by)
        choices = smaller


def spillable(design: Design, kinds: list[GraphKind], machine: Machine) -> str:
    """Return the FIFO that frees most memory blocks if it is spilt; empty: there is none."""
    shares: dict[str, float] = {}
    for kind, layout in zip(kinds, design.layouts, strict=True):
        for fifo in layout.fifos:
            shares[fifo.channel] = 0.0
            if not fifo.near and fifo.depth > SPILT_DEPTH and can_spill(kind.skeleton, fifo):
                used = fifo_cost(fifo, machine)
                shares[fifo.channel] = max(
                    (n / max(design.budget[name], 1) for name, n in used.items()), default=0.0
                )
    name = max(shares, key=lambda n: (shares[n], n), default="")
    return name if name and shares[name] else ""


def _state_beats(design: Design, kinds: list[GraphKind]) -> int:
    """Return the depth of the FIFOs of states where no choice says it; 0: there are none."""
    if design.places["states"] == "chip":
        return 0
    tasks = [t for k in kinds for t, _ in state_tasks(k.skeleton)]
    return max((-(-t.span // design.unit(t.unit).lanes) for t in tasks), default=0)


def _fixed(design: Design, kinds: list[GraphKind], machine: Machine) -> Resources:
    """Return the memories that no choice takes off the chip, at these widths."""
    total: Resources = Counter()
    for kind in kinds:
        stored = stored_cost(kind.skeleton, design.by_name, design.places, machine, design.choices)
        total += Counter({k: v * len(kind.segments) for k, v in stored.items()})
    return total


def estimate(design: Design, kinds: list[GraphKind], machine: Machine) -> Fraction:
    """Estimate the cycles of a token: what binds alone, or what cannot go on at a time.

    With one tile a turn, the matrix unit waits for the recurrence and the other way round; with
    shallow FIFOs of states, both wait at worst until these are read and written.
    """
    costs = cycles_alone(design, kinds, machine)
    units = {n.removeprefix("unit "): c for n, c in costs.items() if n.startswith("unit ")}
    alone = max(costs.values())
    if design.choices.depths:
        alone += sum(2 * c for n, c in costs.items() if n.startswith("states from"))
    if design.choices.passes == 1 or design.choices.tiles > 1:
        return alone
    both = {"matrix", "state"}
    in_turn = sum((c for n, c in units.items() if n.split(".")[0] in both), Fraction(0))
    if design.choices.depths and design.ports.others:
        # Nothing of them is there before the state unit begins.
        in_turn += sum(c for n, c in costs.items() if n.startswith("states from"))
    return max(alone, in_turn)


def _smaller(
    choices: Choices, over: Mapping[str, int], state_beats: int, spillable: str
) -> Choices | None:
    """Shrink what takes most of what is short; return None where all is at its smallest.

    `state_beats`: the depth of the FIFOs of states that live off chip; 0: they keep it.
    `spillable`: a FIFO that may be spilt, if any.
    """
    lanes = choices.lanes
    memory_only = not {"lut", "ff", "dsp"} & set(over)
    if memory_only and lanes.prefetch > PREFETCH[0]:
        return replace(choices, lanes=replace(lanes, prefetch=lanes.prefetch // 2))
    depth = dict(choices.depths).get(STATE_FIFOS[0], state_beats)
    if memory_only and depth > SHALLOW_STATES:
        # Their port then idles while the state unit does; half as deep costs nothing to 30 %.
        return replace(choices, depths=tuple((name, depth // 2) for name in STATE_FIFOS))
    if memory_only and spillable:
        return replace(choices, spills=(*choices.spills, spillable))
    narrower = _narrower(lanes)
    return None if narrower is None else replace(choices, lanes=narrower)


def _narrower(lanes: Lanes) -> Lanes | None:
    """Shrink the largest unit; return None where all are at their smallest."""
    sizes = {
        "rows": lanes.rows * lanes.columns,
        "state": 8 * lanes.state,
        "chain": 64 * lanes.chain,
    }
    for name in sorted(sizes, key=lambda n: -sizes[n]):
        value = getattr(lanes, name)
        if value > 1:
            return replace(
                lanes, **{name: value // 2 if name != "rows" else max(1, value * 4 // 5)}
            )
    if lanes.columns > 1:
        return replace(lanes, columns=lanes.columns // 2)
    return None

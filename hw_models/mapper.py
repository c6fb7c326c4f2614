"""Choose a design for a machine and an objective by search, and say what was tried and what binds.

The search starts from the rules of `cosim.design.default_design` and climbs: of all single moves
(a width up or down, a matrix unit of another shape, one for all projections or one for each,
another order of rows, a place, a FIFO spilt, more weights ahead, more or fewer tokens to a fetch of
weights) it
takes the best that keeps the budget, until none gains `WORTH`; then of all pairs of moves of two
widths (what one gives up, the other may take). At last the FIFOs are sized
(`hw_models/depths.py`). What it finds is the best among its neighbours, not proved the best of all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal, get_args

from cosim.design import Choices, Design, Workload, default_design
from cosim.design.choices import DECODE, Order, Sharing
from cosim.design.plan import Place
from cosim.design.shapes import linear_shapes
from cosim.design.shrink import spillable
from cosim.design.traffic import moved_bits
from cosim.ir.errors import UserError
from cosim.ir.model import Model
from cosim.machine import Machine
from hw_models.depths import smallest_depths
from hw_models.evaluate import Evaluator, Point

# `area` is the sum of the shares of all resources.
Objective = Literal["latency", "throughput", "energy", "area"]
WORTH = 0.001  # a gain below one in 1000 is not worth a move
ORDERS: tuple[Order, ...] = ("waited", "heads")
MOST_MOVES = 100


@dataclass(frozen=True)
class Goal:
    """Say what a design is to be good at, and what it may take.

    budget
        Most LUT, FF, DSP, BRAM and URAM by name; what is not named is what the machine can use.
    bandwidth_share
        The share of the machine's effective memory bandwidth that it may use, above 0, at most 1.
    tokens_per_second
        The least speed that counts.
    slack
        How much longer a token may take for smaller FIFOs; None leaves them as the rules have them.
    workload
        What the design does: tokens of one sequence or of a batch, or prompts.
    """

    objective: Objective = "latency"
    budget: Mapping[str, int] | None = None
    bandwidth_share: float = 1.0
    tokens_per_second: float = 0.0
    slack: float | None = 0.0
    workload: Workload = DECODE

    def __post_init__(self) -> None:
        """Refuse what is no goal."""
        if self.objective not in get_args(Objective):
            raise UserError(
                f"objective {self.objective!r} is unknown; choose one of "
                f"{', '.join(get_args(Objective))}"
            )
        if not 0 < self.bandwidth_share <= 1:
            raise UserError(f"bandwidth_share {self.bandwidth_share:g} must be above 0, at most 1")


@dataclass(frozen=True)
class Tried:
    """Hold one move: what it does, its figure of merit, and why it was taken or not."""

    move: str
    merit: float
    verdict: str


@dataclass(frozen=True)
class Mapped:
    """Hold the design that was found, its figures, and the way there.

    `steps` are the moves that were taken; `refused` those that were tried from the end, each with
    its reason; `bound_cycles` what a token's bits alone take at the whole bandwidth,
    `product_cycles` what its products alone take of the matrix units.
    """

    goal: Goal
    design: Design
    point: Point
    steps: tuple[Tried, ...]
    refused: tuple[Tried, ...]
    evaluated: int
    bound_cycles: float
    product_cycles: float

    @property
    def product_share(self) -> float:
        """Return the share of the bound that the matrix units' products set."""
        return self.product_cycles / self.point.cycles_per_token

    @property
    def bandwidth_share(self) -> float:
        """Return the share of the bound that the memory's bandwidth sets; 0: nothing streams."""
        return self.bound_cycles / self.point.cycles_per_token

    def text(self) -> str:
        """Print what was chosen, and why."""
        p = self.point
        title = f"{self.design.model} on {self.design.machine} for {self.goal.objective}"
        if self.goal.workload != DECODE:
            title += f" of {self.goal.workload.text()}"
        pace = f"{p.tokens_per_second:,.2f} tokens/s, {p.cycles_per_token:,.0f} cycles"
        lines = [
            f"{title}: {pace} and {p.energy_pj_per_token / 1e6:,.1f} uJ a token (modelled)",
            f"  {p.choices.lanes}",
            f"  binds: {p.binds}",
        ]
        if self.bound_cycles:
            lines.append(f"  {100 * self.bandwidth_share:.1f} % of what the bandwidth allows")
        lines.append(f"  {100 * self.product_share:.1f} % of what the products allow")
        tiles = p.choices.turns.tiles
        if max(tiles) > 1:
            lines.append(f"  weights fetched once for {max(tiles)}, {len(tiles)} tiles a turn")
        lines += [f"  {n} {u:,} of {p.budget[n]:,}" for n, u in p.resources.items()]
        lines += [f"  {reason}" for reason in self.design.reasons]
        lines += [f"  LUT and FF extrapolated: {mark}" for mark in self.design.outside]
        lines.append(f"  {self.evaluated} designs evaluated; taken, one after another:")
        lines += [f"    {t.move}: {t.verdict}" for t in self.steps]
        lines.append("  refused at the end:")
        lines += [f"    {t.move}: {t.verdict}" for t in self.refused]
        return "\n".join(lines) + "\n"


def map_model(model: Model, machine: Machine, goal: Goal | None = None) -> Mapped:
    """Map a model on a machine for a goal.

    Raise UserError where no design fits, where none is fast enough, or where no unit carries an
    operator.
    """
    search = _Search(model, machine, Goal() if goal is None else goal)
    return search.run()


class _Search:
    """Climb from the default design."""

    def __init__(self, model: Model, machine: Machine, goal: Goal) -> None:
        if goal.bandwidth_share < 1:
            memories = tuple(
                replace(m, efficiency=m.efficiency * goal.bandwidth_share) for m in machine.memories
            )
            machine = replace(machine, memories=memories)
        self.machine, self.goal = machine, goal
        self.evaluator = Evaluator(model, machine)
        self.budget = machine.usable() | dict(goal.budget or {})
        unknown = sorted(set(self.budget) - set(machine.usable()))
        if unknown:
            raise UserError(
                f"budget: {', '.join(unknown)} is no resource; it takes "
                f"{', '.join(machine.usable())}"
            )
        self.seen: dict[Choices, Point] = {}

    def run(self) -> Mapped:
        """Climb until no move gains, then size the FIFOs."""
        goal = self.goal
        load = goal.workload
        start = default_design(self.evaluator.model, self.machine, workload=load)
        at = self._shrunk_to_budget(start.choices)
        steps: list[Tried] = []
        while len(steps) < MOST_MOVES:
            step = self._best(at, self._moves(at)) or self._best(at, self._pairs(at))
            if step is None:
                break
            move, choices = step
            steps.append(Tried(move, self._merit(choices), self._change(at, choices)))
            at = choices
        if not self._fast(self._point(at)):
            raise UserError(
                f"no design of {self.evaluator.model.name} on {self.machine.name} was found that "
                f"gives {goal.tokens_per_second:g} tokens/s; the best gives "
                f"{self._point(at).tokens_per_second:.2f}; ask for less, or allow more"
            )
        refused = tuple(Tried(m, self._merit(c), self._why_not(at, c)) for m, c in self._moves(at))
        if goal.slack is not None:
            sized = smallest_depths(self.evaluator, at, goal.slack).choices
            steps.append(Tried("smallest FIFOs", self._merit(sized), self._change(at, sized)))
            at = sized
        design = self.evaluator.design(at)
        kept = (at.places, at.spills) == (start.choices.places, start.choices.spills)
        design = replace(design, budget=self.budget, reasons=start.reasons if kept else ())
        return Mapped(
            goal, design, replace(self._point(at), budget=self.budget), tuple(steps), refused,
            len(self.seen), self._bound(design), self._products(design),
        )  # fmt: skip

    def _best(
        self, at: Choices, moves: Iterable[tuple[str, Choices]]
    ) -> tuple[str, Choices] | None:
        """Return the best of some moves, or None where none gains enough."""
        here = self._rank(at)
        ranked = [(self._rank(c), m, c) for m, c in moves if self._fits(c)]
        rank, move, choices = min(ranked, key=lambda r: r[0], default=(here, "", at))
        if rank[0] >= here[0] and rank[1] >= here[1] * (1 - WORTH):
            return None
        return move, choices

    def _point(self, choices: Choices) -> Point:
        if choices not in self.seen:
            self.seen[choices] = self.evaluator.point(choices)
        return self.seen[choices]

    def _fits(self, choices: Choices) -> bool:
        return not self._over(choices)

    def _over(self, choices: Choices) -> dict[str, int]:
        used = self.evaluator.design(choices).resources
        return {n: u - self.budget[n] for n, u in used.items() if u > self.budget[n]}

    def _fast(self, point: Point) -> bool:
        return point.tokens_per_second >= self.goal.tokens_per_second

    def _merit(self, choices: Choices) -> float:
        """Return what is to be small."""
        point = self._point(choices)
        if self.goal.objective == "latency":
            return float(point.latency_cycles)
        if self.goal.objective == "throughput":
            return point.cycles_per_token
        if self.goal.objective == "energy":
            return point.energy_pj_per_token
        return sum(u / max(self.budget[n], 1) for n, u in point.resources.items())

    def _rank(self, choices: Choices) -> tuple[bool, float]:
        """Return what the search makes small: first too slow a pace, then the merit."""
        point = self._point(choices)
        if not self._fast(point):
            return True, point.cycles_per_token
        return False, self._merit(choices)

    def _change(self, old: Choices, new: Choices) -> str:
        a, b = self._merit(old), self._merit(new)
        return f"{self.goal.objective} {100 * (b / a - 1):+.2f} %"

    def _why_not(self, at: Choices, choices: Choices) -> str:
        if over := self._over(choices):
            return "does not fit: " + ", ".join(f"{u:,} {n.upper()} over" for n, u in over.items())
        if not self._fast(self._point(choices)):
            return f"only {self._point(choices).tokens_per_second:.2f} tokens/s"
        return self._change(at, choices)

    def _shrunk_to_budget(self, choices: Choices) -> Choices:
        """Halve the widths until a tighter budget than the machine's is kept."""
        while not self._fits(choices):
            lanes = choices.lanes
            smaller = replace(
                lanes, rows=max(1, lanes.rows // 2), state=max(1, lanes.state // 2),
                chain=max(1, lanes.chain // 2), prefetch=max(1, lanes.prefetch // 2),
            )  # fmt: skip
            if smaller == lanes:
                over = ", ".join(f"{u:,} {n.upper()}" for n, u in self._over(choices).items())
                raise UserError(
                    f"budget: the smallest design of {self.evaluator.model.name} on "
                    f"{self.machine.name} takes {over} more; allow more"
                )
            choices = replace(choices, lanes=smaller)
        return choices

    def _bound(self, design: Design) -> float:
        """Return the cycles that what a token moves off chip takes at the whole bandwidth."""
        kinds = self.evaluator.kinds(design.choices)
        moved = moved_bits(kinds, design.layouts, design.places, design.choices)
        rate = self.machine.bits_per_cycle(self.machine.fastest_memory)
        return float(moved.total / rate)

    def _products(self, design: Design) -> float:
        """Return the cycles that the products of a token take of the unit that has most of them."""
        prompt, macs = design.choices.workload.is_prompt, dict.fromkeys(design.by_name, 0)
        for kind in self.evaluator.kinds(design.choices):
            for shape, turns in linear_shapes(kind.skeleton):
                task = kind.skeleton.task(shape.task)
                if not prompt or kind.skeleton.in_prompt(task):
                    macs[task.unit] += shape.macs * turns * len(kind.segments)
        return max(n / (design.unit(u).lanes * design.unit(u).columns) for u, n in macs.items())

    def _moves(self, at: Choices) -> Iterator[tuple[str, Choices]]:
        """Give every single move with its name."""
        lanes = at.lanes
        yield from self._widths(at)
        for rows, columns in (
            (2 * lanes.rows, lanes.columns // 2),
            (lanes.rows // 2, 2 * lanes.columns),
        ):
            if rows >= 1 and columns >= 1:
                shape = replace(lanes, rows=rows, columns=columns)
                yield f"{rows} x {columns} products", replace(at, lanes=shape)
        if self.evaluator.model.is_causal:
            for order in ORDERS:
                if order != at.order:
                    yield f"rows {order}", replace(at, order=order)
        yield from self._tiles(at)
        other_matrix: Sharing = "separate" if at.matrix == "shared" else "shared"
        yield f"matrix {other_matrix}", replace(at, matrix=other_matrix)
        for name, place in at.places or ():
            other: Place = "memory" if place == "chip" else "chip"
            places = dict(at.places or ()) | {name: other}
            yield f"{name} in {other}", replace(at, places=tuple(places.items()))
        yield from self._spills(at)

    def _spills(self, at: Choices) -> Iterator[tuple[str, Choices]]:
        """Spill the FIFO that takes most memory blocks, or let one that is spilt stay on chip."""
        name = spillable(self.evaluator.design(at), self.evaluator.kinds(at), self.machine)
        if name:
            yield f"spill {name}", replace(at, spills=(*at.spills, name))
        for name in at.spills:
            rest = tuple(n for n in at.spills if n != name)
            depths = tuple((n, d) for n, d in at.depths if n != name)
            yield f"{name} on chip", replace(at, spills=rest, depths=depths)

    def _tiles(self, at: Choices) -> Iterator[tuple[str, Choices]]:
        """Give other tiles: twice or half as many tokens to a fetch, or tiles to a turn."""
        load = at.workload
        most = load.tokens if load.is_prompt else load.batch
        for tile in (2 * at.tile, at.tile // 2):
            if 1 <= tile <= most:
                yield f"tile {tile}", replace(at, tile=tile)
        for tiles in (2 * at.tiles, at.tiles // 2) if load.is_prompt else ():
            if tiles >= 1 and tiles * at.tile <= most:
                yield f"tiles {tiles}", replace(at, tiles=tiles)

    def _pairs(self, at: Choices) -> Iterator[tuple[str, Choices]]:
        """Give every pair of moves of two widths."""
        for first, half in self._widths(at):
            for second, whole in self._widths(half):
                if first.split()[0] < second.split()[0]:
                    yield f"{first}, {second}", whole

    def _widths(self, at: Choices) -> Iterator[tuple[str, Choices]]:
        """Give every move of one width."""
        lanes = at.lanes
        ways = {
            "rows": (2 * lanes.rows, lanes.rows * 5 // 4, lanes.rows + 1, lanes.rows - 1,
                     lanes.rows * 4 // 5, lanes.rows // 2),
            "columns": (2 * lanes.columns, lanes.columns // 2),
            "state": (2 * lanes.state, lanes.state // 2),
            "chain": (2 * lanes.chain, lanes.chain // 2),
            "prefetch": (2 * lanes.prefetch, lanes.prefetch // 2),
        }  # fmt: skip
        for name, values in ways.items():
            for value in dict.fromkeys(values):
                if value >= 1 and value != getattr(lanes, name):
                    yield f"{name} {value}", replace(at, lanes=replace(lanes, **{name: value}))

"""Choose a Design for a machine: simple rules, budgets kept, and a word on what binds.

Rules, in this order:
1. Weights go on chip if they take at most half of the block memory, else they stream; decaying
   states go on chip if they fit beside, else they stream too. All else is on chip.
2. The matrix unit is as wide as the memory can feed it, or, with weights on chip, wide enough that
   its part of a turn is no longer than the chains' part.
3. The state unit needs at most a third of a turn (it works while the second half of the input
   projection comes out), a chain a 512th.
4. Tokens of a prompt, or of a batch, share fetches of weights in tiles of 1 to `MOST_TILE`, and
   the matrix unit is as many times wider; a prompt's turns have one tile or two. What is estimated
   to be fastest is taken. Weights on chip need no tiles: the passes of a turn follow one another.
5. What is over budget is halved until all fits: where only memory is short, what is fetched ahead
   of weights and then of states, else the largest user.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from itertools import product
from math import ceil

import numpy as np

from cosim.design.account import cycles_alone
from cosim.design.choices import DECODE, DEFAULT_WINDOW, Choices, Lanes
from cosim.design.design import Design
from cosim.design.graph_kind import GraphKind, graph_kinds
from cosim.design.plan import STATE_FIFOS, Place, Unit
from cosim.design.resources import Resources, stored_cost
from cosim.design.shapes import LinearShape, linear_shapes, state_tasks
from cosim.design.sized import default_places, laid_out
from cosim.design.workload import Workload
from cosim.ir.errors import UserError
from cosim.ir.model import Model
from cosim.machine import Machine

STATE_TURN_SHARE = 3
CHAIN_TURN_SHARE = 512
MOST_CHAIN_LANES = 64
MOST_COLUMNS = 256
CHIP_STEPS = 128
WINDOW_STEPS = 32
PREFETCH = (64, 4096)
SHALLOW_STATES = 128
MOST_TILE, CHIP_PASSES = 64, 16


def default_design(
    model: Model, machine: Machine, window: int = DEFAULT_WINDOW, workload: Workload = DECODE
) -> Design:
    """Map a model on a machine; `window` tokens is the longest run of a model that is not causal.

    Raise UserError where an operator has no unit, or where not even the smallest design fits.
    """
    kinds = graph_kinds(model)
    places = default_places(kinds, machine, workload.batch)
    # Tokens that follow one another overlap in a window: the pace counts, not the latency.
    steps = CHIP_STEPS if model.is_causal else WINDOW_STEPS
    best: tuple[Fraction, Design] | None = None
    refused: list[UserError] = []
    for (tile, tiles), shallow in product(_tiles(workload, places), (False, True)):
        start = Choices(
            _lanes(kinds, places, machine, steps, tile), places=tuple(places.items()),
            workload=workload, tile=tile, tiles=tiles, window=window,
        )  # fmt: skip
        try:
            design = _shrunk(model, machine, kinds, start, shallow)
        except UserError as error:
            refused.append(error)
            continue
        cycles = _estimate(design, kinds, machine)
        if best is None or cycles < best[0]:
            best = cycles, design
    if best is None:
        raise refused[-1]
    return best[1]


def _shrunk(
    model: Model, machine: Machine, kinds: list[GraphKind], choices: Choices, shallow: bool
) -> Design:
    """Shrink what takes most until a design fits; raise UserError where none does.

    `shallow` allows FIFOs of states that are shorter than a layer's.
    """
    while True:
        design = laid_out(model, machine, kinds, choices)
        over = {
            n: u - design.budget[n] for n, u in design.resources.items() if u > design.budget[n]
        }
        if not over:
            return design
        smaller = _smaller(choices, over, _state_beats(design, kinds) if shallow else 0)
        if smaller is None:
            name, by = max(over.items(), key=lambda item: item[1] / max(design.budget[item[0]], 1))
            fixed = _fixed(design, kinds, machine)[name]
            load = f" ({choices.workload.text()})" if choices.workload != DECODE else ""
            raise UserError(
                f"machine {machine.name} is too small for {model.name}{load}: the smallest design "
                f"needs {design.resources[name]:,} {name.upper()}, {by:,} more than the "
                f"{design.budget[name]:,} it may use"
                + (f" ({fixed:,} for windows, tables and constants alone)" if fixed else "")
                + "; choose a larger machine or a smaller model"
                + (" or batch" if choices.workload.batch > 1 else "")
            )
        choices = smaller


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


def _tiles(workload: Workload, places: Mapping[str, Place]) -> list[tuple[int, int]]:
    """Return what may be chosen of passes that share a fetch of weights, and tiles of a turn."""
    most = min(workload.tokens if workload.is_prompt else workload.batch, MOST_TILE)
    if places["weights"] == "chip":
        return [(1, min(most, CHIP_PASSES) if workload.is_prompt else 1)]
    sizes = [most] if not workload.is_prompt else [1]
    sizes += [2**k for k in range(MOST_TILE.bit_length()) if 2**k < most]
    counts = (1, 2) if workload.is_prompt else (1,)
    found = {(tile, min(n, -(-most // tile))) for tile in sizes for n in counts}
    return sorted(found, reverse=True)


def _estimate(design: Design, kinds: list[GraphKind], machine: Machine) -> Fraction:
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
    in_turn = sum(c for n, c in units.items() if n.split(".")[0] in {"matrix", "state"})
    return max(alone, Fraction(in_turn))


def _lanes(
    kinds: list[GraphKind],
    places: Mapping[str, Place],
    machine: Machine,
    least_steps: int,
    tile: int,
) -> Lanes:
    """Choose the widths that the machine's memory, or the model, asks for."""
    shapes = [(s, n * len(k.segments)) for k in kinds for s, n in linear_shapes(k.skeleton)]
    layers = sum(k.skeleton.sketch.layers * len(k.segments) for k in kinds)
    chain_spans = [t.span for k in kinds for t in k.skeleton.tasks if k.skeleton.kind(t) == "vector"
                   and t.part == "block"]  # fmt: skip
    longest = max(chain_spans, default=1)
    rate = float(machine.bits_per_cycle(machine.fastest_memory)) * tile
    macs = sum(s.macs * n for s, n in shapes)
    bits = sum(s.stored_bits * n for s, n in shapes)
    streamed = places["weights"] == "memory"
    if streamed:
        wanted = rate * macs / bits
    else:
        wanted = macs / layers / max(longest / MOST_CHAIN_LANES * 8, least_steps)
    rows, columns = _matrix_size(shapes, max(1, ceil(wanted)), rate if streamed else 0.0)
    unit = Unit("matrix", "matrix", rows, columns)
    steps = sum(s.steps(unit, streamed) * n for s, n in shapes)
    turn = max(steps, bits / rate if streamed else 0) / max(layers, 1)
    state_spans = [t.span for k in kinds for t, _ in state_tasks(k.skeleton)]
    state = _power_of_two(max(state_spans, default=1) * STATE_TURN_SHARE / turn)
    chain = _power_of_two(min(MOST_CHAIN_LANES, longest, longest * CHAIN_TURN_SHARE / turn))
    bubble = 8 * longest / chain + 200
    prefetch = min(max(_power_of_two(bubble), PREFETCH[0]), PREFETCH[1])
    return Lanes(rows, columns, state, chain, prefetch)


def _matrix_size(
    shapes: list[tuple[LinearShape, int]], wanted: int, rate: float
) -> tuple[int, int]:
    """Choose rows and columns near `wanted` products a cycle with the least time, then lanes.

    The time is the longer of computing and streaming; both grow where rows or columns do not
    divide a layer's. `rate` in bits per cycle, 0: on chip.
    """
    if not shapes:
        return 1, 1
    best: tuple[float, int, int, int] | None = None
    # Wide sums and few rows: the input is shared by rows, and each row is a wide output.
    columns, most = min(_power_of_two(wanted**0.5), MOST_COLUMNS), max(s.rows for s, _ in shapes)
    while columns <= MOST_COLUMNS:
        rows = np.arange(1, min(max(2, ceil(1.2 * wanted / columns) + 1), most + 1))
        steps, bits = np.zeros(rows.size), np.zeros(rows.size)
        for s, n in shapes:
            one = np.ceil(s.rows / rows) * (
                ceil(s.columns / columns)
                + (np.ceil(s.scale_bits / (columns * s.weight_bits)) if rate else 0)
            )
            steps += one * n
            bits += one * n * rows * columns * s.weight_bits
        time = np.maximum(steps, bits / rate) if rate else steps
        for t, r in zip(time.tolist(), rows.tolist(), strict=True):
            if r * columns > 1.2 * wanted and r > 1:
                continue
            size = (t, r * columns, columns, r)
            # A width that gains less than one in 100 is not worth its lanes.
            if best is None or t < best[0] * 0.99 or (t <= best[0] * 1.001 and size[1] < best[1]):
                best = size
        columns *= 2
    assert best is not None
    return best[3], best[2]


def _power_of_two(value: float) -> int:
    """Return the smallest power of two that is at least value, and at least 1."""
    return 1 << max(0, ceil(value) - 1).bit_length()


def _smaller(choices: Choices, over: Mapping[str, int], state_beats: int) -> Choices | None:
    """Shrink what takes most of what is short; return None where all is at its smallest.

    `state_beats`: the depth of the FIFOs of states that live off chip; 0: they keep it.
    """
    lanes = choices.lanes
    memory_only = not {"lut", "ff", "dsp"} & set(over)
    if memory_only and lanes.prefetch > PREFETCH[0]:
        return replace(choices, lanes=replace(lanes, prefetch=lanes.prefetch // 2))
    depth = dict(choices.depths).get(STATE_FIFOS[0], state_beats)
    if memory_only and depth > SHALLOW_STATES:
        # Their port then idles while the state unit does; half as deep costs nothing to 30 %.
        return replace(choices, depths=tuple((name, depth // 2) for name in STATE_FIFOS))
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

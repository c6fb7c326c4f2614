"""Choose a Design for a machine: simple rules, budgets kept, and a word on what binds.

Rules, in this order:
1. Weights go on chip if they take at most half of the block memory, else they stream; decaying
   states go on chip if they fit beside, else they stream too. All else is on chip, if some design
   then fits. If none does, what binds is the chip's memory: constants of layers, windows, sequences
   between segments, or several of them go off chip too, and at last the largest FIFOs are spilt;
   of what then fits, the design estimated to be fastest is taken, and says why (`Design.reasons`).
2. The matrix unit is as wide as the memory can feed it, or, with weights on chip, wide enough that
   its part of a turn is no longer than the chains' part.
3. The state unit needs at most a third of a turn (it works while the second half of the input
   projection comes out), a chain a 512th.
4. Tokens of a prompt, or of a batch, share fetches of weights in tiles of 1 to `MOST_TILE`, and
   the matrix unit is as many times wider; a prompt's turns have one tile or two. What is estimated
   to be fastest is taken. Weights on chip need no tiles: the passes of a turn follow one another.
5. What is over budget is halved until all fits: where only memory is short, what is fetched ahead
   of weights and then of states, then FIFOs are spilt where that is allowed, else the largest user.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import combinations, product
from math import ceil

import numpy as np

from cosim.design.choices import DECODE, DEFAULT_WINDOW, Choices, Lanes
from cosim.design.design import Design
from cosim.design.drawn import drawing_tasks, window_tasks
from cosim.design.graph_kind import GraphKind, graph_kinds
from cosim.design.plan import PLACES, Place, Unit
from cosim.design.shapes import LinearShape, linear_shapes, state_tasks
from cosim.design.shrink import PREFETCH, Ask, Refused, estimate, shrunk
from cosim.design.sized import default_places
from cosim.design.workload import Workload
from cosim.ir.model import Model
from cosim.machine import Machine

STATE_TURN_SHARE = 3
CHAIN_TURN_SHARE = 512
MOST_CHAIN_LANES = 64
MOST_COLUMNS = 256
CHIP_STEPS = 128
WINDOW_STEPS = 32
MOST_TILE, CHIP_PASSES = 64, 16


def default_design(
    model: Model, machine: Machine, window: int = DEFAULT_WINDOW, workload: Workload = DECODE
) -> Design:
    """Map a model on a machine; `window` tokens is the longest run of a model that is not causal.

    Raise UserError where an operator has no unit, or where not even the smallest design fits.
    """
    kinds = graph_kinds(model)
    ask = Ask(model, machine, kinds, workload, window)
    places = default_places(kinds, machine, workload.batch)
    best, refused = _best(ask, [places], spill=False)
    if best is not None:
        return best
    first, further = refused[-1], list(_further(kinds, model, places))
    # Where weights or states are small and on chip, what is beside them may yet be too much.
    all_off: dict[str, Place] = dict.fromkeys(PLACES, "memory")
    for tried, spill in ((further, False), ([all_off], False), ([*further, all_off], True)):
        best, refused = _best(ask, tried, spill)
        if best is not None:
            return replace(best, reasons=(_reason(best, places, first),))
    raise (refused or [first])[-1].error(ask)


def _best(
    ask: Ask, choices: Sequence[Mapping[str, Place]], spill: bool
) -> tuple[Design | None, list[Refused]]:
    """Return the design that is estimated to be fastest, for some choices of places.

    `spill` allows FIFOs that go through the memory.
    """
    # Tokens that follow one another overlap in a window: the pace counts, not the latency.
    steps = CHIP_STEPS if ask.model.is_causal else WINDOW_STEPS
    best: tuple[Fraction, Design] | None = None
    refused: list[Refused] = []
    for places in choices:
        for (tile, tiles), shallow in product(_tiles(ask.workload, places), (False, True)):
            start = Choices(
                _lanes(ask.kinds, places, ask.machine, steps, tile), places=tuple(places.items()),
                workload=ask.workload, tile=tile, tiles=tiles, window=ask.window,
            )  # fmt: skip
            found = shrunk(ask, start, shallow, spill, best[0] if best else None)
            if isinstance(found, Refused):
                refused.append(found)
            elif found is not None:
                best = estimate(found, ask.kinds, ask.machine), found
    return (None if best is None else best[1]), refused


def _further(
    kinds: list[GraphKind], model: Model, places: Mapping[str, Place]
) -> Iterator[dict[str, Place]]:
    """Give further places: what else the model has goes off chip, little first."""
    there = {
        "constants": any(drawing_tasks(k.skeleton) for k in kinds),
        "windows": any(window_tasks(k.skeleton) for k in kinds),
        "sequences": not model.is_causal,
    }
    names = [name for name, is_there in there.items() if is_there]
    for count in range(1, len(names) + 1):
        for chosen in combinations(names, count):
            yield {**places, **dict.fromkeys(chosen, "memory")}


def _reason(design: Design, places: Mapping[str, Place], first: Refused) -> str:
    """Say why something went off chip."""
    there = [k for k in design.places if k != "sequences" or design.window > 1]
    moved = [n for n in there
             if design.places[n] == "memory" and places.get(n, "chip") == "chip"]  # fmt: skip
    spilt = len(design.choices.spills)
    moved += [f"{spilt} FIFO{'s' if spilt > 1 else ''}"] if spilt else []
    listed = " and ".join([", ".join(moved[:-1]), moved[-1]] if moved[1:] else moved)
    return f"{listed} off chip, for with them on chip the smallest design needs {first.text}"


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

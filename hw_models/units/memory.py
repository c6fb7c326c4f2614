"""Time the ports of the off-chip memory: a bandwidth- and latency-limited source.

A port has an exact share of the memory's effective bandwidth. It asks for a beat as soon as the
FIFO has a place for it; the beat arrives `latency` cycles later. Beats follow in bursts and pauses,
as `cosim/machine/service.py` says and as the test bench of the wires plays it.

`memory`       the embedding's row, then each linear task's weights in static order
`state.read`   the decaying states, layer after layer, once they have been written a token ago
`state.write`  the same states back
`window.read`, `window.write`
               the values that convolutions keep, likewise
`constants.read.UNIT`
               the constants of a unit's tasks, layer after layer, ahead of them
`spill.write FIFO`, `spill.read FIFO`
               the beats of a FIFO that is spilt, and the same back once they are written
`sequence.write SINK`, `sequence.read SOURCE`
               what segments hand on over a window
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np

from cosim.design.kinds import OUTPUT_STAGES, STAGES
from cosim.design.plan import Unit
from cosim.design.rows import Flow, lay_rows
from cosim.machine import Pace, Port
from hw_models.network import Firing, Program
from hw_models.runs import burst_runs, pairs_of
from hw_models.steps import encode

STATE_WRITTEN, WINDOW_WRITTEN = "state.written", "window.written"
BUFFER_STAGES = 2  # a block memory is written, and read


def paced(program: Program, pace: Pace) -> Program:
    """Return the same firings at a port's pace: back to back in a burst, then a pause.

    A pause is the interval of its burst's last firing; a program's last one ends the task.
    """
    if not program.kinds:
        return program
    count = program.firings
    found = burst_runs(
        program.index, program.times, pace.burst, pace.over, pace.under, pace.free(count)
    )
    pairs, index = pairs_of(found[0], found[1])
    kinds = tuple(
        replace(program.kinds[old], interval=Fraction(gap))
        for old, gap in zip(*pairs.tolist(), strict=True)
    )
    return Program(kinds, index, found[2])


def fetched(task: str, into: str, beats: int, beat_bits: int, port: Port) -> Program:
    """Return the firings that fetch what is never written, such as weights, into a FIFO."""
    kind = Firing((), (into,), port.latency_cycles, task=task)
    return paced(Program.of((beats, kind)), port.pace(beat_bits))


def reused(
    task: str, into: str, out: str, beats: int, uses: int, tile_beats: int, once: int = 0
) -> Program:
    """Return the firings of a double buffer that gives each tile of weights `uses` times.

    The first pass hands a tile's beats on as they come in from FIFO `into` and keeps them; the
    others give them again, all but the `once` that a tile begins with (multipliers, which the
    taker keeps). The next tile comes in meanwhile: the other half is that FIFO, which must be a
    tile deep. A tile then takes the longer of its fetch and its uses, and the memory is two tiles
    (`double_buffer_beats`). The last tile may be shorter.
    """
    first = Firing((into,), (out,), BUFFER_STAGES, task=task)
    again = replace(first, pops=())
    runs: list[tuple[int, Firing]] = []
    for start in range(0, beats, tile_beats):
        tile = min(tile_beats, beats - start)
        runs += [(tile, first), (max(tile - once, 0) * (uses - 1), again)]
    return Program.of(*runs)


def double_buffer_beats(beats: int, uses: int, tile_beats: int) -> int:
    """Return the beats that a task's weights hold on chip: two tiles, or none without re-use.

    >>> [double_buffer_beats(n, uses, 16) for n, uses in ((100, 1), (100, 8), (9, 8))]
    [0, 32, 9]
    """
    if uses == 1:
        return 0
    # What fits one tile is fetched once and never waits for a second half.
    return beats if beats <= tile_beats else 2 * tile_beats


def embedding(flow: Flow, unit: Unit, port: Port | None) -> Program:
    """Return the firings that read a row of the embedding; `port` None: it is on chip."""
    steps = -(-flow.task.span // unit.lanes)
    token = {f.channel: np.ones(steps, np.int64) for f in flow.into}
    rows = lay_rows(steps, token, flow.emissions(unit.lanes))
    latency = port.latency_cycles if port else STAGES["embed"] + OUTPUT_STAGES
    program = encode(rows, latency, flow.task.name)
    if port is None:
        return program
    return paced(program, port.pace(max(f.width_bits for f in flow.out)))


def read_back(
    task: str, written: str, into: str, beats: int, beat_bits: int, port: Port
) -> Program:
    """Return the firings that fetch the states or windows of one task, once they are written."""
    first = Firing((written,), (into,), port.latency_cycles, task=task)
    others = replace(first, pops=())
    return paced(Program.of((1, first), (beats - 1, others)), port.pace(beat_bits))


def write_back(
    task: str, written: str, out: str, beats: int, beat_bits: int, port: Port
) -> Program:
    """Return the firings that store the states or windows of one task."""
    others = Firing((out,), task=task)
    last = replace(others, pushes=(written,))
    return paced(Program.of((beats - 1, others), (1, last)), port.pace(beat_bits))


def stored(task: str, out: str, spilt: str, beats: int, beat_bits: int, port: Port) -> Program:
    """Return the firings that store beats of a FIFO; each tells that it is there (`spilt`)."""
    kind = Firing((out,), (spilt,) if spilt else (), task=task)
    return paced(Program.of((beats, kind)), port.pace(beat_bits))


def brought(task: str, spilt: str, into: str, beats: int, beat_bits: int, port: Port) -> Program:
    """Return the firings that fetch each beat of a FIFO back once it is there."""
    kind = Firing((spilt,), (into,), port.latency_cycles, task=task)
    return paced(Program.of((beats, kind)), port.pace(beat_bits))

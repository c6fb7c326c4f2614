"""Compiled runs say what a loop over single firings and rows says."""

import numpy as np
import pytest

from cosim.design.rows import Emission, lay_rows
from cosim.machine.service import Pace
from hw_models.runs import burst_runs, coded_runs, pairs_of

RNG = np.random.default_rng(7)


@pytest.mark.parametrize("burst", [1, 2, 7, 16])
@pytest.mark.parametrize(("over", "under"), [(1, 1), (3, 2), (32, 25), (5, 1)])
@pytest.mark.parametrize("times", [(1,), (1, 40), (5, 3, 9)])
def test_runs_of_bursts_serve_each_beat_in_its_cycle(burst, over, under, times):
    pace, count = Pace(burst, over, under), sum(times)
    index = np.arange(len(times))
    kind, gap, length = burst_runs(index, np.array(times), burst, over, under, pace.free(count))
    each = np.repeat(gap, length)
    starts = np.concatenate([[0], np.cumsum(each)])
    assert starts[:-1].tolist() == [pace.cycle(beat) for beat in range(count)]
    assert starts[-1] == pace.free(count)
    assert np.repeat(kind, length).tolist() == np.repeat(index, times).tolist()
    # No run could be one with the next.
    assert not np.any((kind[1:] == kind[:-1]) & (gap[1:] == gap[:-1]))


def test_pairs_are_numbered_as_they_come_and_may_be_many():
    first, second = RNG.integers(0, 5, 300), RNG.integers(0, 7, 300)
    pairs, number = pairs_of(first, second)
    listed = list(zip(first.tolist(), second.tolist(), strict=True))
    assert list(zip(*pairs.tolist(), strict=True)) == list(dict.fromkeys(listed))
    assert np.array_equal(pairs[:, number], [first, second])


@pytest.mark.parametrize("differs", [False, True])
@pytest.mark.parametrize(("fifos", "total"), [(0, 1), (0, 5), (1, 1), (3, 64), (5, 301)])
def test_codes_of_runs_are_those_of_the_rows(fifos, total, differs):
    flags = RNG.random((fifos, total)) < 0.2
    codes = [sum(int(flags[k, row]) << k for k in range(fifos)) for row in range(total)]
    codes[-1] |= int(differs) << fifos
    values, index, times = coded_runs(flags, differs)
    assert values.tolist() == sorted(set(codes))
    assert np.repeat(values[index], times).tolist() == codes
    assert not np.any(index[1:] == index[:-1])


def plain_rows(steps: int, needs: dict, emissions: list[Emission]) -> tuple[dict, dict, list[bool]]:
    """Lay rows one by one: load what a step lacks, step, and let one beat of each value out."""
    popped, rows, row_of = dict.fromkeys(needs, 0), [], []
    for step in range(steps):
        lacks = {f: max(int(need[step]) - popped[f], 0) for f, need in needs.items()}
        lefts = range(max([*lacks.values(), 1]), 0, -1)
        rows += [{f for f, lack in lacks.items() if lack >= left} for left in lefts]
        row_of.append(len(rows) - 1)
        popped = {f: max(popped[f], int(need[step])) for f, need in needs.items()}
    pushes: dict[str, set[int]] = {}
    last = len(rows) - 1
    for emission in emissions:
        free = 0
        for beat, step in enumerate(emission.steps.tolist()):
            taken = [f for f, flags in emission.goes_to.items() if flags[beat]]
            row = max(free, row_of[step])
            for f in taken:
                pushes.setdefault(f, set()).add(row)
            free = row + 1 if taken else free
            last = max(last, row) if taken else last
        for f in emission.goes_to:
            pushes.setdefault(f, set())
    total = range(last + 1)
    pops = {f: [r < len(rows) and f in rows[r] for r in total] for f in needs}
    return (
        pops,
        {f: [r in at for r in total] for f, at in pushes.items()},
        [r in row_of for r in total],
    )


@pytest.mark.parametrize("seed", range(40))
def test_rows_are_those_laid_one_by_one(seed):
    rng = np.random.default_rng(seed)
    steps = int(rng.integers(1, 12))
    needs = {f"in{k}": np.cumsum(rng.integers(0, 4, steps)) for k in range(rng.integers(0, 4))}
    emissions = []
    for e in range(rng.integers(0, 3)):
        beats = int(rng.integers(1, 15))
        goes_to = {f"out{e}.{k}": rng.random(beats) < 0.6 for k in range(rng.integers(1, 3))}
        emissions.append(Emission(np.sort(rng.integers(0, steps, beats)), goes_to))
    found = lay_rows(steps, needs, emissions)
    pops, pushes, is_step = plain_rows(steps, needs, emissions)
    assert {f: flags.tolist() for f, flags in found.pops.items()} == pops
    assert {f: flags.tolist() for f, flags in found.pushes.items()} == pushes
    assert found.is_step.tolist() == is_step

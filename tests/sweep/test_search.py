"""A search depends on its seed and on what it was told, and on nothing else."""

import pytest

from cosim.ir.errors import UserError
from cosim.sweep.search import search_of
from cosim.sweep.study import read_study

TEXT = """\
models: mamba2-130m
machines: [u280, vck190]
knobs: {{rows: {{from: 1, to: 60}}, columns: {{from: 1, to: 60}}, fused: [true, false]}}
objectives: {objectives}
search: {search}
"""


def make(search, objectives="[tokens_per_s, luts]"):
    return search_of(read_study(TEXT.format(search=search, objectives=objectives), "x"))


def costs(point):
    """A bowl with its floor at rows 20, columns 30; nothing over 40 rows is possible."""
    knobs = dict(point.knobs)
    one = (knobs["rows"] - 20) ** 2 + (knobs["columns"] - 30) ** 2 + 50 * knobs["fused"]
    two = knobs["rows"] + (200 if point.machine == "u280" else 0)
    return [float(one), float(two)], max(0.0, knobs["rows"] / 40 - 1)


def run(search, columns=2):
    batches = []
    while points := search.ask():
        batches.append(points)
        told = [costs(p) for p in points]
        search.tell([row[:columns] for row, _ in told], [v for _, v in told])
    return batches


@pytest.mark.parametrize("method", ["tpe", "nsga2"])
def test_a_led_search_asks_the_same_again(method):
    choice = f"{{method: {method}, points: 50, seed: 4, batch: 8}}"
    first, again = run(make(choice)), run(make(choice))
    assert first == again
    assert [len(batch) for batch in first] == [8] * 6 + [2]
    other = run(make(choice.replace("seed: 4", "seed: 5")))
    assert other != first


@pytest.mark.parametrize(("method", "share"), [("tpe", 0.3), ("nsga2", 0.6)])
def test_a_led_search_learns(method, share):
    """Of 160 points, the later ones are nearer to the floor than those by chance, and possible."""
    choice = f"{{method: {method}, points: 160, seed: 1, batch: 16}}"
    batches = run(make(choice, "[luts]"), columns=1)
    early, late = batches[0] + batches[1], batches[-1] + batches[-2]

    def mean(points):
        return sum(costs(p)[0][0] for p in points) / len(points)

    assert mean(late) < share * mean(early)
    assert sum(costs(p)[1] > 0 for p in late) < sum(costs(p)[1] > 0 for p in early)


def test_what_was_told_matters():
    choice = "{method: tpe, points: 40, seed: 1, batch: 8}"
    led = run(make(choice))
    search = make(choice)
    blind = []
    while points := search.ask():
        blind.append(points)
        search.tell([[1.0, 1.0]] * len(points), [0.0] * len(points))
    assert led[0] == blind[0]
    assert led[3:] != blind[3:]


def test_a_search_that_finds_nothing_possible_goes_on():
    search = make("{method: tpe, points: 48, batch: 8}")
    asked = 0
    while points := search.ask():
        asked += len(points)
        search.tell([[0.0, 0.0]] * len(points), [0.5 + k for k in range(len(points))])
    assert asked == 48


def test_lists_come_whole_and_chance_as_asked():
    assert sum(map(len, run(make("{method: grid}")))) == 60 * 60 * 2 * 2
    assert sum(map(len, run(make("{method: random, points: 11}")))) == 11


def test_without_optuna_the_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "optuna", None)
    with pytest.raises(UserError, match=r"method tpe needs Optuna; .*cosim-toolkit\[sweep\]"):
        make("{method: tpe, points: 3}")

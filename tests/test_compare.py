"""A comparison names the first difference in running order, and cannot pass by being empty."""

import numpy as np
import pytest

from cosim.compare import first_difference
from cosim.ir.errors import InternalError
from cosim.ir.model import Model, Segment
from cosim.reference import run
from tests.ir.test_graph import small
from tests.test_reference import BYTES, model_of


def values_of(model, lead=(6,)):
    x = np.random.default_rng(0).integers(-128, 128, (*lead, 2))
    return run(model, {"in": x}, keep=None).values


def changed(values, *places):
    """Copy the values and add one at each (name, index)."""
    other = {n: v.copy() for n, v in values.items()}
    for name, index in places:
        other[name][index] += 1
    return other


def test_equal_runs_have_no_difference():
    model = model_of()
    assert first_difference(model, values_of(model), values_of(model)) is None


def test_a_difference_names_node_index_and_values():
    model = model_of()
    values = values_of(model)
    found = first_difference(model, values, changed(values, ("s/y", (3, 1)), ("s/y", (4, 0))))
    assert found is not None
    y = int(values["s/y"][3, 1])
    assert (found.value, found.index, found.left, found.right) == ("s/y", (3, 1), y, y + 1)
    assert str(found) == (
        f"first difference at s/y[3, 1]: {y} against {y + 1} (2 elements of this value differ)"
    )


def test_of_one_token_the_first_node_is_named():
    model = model_of()
    values = values_of(model)
    found = first_difference(model, values, changed(values, ("s/sum", (3, 0)), ("s/y", (3, 0))))
    assert found.value == "s/y"


def test_of_one_node_the_earliest_token_is_named():
    model = model_of()
    values = values_of(model, (2, 3, 6))
    other = changed(values, ("s/y", (0, 0, 5, 0)), ("s/y", (1, 2, 4, 1)))
    assert first_difference(model, values, other).index == (1, 2, 4, 1)


def test_a_cause_comes_before_what_it_spoils_through_a_state():
    """`window` stands before `sum`, but a wrong `sum` at token 2 cannot come from token 4."""
    model = model_of()
    values = values_of(model)
    other = changed(values, ("s/window", (4, 0, 0)), ("s/sum", (2, 1)))
    assert first_difference(model, values, other).value == "s/sum"


def test_a_backward_segment_starts_at_the_last_token():
    model = model_of(direction="backward")
    values = values_of(model)
    other = changed(values, ("s/y", (1, 0)), ("s/sum", (2, 0)), ("s/sum", (4, 0)))
    assert str(first_difference(model, values, other)).startswith("first difference at s/sum[4, 0]")


def test_segments_are_compared_in_order():
    segments = tuple(Segment(n, small().build(), {"x": "in"}) for n in ("b", "a"))
    model = Model("m", {"in": BYTES}, segments, {"o": "a.out"})
    values = values_of(model)
    other = changed(values, ("a/y", (0, 0)), ("b/sum", (5, 1)))
    assert first_difference(model, values, other).value == "b/sum"


def test_one_bit_anywhere_is_found():
    model = model_of()
    values = values_of(model)
    for name, value in values.items():
        for index in np.ndindex(value.shape):
            found = first_difference(model, values, changed(values, (name, index)))
            assert (found.value, found.index, found.count) == (name, index, 1)


@pytest.mark.parametrize(
    ("left", "right", "said"),
    [
        ({}, {}, "nothing to compare"),
        ({"s/y": np.zeros((3, 2), int)}, {}, "unequal sets: {'s/y'}"),
        ({"gone": np.zeros((3, 2), int)}, {"gone": np.zeros((3, 2), int)}, "no value 'gone'"),
        ({"s/y": np.zeros((0, 2), int)}, {"s/y": np.zeros((0, 2), int)}, r"s/y: int64 \(0, 2\)"),
        ({"s/y": np.zeros(2, int)}, {"s/y": np.zeros(2, int)}, r"s/y: int64 \(2,\) against"),
        (
            {"s/y": np.zeros((3, 2), int)},
            {"s/y": np.zeros((1, 2), int)},
            r"\(3, 2\) against .*1, 2",
        ),
        ({"s/y": np.zeros((3, 2))}, {"s/y": np.zeros((3, 2), int)}, "float64"),
        ({"s/y": np.zeros((3, 2), bool)}, {"s/y": np.zeros((3, 2), bool)}, "bool"),
    ],
)
def test_an_empty_or_crooked_comparison_is_refused(left, right, said):
    with pytest.raises(InternalError, match=said):
        first_difference(model_of(), left, right)


def test_widths_of_the_arrays_do_not_matter():
    model = model_of()
    values = values_of(model)
    narrow = {n: v.astype(np.int32) for n, v in values.items()}
    assert first_difference(model, values, narrow) is None

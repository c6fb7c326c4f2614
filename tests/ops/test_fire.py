"""`fire`: compare with a threshold; at the threshold itself, > and >= part."""

import operator

import numpy as np
import pytest

from cosim.ir.errors import UserError
from cosim.ir.types import TensorType, i, u
from cosim.ir.work import Work
from cosim.ops import Fire
from tests.ops.check import check

PYTHON = {">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le}


@pytest.mark.parametrize("comparator", PYTHON)
@pytest.mark.parametrize("bits", [3, 30])
def test_compares_as_python_does(comparator, bits):
    def plain(v, theta):
        return [int(PYTHON[comparator](a, b)) for a, b in zip(v, theta, strict=True)]

    types = [TensorType.full(i(bits), (5,)), TensorType.full(i(bits), (5,))]
    check(Fire(comparator), types, plain, np.random.default_rng(bits))


@pytest.mark.parametrize("comparator", [">", ">="])
def test_both_signs_fire(comparator):
    def plain(v, theta):
        passes = PYTHON[comparator]
        return [int(passes(a, theta[0])) - int(passes(-a, theta[0])) for a in v]

    types = [TensorType.full(i(4), (9,)), TensorType(u(3), (1,), 1, 7)]
    check(Fire(comparator, signed=True), types, plain, np.random.default_rng(3))


def test_at_the_threshold_the_comparator_decides():
    v, theta = np.array([4, 5, 6]), np.array([5])
    found = {c: Fire(c).meaning(v, theta).tolist() for c in PYTHON}
    assert found == {">": [0, 0, 1], ">=": [0, 1, 1], "<": [1, 0, 0], "<=": [1, 1, 0]}


@pytest.mark.parametrize(
    ("op", "theta", "said"),
    [
        (Fire("=="), TensorType.full(u(3), (1,)), "no comparator '=='; there are >, >=, <, <="),
        (Fire("<", True), TensorType.full(u(3), (1,)), "signed spikes need >"),
        (Fire(">=", True), TensorType.full(u(3), (1,)), "or >= and one >= 1"),
        (Fire(">", True), TensorType.full(i(3), (1,)), "a threshold >= 0"),
    ],
    ids=str,
)
def test_other_comparisons_are_refused(op, theta, said):
    with pytest.raises(UserError, match=f"operator fire: .*{said}"):
        op.infer([TensorType.full(i(8), (3,)), theta])


def test_work_is_counted_by_hand():
    types = [TensorType.full(i(24), (5,)), TensorType.full(u(9), (1,))]
    assert Fire(">").work(types, Fire(">").infer(types)) == Work(
        compares={24: 5}, in_bits=129, out_bits=5
    )
    signed = Fire(">", True)
    assert signed.work(types, signed.infer(types)).compares == {24: 10}

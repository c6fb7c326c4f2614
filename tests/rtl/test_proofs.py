"""What z3 proves of the operators' wires stays proved, and a wrong wire is found."""

import pytest

from cosim.ir.types import TensorType, i
from cosim.ops import Add, Argmax
from rtl.numerics import constant, sub
from rtl.ops import WIRES
from rtl.ops import add as add_file
from rtl.ops.lanes import lanes
from tests.rtl.op_wiring import check, prove_op
from tests.rtl.proofs import SMALL, at_recipe_widths
from tests.rtl.recipe_cases import cases

SECONDS = {
    "linear",
    "rms_norm",
    "group_scale",
    "center",
    "hadamard",
    "shift_fir",
    "group_read",
    "rms_table",
    "spike_linear",
    "attend",
    "divide",
}


@pytest.mark.parametrize("instance", at_recipe_widths(), ids=lambda c: c[0])
def test_a_lane_is_proved_at_the_widths_that_the_recipes_emit(instance):
    _, op, types, fixed = instance
    proof = prove_op(op, types, fixed)
    assert proof, proof


@pytest.mark.parametrize(
    "instance",
    [pytest.param(c, marks=pytest.mark.slow) if c[0].name in SECONDS else c for c in SMALL],
    ids=lambda c: str(c[0]),
)
def test_the_others_are_proved_at_small_widths(instance):
    op, types, fixed = instance
    proof = prove_op(op, types, fixed, limit_s=300)
    assert proof, proof


@pytest.mark.parametrize("instance", cases(), ids=lambda c: c[0])
def test_a_lane_gives_its_meaning_at_the_widths_that_the_recipes_emit(instance):
    _, op, types, fixed = instance
    check(op, types, fixed, count=40)


def test_a_wrong_operator_is_refuted(monkeypatch):
    """Wires that subtract one less often than they should."""
    monkeypatch.setattr(add_file, "add", lambda a, b: sub(a, sub(constant(0), sub(b, constant(1)))))
    t = TensorType.full(i(8), ())
    proof = prove_op(Add(i(8)), [t, t])
    assert proof.verdict == "refuted"
    a, b = (
        v - 256 if v >= 128 else v
        for v in (proof.counterexample[n] % 256 for n in ("i0_0", "i1_0"))
    )
    assert min(max(a + b, -128), 127) != min(max(a + b - 1, -128), 127)


def test_a_tie_the_other_way_is_refuted(monkeypatch):
    """Arg-max must take the first of equals: a proof that could not tell would be no proof."""
    right = WIRES["argmax"]

    def last_of_equals(op, inputs, out, pipe):
        (found,) = right(op, [inputs[0][::-1]], out, pipe).reshape(-1)
        return lanes([sub(constant(out.hi), found)], ())

    monkeypatch.setitem(WIRES, "argmax", last_of_equals)
    proof = prove_op(Argmax(), [TensorType.full(i(4), (3,))])
    assert proof.verdict == "refuted"
    values = list(proof.counterexample.values())
    assert len(set(values)) < len(values)

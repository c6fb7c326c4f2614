"""Vector chains are proved node by node, and wires that are wrong in any of them are refuted."""

from dataclasses import replace

import numpy as np
import pytest
import z3

from rtl.numerics import add, constant
from rtl.ops import WIRES
from rtl.ops.lanes import lanes
from rtl.terms import Term, Terms, as_z3, evaluate
from rtl.units.rows import Walk
from rtl.units.store import Source
from tests.rtl.chain_cases import chains, plans
from tests.rtl.chain_meaning import Meaning
from tests.rtl.chain_proofs import ChainProof

# What takes seconds; the rest is for `-m slow` and for `python -m tests.benchmarks.proofs`.
QUICK = ("vector.embed", "vector.conv_in", "vector.B", "vector.residual_out", "vector.act")


def settled(recipe: str, unit: str, lanes: int = 4) -> dict[str, str]:
    steps = ChainProof(plans(recipe, lanes)[unit]).run()
    return {s.node: s.how for s in steps}


@pytest.mark.parametrize("unit", QUICK)
def test_a_chain_is_proved(unit):
    how = settled("w4a4", unit)
    assert how.pop("layers.*.act", "exhausted") in {"exhausted", "proved"}
    assert set(how.values()) == {"proved"}


# One lane, and more lanes than a value has elements.
@pytest.mark.parametrize("lanes", [1, 24])
def test_it_is_at_any_width(lanes):
    assert set(settled("w8a8", "vector.residual_out", lanes).values()) == {"proved"}


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["w4a4", "w8a8", "lightmamba"])
def test_each_chain_of_a_recipe_holds(recipe):
    for _, unit, plan in chains((recipe,)):
        found = {s.how for s in ChainProof(plan).run()}
        ways = {"proved", "exhausted", "narrowed"} | ({"sampled"} if "next" in unit else set())
        assert found <= ways, unit


def refuted(unit: str, match: str) -> None:
    with pytest.raises(AssertionError, match=match):
        settled("w4a4", unit)


def test_wires_that_add_one_are_refuted(monkeypatch):
    right = WIRES["add"]

    def wrong(op, inputs, out, pipe):
        values = right(op, [lanes([add(v, constant(1)) for v in inputs[0]], (4,)), inputs[1]],
                       out, pipe)  # fmt: skip
        return values

    monkeypatch.setitem(WIRES, "add", wrong)
    refuted("vector.residual_out", "residual_out")


def test_another_product_is_refuted(monkeypatch):
    """Multiply one less than the first factor."""
    right = WIRES["mul"]

    def wrong(op, inputs, out, pipe):
        less = lanes([add(v, constant(-1)) for v in inputs[0]], inputs[0].shape)
        return right(op, [less, *inputs[1:]], out, pipe)

    monkeypatch.setitem(WIRES, "mul", wrong)
    refuted("vector.ssm.skip", r"ssm\.(drive|skip)")


def test_the_element_of_another_beat_is_refuted(monkeypatch):
    """The operand store gives the beat before the one that is asked for."""
    right = Source.aged
    monkeypatch.setattr(Source, "aged", lambda s, age, place: right(s, age + 1, place))
    refuted("vector.ssm.skip", "is of token|hangs on|v0|unknown")


def test_constants_of_another_layer_are_refuted(monkeypatch):
    right = Walk.tables
    monkeypatch.setattr(
        Walk,
        "tables",
        lambda s, t, there, stage: right(s, [np.flip(x, 0) for x in t], there, stage),
    )
    refuted("vector.residual_out", r"\.out ")


def test_an_entry_of_a_table_is_seen():
    """One entry out of hundreds, read by few of the inputs: all of them are run."""
    plan = plans("w4a4")["vector.act"]
    node = plan.folded.nodes["layers.1.act"]
    tensors = dict(plan.folded.graph.tensors)
    proof = ChainProof(plan)
    changed = tensors[node.inputs[1]].copy()
    changed[300] += 1 << 14
    graph = replace(plan.folded.graph, tensors={**tensors, node.inputs[1]: changed})
    proof.graph = Meaning(replace(plan, folded=replace(plan.folded, graph=graph)))
    with pytest.raises(AssertionError, match="act"):
        proof.run()


def test_terms_compute_what_z3_makes_of_them():
    """The two readings of a term agree, operation by operation, on random inputs."""
    rng = np.random.default_rng(0)
    terms = Terms()
    a, b = terms.variable("a", 5), terms.variable("b", 5)
    made = [
        terms.apply(op, None, (a, b), (5, 5), bits)
        for op, bits in (("+", 6), ("-", 6), ("*", 10), ("&", 5), ("|", 5), ("^", 5), ("n", 5),
                         ("=", 1), ("<", 1), (">", 1))
    ]  # fmt: skip
    made += [
        terms.apply("~", None, (a,), (5,), 5),
        terms.concat([(a, 5), (3, 2), (b, 5)]),
        terms.select(a, (0, 2, 3, 4, 4, 4), 5),
        terms.apply("x", None, (terms.select(a, (1,), 5), b, 9), (1, 5, 5), 5),
    ]
    for value in made:
        assert isinstance(value, Term)
        for _ in range(20):
            x, y = (int(v) for v in rng.integers(0, 32, 2))
            (got,) = evaluate(value, {"a": np.array([x]), "b": np.array([y])})
            known = {"a": z3.BitVecVal(x, 5), "b": z3.BitVecVal(y, 5)}
            assert int(got) == z3.simplify(as_z3(value, value.bits, known)).as_long(), value

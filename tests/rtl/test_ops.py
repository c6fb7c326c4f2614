"""The wires of every operator give its own integers: all inputs at small widths, then wide ones."""

from itertools import product

import numpy as np
import pytest

from cosim.design.kinds import KIND_OF_OP, STAGES, tree_stages
from cosim.ir.errors import InternalError
from cosim.ir.types import TensorType, i
from cosim.ops import OPS
from cosim.ops.hadamard import split_order
from hw_models.units import hadamard as hadamard_times
from hw_models.units import norm as norm_times
from rtl.netlist import building
from rtl.numerics import constant, of_bits, to_bits
from rtl.ops import WIRES
from rtl.ops.lanes import Table, array_of, lanes, table_of
from rtl.pipe import COMBINATIONAL
from rtl.simulate import Drain, Feed, simulate
from rtl.streams import drive, given, taken
from tests.rtl.op_cases import NARROW, WIDE, name_of
from tests.rtl.op_wiring import build, check, meaning
from tests.rtl.recipe_cases import cases
from tests.rtl.simulators import needs
from tests.rtl.wiring import decode

MOST_ROWS = 4096


def test_every_operator_has_wires_and_cases():
    assert set(WIRES) == set(OPS)
    assert {op.name for op, _, _ in (*NARROW, *WIDE)} == set(WIRES)


def stages_by_design(op, types) -> int:
    """Return the registers that the cycle model counts, with all lanes side by side."""
    if KIND_OF_OP[op.name] == "wire":
        return 0
    own = STAGES[op.name]
    size = types[0].shape[-1] if types[0].shape else 1
    if op.name in {"argmax", "contract"}:
        return own + tree_stages(size)
    if op.name == "cache_write":
        return own + rounds(types[2].hi, types[0].shape[0])
    if op.name == "attend":
        return attend_stages(op, types)
    if op.name == "argmax_attend":
        places, size = types[1].shape[0], types[0].shape[-1]
        return max(scores_ready(op, types, 2 + tree_stages(size))) + own + tree_stages(places)
    if op.name == "relu_attend":
        places, size = types[1].shape[0], types[0].shape[-1]
        weights = max(scores_ready(op, types, 2 + tree_stages(size) + own - 1)) + 1
        return weights + 2 + tree_stages(places)
    if op.name == "group_read":
        size = types[0].shape[-2]
        return own + tree_stages(min(op.group, size)) + tree_stages(size)
    if op.name in {"group_scale", "group_shift"}:
        return own + tree_stages(min(op.group, size))
    if op.name in {"fir", "shift_fir"}:
        return own + tree_stages(types[0].shape[0])
    if op.name == "hadamard":
        base, power = split_order(op.order)
        assert own * (tree_stages(power) + tree_stages(base)) + 1 == hadamard_times.stages(op.order)
        return hadamard_times.stages(op.order) - 1
    if op.name in {"rms_norm", "rms_table", "center"}:
        return norm_times.stages(op.name, size) - 1
    return own


def rounds(most: int, places: int) -> int:
    """Return the stages of a remainder: one for each bit of the rounds there may be."""
    return (most // places).bit_length()


def scores_ready(op, types, scores) -> tuple[int, int]:
    """Return the stages of the flags of keys that count, and of the scores."""
    places = types[1].shape[0]
    newest = types[3] if op.causal else types[-1]
    far = rounds(newest.hi, places) + 2
    farthest = places - 1 + (0 if op.causal else types[3].hi)
    ready = far + 1
    if op.dilation > 1:
        ready = max(ready, far + rounds(farthest, op.dilation) + 1)
    return ready, scores


def attend_stages(op, types) -> int:
    """Follow one head from its operands to its sums, tile after tile."""
    places, size = types[1].shape[0], types[0].shape[-1]
    newest = types[3] if op.causal else types[-1]
    scaled = 2 + tree_stages(size) + 1
    scaled = max(scaled, rounds(newest.hi, places) + 3) if op.alibi else scaled
    ready = max(scores_ready(op, types, scaled + STAGES["attend"] - 1))
    top = summed = None
    for start in range(0, places, op.tile):
        tile = min(op.tile, places - start)
        best = ready + 1 + tree_stages(tile)
        top = best if top is None else max(best, top) + 1
        terms = top + 4 + 2 + tree_stages(tile)
        summed = terms if summed is None else max(terms, max(summed, top + 1) + 2) + 1
    return summed


def every_token(types, fixed):
    """List every combination of elements; thinned evenly where there are too many."""
    spans = [
        range(t.lo, t.hi + 1) for k, t in enumerate(types) if k not in fixed for _ in range(t.size)
    ]
    rows = list(product(*spans))
    step = max(1, len(rows) // MOST_ROWS)
    tokens = []
    for row in rows[::step]:
        left = list(row)
        tokens.append(
            [
                fixed[k]
                if k in fixed
                else np.array([left.pop(0) for _ in range(t.size)]).reshape(t.shape)
                for k, t in enumerate(types)
            ]
        )
    return tokens, step


@pytest.mark.parametrize("instance", NARROW, ids=name_of)
def test_small_operators_give_their_meaning_on_every_input(instance):
    op, types, fixed = instance
    tokens, step = every_token(types, fixed)
    assert step == 1, "not every input: narrow the case"
    stages = check(op, types, fixed, tokens)
    # No unit carries it yet: the one that will has its stages of its own, as a matrix unit has.
    assert op.name == "spike_linear" or stages == stages_by_design(op, types)


@pytest.mark.parametrize("instance", WIDE, ids=name_of)
def test_wide_operators_give_their_meaning_at_corners_and_random_values(instance):
    op, types, fixed = instance
    stages = check(op, types, fixed, count=40)
    # A matrix unit takes some columns a cycle, and has its stages of its own.
    assert op.name in {"linear", "spike_linear"} or stages == stages_by_design(op, types)


@pytest.mark.parametrize("simulator", [needs("compiled")])
def test_the_recipes_tables_are_right_on_every_input(simulator):
    """z3 does not end on tables this deep; all 65536 inputs are soon run."""
    found = [(op, types, fixed) for _, op, types, fixed in cases() if op.name == "pwl"]
    assert len(found) == 2
    for op, types, fixed in found:
        built = build(op, types, fixed, COMBINATIONAL)
        with building() as block:
            x, y = taken("x", types[0].dtype.bits), given("y", built.out.dtype.bits)
            drive(x.ready, y.ready)
            drive(y.valid, x.valid)
            value = lanes([of_bits(x.data, types[0])], ())
            tables = [Table(fixed[1]), Table(fixed[2])]
            result = WIRES[op.name](op, [value, *tables], built.out, COMBINATIONAL)
            drive(y.data, to_bits(result.item(), built.out.dtype))
        inputs = np.arange(types[0].lo, types[0].hi + 1)
        words = (inputs & ((1 << types[0].dtype.bits) - 1)).tolist()
        trace = simulate(block, {"x": Feed(words)}, {"y": Drain(len(words))}, simulator)
        want = meaning(built, [inputs, fixed[1], fixed[2]])
        got = [decode(word, built.out.dtype) for word in trace.beats["y"]]
        assert got == want.tolist()


def test_a_table_is_not_read_past_its_ends():
    table = Table(np.arange(5))
    with building():
        with pytest.raises(InternalError, match=r"index 5\.\.5 into a table of 5"):
            table.entry(constant(5))
        assert (table.entry(constant(4)).lo, table.entry(constant(4)).hi) == (4, 4)


def test_tables_and_values_are_told_apart():
    with pytest.raises(InternalError, match="a table stands where"):
        array_of(Table(np.arange(3)))
    with building(), pytest.raises(InternalError, match="values stand where"):
        table_of(lanes([constant(1)], (1,)))


def test_the_check_sees_a_wrong_bit(monkeypatch):
    """Give `add` the wires of a difference."""
    monkeypatch.setitem(
        WIRES, "add", lambda op, inputs, out, pipe: WIRES["clip"](op, inputs[:1], out, pipe)
    )
    types = [TensorType.full(i(4), ()), TensorType.full(i(4), ())]
    with pytest.raises((AssertionError, AttributeError)):
        check(OPS["add"](i(4)), types)

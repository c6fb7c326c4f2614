"""`spike_linear`: the integers of `linear`, from spikes of every coding."""

import numpy as np
import pytest

from cosim.ir.errors import UserError
from cosim.ir.types import TensorType, i, smallest_type, u
from cosim.ir.work import Work
from cosim.ops import Linear, SpikeEncode, SpikeLinear
from cosim.ops.spike_encode import CODINGS, RATE, count_range
from cosim.ops.spike_linear import decode
from tests.ops.check import check
from tests.ops.test_spike_encode import EIGHT_BITS, FORMS


def plain(op):
    """Sum over steps, columns and both groups, in Python."""

    def product(s, w, m, codes=None):
        rows = []
        for r, row in enumerate(w):
            total = 0
            for t, weight in enumerate(op.weights):
                for k, spike in enumerate(s[t]):
                    term = weight * spike * row[k] * m[r][k // op.weight_group]
                    if codes is not None:
                        c = codes[k // op.act_group]
                        top = 1 << op.mantissa_bits
                        term *= (top + c % top) << (c // top)
                    total += term
            rows.append(total)
        return rows

    return product


@pytest.mark.parametrize(("coding", "highest_first"), FORMS)
@pytest.mark.parametrize("act_group", [0, 3])
def test_equals_a_sum_over_steps(coding, highest_first, act_group):
    op = SpikeLinear(coding, 5, highest_first, 2, act_group, 1 if act_group else 0)
    signed = coding in ("rate_signed", "sign_magnitude")
    s = TensorType(i(2), (5, 7), -1, 1) if signed else TensorType.full(u(1), (5, 7))
    types = [s, TensorType.full(i(6), (3, 7)), TensorType.full(u(3), (3, 4))]
    codes = [TensorType(u(4), (3,), 0, 9)] if act_group else []
    check(op, [*types, *codes], plain(op), np.random.default_rng(act_group))


@pytest.mark.parametrize(("coding", "highest_first"), FORMS)
def test_every_count_of_8_bits_gives_the_product_of_linear(coding, highest_first):
    """Sum over t of weight(t) (W s_t) == W c, for each count in each column; W past int8 too.

    1 % of the released model's weight codes lie outside -128..127 (SpikingBrain-7B issue 43).
    """
    steps, lo, hi = EIGHT_BITS[coding]
    counts = np.arange(lo, hi + 1)
    counts = np.stack([np.roll(counts, k) for k in range(0, counts.size, 17)])
    rng = np.random.default_rng(1)
    w = rng.integers(-300, 300, (4, counts.shape[1]), endpoint=True)
    w[0, :2] = 300, -300
    m = rng.integers(0, 255, (4, -(-counts.shape[1] // 100)))
    spikes = SpikeEncode(coding, steps, highest_first).meaning(counts)
    op = SpikeLinear(coding, steps, highest_first, 100)
    assert (op.meaning(spikes, w, m) == Linear(100).meaning(counts, w, m)).all()
    assert (decode(op, spikes) == counts).all()


@pytest.mark.parametrize("coding", CODINGS)
def test_bounds_are_those_of_the_counts(coding):
    order = coding not in RATE
    lo, hi = count_range(coding, 4)
    q = TensorType(smallest_type(lo, hi), (6,), lo, hi)
    rest = [TensorType.full(i(8), (2, 6)), TensorType(u(1), (2, 1), 1, 1)]
    s = SpikeEncode(coding, 4, order).infer([q])
    assert SpikeLinear(coding, 4, order, 6).infer([s, *rest]) == Linear(6).infer([q, *rest])


@pytest.mark.parametrize(
    "spikes",
    [
        TensorType(i(2), (4, 6), -1, 1),
        TensorType.full(i(2), (3, 6)),
        TensorType.full(u(2), (3, 6)),
        TensorType.full(u(1), (6,)),
    ],
    ids=str,
)
def test_other_spikes_are_refused(spikes):
    rest = [TensorType.full(i(8), (2, 6)), TensorType(u(1), (2, 1), 1, 1)]
    with pytest.raises(UserError, match=r"spike_linear: expected spikes \[3,K\] of -1, 0 and 1"):
        SpikeLinear("sign_magnitude", 3, False, 6).infer([spikes, *rest])


def test_the_last_steps_order_matters():
    """Read in the other order, the same spikes mean another product."""
    x = np.array([[1, 2, 3]])
    spikes = SpikeEncode("unsigned", 2, True).meaning(x)
    w, m = np.array([[1, 1, 1]]), np.array([[1]])
    assert SpikeLinear("unsigned", 2, True, 3).meaning(spikes, w, m).tolist() == [[6]]
    assert SpikeLinear("unsigned", 2, False, 3).meaning(spikes, w, m).tolist() == [[6]]
    x = np.array([[1, 1, 3]])
    spikes = SpikeEncode("unsigned", 2, True).meaning(x)
    assert SpikeLinear("unsigned", 2, True, 3).meaning(spikes, w, m).tolist() == [[5]]
    assert SpikeLinear("unsigned", 2, False, 3).meaning(spikes, w, m).tolist() == [[7]]


def test_work_is_counted_by_hand():
    types = [
        TensorType(i(2), (3, 5), -1, 1),
        TensorType.full(i(4), (2, 5)),
        TensorType(u(1), (2, 1), 1, 1),
    ]
    op = SpikeLinear("sign_magnitude", 3, False, 5)
    out = op.infer(types)
    assert op.work(types, out) == Work(
        macs={(4, 2): 30}, adds={out.dtype.bits: 6}, const_bits=42, in_bits=30,
        out_bits=out.size_bits,
    )  # fmt: skip

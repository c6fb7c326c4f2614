"""`wkv`: against plain Python integers, against RWKV-4's own recurrence, and what never clips."""

import math

import numpy as np
import pytest

from cosim.ir.errors import UserError
from cosim.ir.types import TensorType, i
from cosim.ir.work import Work
from cosim.ops import Wkv
from cosim.ops.wkv import power_table
from tests.ops.check import check, half_up

F, Q, V = 16, 20, 18
STATE = i(V + Q + 3)
NOTHING = -(1 << 30)


def weight(d: int, frac_bits: int, one_bits: int) -> int:
    """Return 2^(Q - d / 2^F) by Python integers."""
    starts, falls = power_table(one_bits)
    octave, inside = divmod(d, 2**frac_bits)
    segment, offset = divmod(inside * 64, 2**frac_bits)
    fine = max(frac_bits - 6, 0)
    drop = half_up(falls[segment] * (offset * 2**fine // 2**frac_bits), fine)
    return half_up(starts[segment] - drop, min(octave, one_bits + 2))


def plain(frac_bits, one_bits):
    def step(state, k, v, s):
        rows = []
        for (p, q, o), key, value, by in zip(state, k, v, s, strict=True):
            d = o + by - key
            small, one = weight(abs(d), frac_bits, one_bits), 1 << one_bits
            a, b = (small, one) if d < 0 else (one, small)
            p = half_up(p * a, one_bits) + value * b
            q = half_up(q * a, one_bits) + b
            o = max(o + by, key)
            if q >= 2 * one:
                p, q, o = half_up(p, 1), half_up(q, 1), o + (1 << frac_bits)
            rows.append([p, q, o])
        return rows

    return step


@pytest.mark.parametrize(("frac_bits", "one_bits"), [(0, 1), (3, 7), (6, 12), (16, 20), (9, 30)])
@pytest.mark.parametrize("bits", [6, 14, 24])
def test_adds_weighs_and_halves(frac_bits, one_bits, bits):
    types = [TensorType.full(i(bits), (3, 3)), *(TensorType.full(i(b), (3,)) for b in (10, 9, 7))]
    check(Wkv(frac_bits, one_bits, i(60)), types, plain(frac_bits, one_bits),
          np.random.default_rng(bits))  # fmt: skip


def test_powers_are_exact_at_whole_octaves_and_near_elsewhere():
    for d in range(0, 3 << F, 997):
        exact = 2.0 ** (Q - d / 2**F)
        assert abs(weight(d, F, Q) - exact) <= 0.5 + exact * 2**-15.8 + 0.5
    octaves = [weight(n << F, F, Q) for n in (0, 1, Q, Q + 1, Q + 2, 99)]
    assert octaves == [1 << Q, 1 << (Q - 1), 1, 1, 0, 0]


def run(keys, values, decay, steps_type=STATE):
    """Run over tokens; return the means before the bonus, the states, and whether any clipped."""
    op = Wkv(F, Q, steps_type)
    state = np.array([[0, 0, NOTHING]])
    means, states, clipped = [], [], False
    for k, v in zip(keys, values, strict=True):
        state = op.meaning(state, np.array([k]), np.array([v]), np.array([decay]))
        clipped |= bool((state > steps_type.hi).any() or (state < steps_type.lo).any())
        means.append(state[0, 0] / state[0, 1])
        states.append(state[0].tolist())
    return np.array(means), states, clipped


@pytest.mark.parametrize("decay", [0.0, -0.001, -0.3, -7.0])
@pytest.mark.parametrize("spread", [0.1, 3.0, 20.0])
def test_means_are_those_of_real_powers(decay, spread):
    """The oracle sums every token anew with `math.fsum`, so that nothing is rounded twice."""
    rng = np.random.default_rng(7)
    keys = np.rint(rng.normal(0, spread, 300) * 2**F).astype(np.int64)
    values = rng.integers(-(1 << 17), 1 << 17, 300)
    step = round(decay * 2**F)
    means, states, clipped = run(keys, values, step)
    assert not clipped
    for t in range(0, 300, 13):
        power = [(int(keys[j]) + step * (t - j)) / 2**F for j in range(t + 1)]
        top = max(power)
        weights = [2.0 ** (x - top) for x in power]
        mean = math.fsum(w * int(v) for w, v in zip(weights, values, strict=False))
        assert abs(means[t] - mean / math.fsum(weights)) < 2**17 * 2**-14
        total = math.log2(states[t][1] / 2**Q) + states[t][2] / 2**F
        assert abs(total - (math.log2(math.fsum(weights)) + top)) < 2**-12


def test_weights_stay_normalised_and_nothing_clips_at_the_ends_of_the_range():
    """Full values of one sign, keys that creep up by the least there is: every step rounds."""
    for sign in (1, -1):
        keys = np.arange(5000) * 1
        values = np.full(5000, (1 << (V - 1)) - 1 if sign > 0 else -(1 << (V - 1)))
        _, states, clipped = run(keys, values, 0)
        assert not clipped
        assert all(1 << Q <= q < 2 << Q for _, q, _ in states)
    narrow = i(V + Q)
    assert run(keys, values, 0, narrow)[2], "the bound of the docstring is not that loose"


def test_a_read_is_the_update_without_decay():
    op = Wkv(F, Q, STATE)
    state = np.array([[5 << Q, 1 << Q, 3 << F]])
    read = op.meaning(state, np.array([3 << F]), np.array([7]), np.array([0]))
    assert read.tolist() == [[6 << Q, 1 << Q, 4 << F]]


def test_wrong_shapes_and_bits_are_refused():
    good = [TensorType.full(STATE, (4, 3)), *[TensorType.full(i(8), (4,))] * 3]
    assert Wkv(F, Q, STATE).infer(good).shape == (4, 3)
    with pytest.raises(UserError, match=r"expected state \[C,3\], k, v and s \[C\]"):
        Wkv(F, Q, STATE).infer([TensorType.full(STATE, (4, 2)), *good[1:]])
    with pytest.raises(UserError, match=r"expected state \[C,3\]"):
        Wkv(F, Q, STATE).infer([*good[:3], TensorType.full(i(8), (3,))])
    with pytest.raises(UserError, match="frac_bits -1 and one_bits 20 must be"):
        Wkv(-1, Q, STATE).infer(good)


def test_work_counts_three_products_by_a_weight():
    types = [TensorType.full(i(40), (5, 3)), *[TensorType.full(i(18), (5,))] * 3]
    op = Wkv(16, 20, i(40))
    assert op.work(types, op.infer(types)) == Work(
        muls={(40, 21): 10, (20, 10): 5},
        macs={(21, 18): 5},
        adds={40: 25},
        shifts={40: 20, 21: 5},
        compares={40: 10},
        lookups={41: 5},
        in_bits=3 * 90,
        out_bits=600,
        state_read_bits=600,
        state_write_bits=600,
    )

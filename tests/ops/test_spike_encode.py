"""`spike_encode`: every count of 8 bits in every coding and order; traps of released code."""

import numpy as np
import pytest

from cosim.ir.errors import UserError
from cosim.ir.types import TensorType, i, smallest_type, u
from cosim.ir.work import Work
from cosim.ops import SpikeEncode
from cosim.ops.spike_encode import CODINGS, RATE, SIGNED, count_range, step_weights, steps_for
from tests.ops.check import check

FORMS = [(c, False) for c in CODINGS] + [(c, True) for c in CODINGS if c not in RATE]
# What 8 bits can mean in each coding; a rate needs as many steps as the largest count.
EIGHT_BITS = {
    "rate": (255, 0, 255),
    "rate_signed": (128, -128, 127),
    "unsigned": (8, 0, 255),
    "sign_magnitude": (8, -128, 127),
    "twos_complement": (8, -128, 127),
}


def spikes_of(coding, steps, highest_first, count):
    """Expand one count by Python's own digits."""
    if coding in RATE:
        sign = -1 if count < 0 else 1
        return [sign if t < abs(count) else 0 for t in range(steps)]
    digits = format(abs(count) if coding in SIGNED else count % 2**steps, f"0{steps}b")
    sign = -1 if coding in SIGNED and count < 0 else 1
    high = [sign * int(d) for d in digits]
    return high if highest_first else high[::-1]


@pytest.mark.parametrize(("coding", "highest_first"), FORMS)
def test_every_count_of_8_bits_comes_back(coding, highest_first):
    steps, lo, hi = EIGHT_BITS[coding]
    counts = np.arange(lo, hi + 1)
    spikes = SpikeEncode(coding, steps, highest_first).meaning(counts)
    assert spikes.shape == (steps, counts.size)
    assert set(np.unique(spikes)) == ({-1, 0, 1} if coding in SIGNED else {0, 1})
    weights = np.array(step_weights(coding, steps, highest_first))
    assert (weights @ spikes == counts).all()


@pytest.mark.parametrize(("coding", "highest_first"), FORMS)
@pytest.mark.parametrize(("lo", "hi"), [(0, 5), (-6, 5), (-4, 0), (0, 0)])
def test_equals_the_digits_that_python_prints(coding, highest_first, lo, hi):
    if lo < 0 and coding in ("rate", "unsigned"):
        return
    op = SpikeEncode(coding, 9, highest_first)

    def plain(x):
        columns = [[spikes_of(coding, 9, highest_first, v) for v in row] for row in x]
        return [[list(t) for t in zip(*row, strict=True)] for row in columns]

    dtype = smallest_type(lo, hi)
    check(op, [TensorType(dtype, (2, 3), lo, hi)], plain, np.random.default_rng(7))


@pytest.mark.parametrize("coding", CODINGS)
def test_a_coding_holds_its_whole_range_and_not_one_more(coding):
    for steps in range(1, 10):
        lo, hi = count_range(coding, steps)
        whole = np.arange(lo, hi + 1)
        spikes = SpikeEncode(coding, steps).meaning(whole)
        assert (np.array(step_weights(coding, steps)) @ spikes == whole).all()
        assert steps_for(coding, lo, hi) == steps
        assert steps_for(coding, lo, hi + 1) == steps + 1
        # Every spike pattern is a count of the range: nothing that the planes mean is outside.
        top = sum(abs(w) for w in step_weights(coding, steps))
        assert hi - lo <= 2 * top


@pytest.mark.parametrize(
    ("op", "counts", "said"),
    [
        (SpikeEncode("sign_magnitude", 3), TensorType(i(4), (5,), -8, 7),
         r"3 steps of sign_magnitude hold -7\.\.7, but the counts are -8\.\.7; take 4 steps"),
        (SpikeEncode("rate", 5), TensorType(u(4), (5,), 0, 9), r"hold 0\.\.5.*take 9 steps"),
        (SpikeEncode("unsigned", 8), TensorType.full(i(4), (5,)), "choose a signed coding"),
        (SpikeEncode("twos_complement", 8), TensorType.full(u(8), (5,)), "take 9 steps"),
        (SpikeEncode("gray", 8), TensorType.full(u(8), (5,)), "no coding 'gray'; there are rate,"),
        (SpikeEncode("rate", 0), TensorType.full(u(1), (5,)), r"0 steps of rate: need 1\.\.1024"),
        (SpikeEncode("unsigned", 63), TensorType.full(u(1), (5,)), r"need 1\.\.62"),
        (SpikeEncode("rate", 5, True), TensorType.full(u(1), (5,)), "weigh alike"),
        (SpikeEncode("unsigned", 5), TensorType.full(u(1), ()), "are a scalar"),
    ],
    ids=str,
)  # fmt: skip
def test_what_does_not_hold_the_counts_is_refused(op, counts, said):
    with pytest.raises(UserError, match=f"operator spike_encode: .*{said}"):
        op.infer([counts])


# Traps of BICLab/Int2Spike at 37e014e, each run there: what it gave is in the test.


def test_a_second_tensor_keeps_its_steps():
    """A reused node keeps T from its first call and cuts later ones: -9 came back as -2."""
    op = SpikeEncode("rate_signed", 9)
    for counts in (np.array([2, -1]), np.array([-9, 7])):
        assert op.meaning(counts).sum(axis=0).tolist() == counts.tolist()


@pytest.mark.parametrize("counts", [[0, 0, 0], [0, 4, 7]])
def test_counts_without_a_negative_one_are_encoded(counts):
    """The bidirectional node raises ValueError on any tensor without a negative count."""
    spikes = SpikeEncode("sign_magnitude", 3).meaning(np.array(counts))
    assert (np.array([1, 2, 4]) @ spikes).tolist() == counts
    narrow = SpikeEncode("sign_magnitude", 3).infer([TensorType(u(3), (3,), 0, max(counts))])
    assert narrow.lo == 0


def test_the_highest_bit_of_twos_complement_weighs_negative():
    """Its decoder returned 23 for -9 and left the sign to the caller."""
    spikes = SpikeEncode("twos_complement", 5).meaning(np.array([-9]))
    assert spikes[:, 0].tolist() == [1, 1, 1, 0, 1]
    assert step_weights("twos_complement", 5) == [1, 2, 4, 8, -16]
    assert (np.array(step_weights("twos_complement", 5)) @ spikes).tolist() == [-9]


def test_work_is_counted_by_hand():
    x = TensorType.full(i(8), (3,))
    bits, rate = SpikeEncode("sign_magnitude", 8), SpikeEncode("rate_signed", 128)
    assert bits.work([x], bits.infer([x])) == Work(adds={8: 3}, in_bits=24, out_bits=48)
    assert rate.work([x], rate.infer([x])) == Work(
        adds={8: 3}, compares={8: 384}, in_bits=24, out_bits=768
    )

from itertools import pairwise

import numpy as np
import pytest
import torch

from cosim.ir.errors import InternalError, UserError
from quant.weights import IntWeight, ScaleKind, WeightFormat, integer_scales, quantise_matrix

KINDS: tuple[ScaleKind, ...] = ("pot", "two_term", "integer")
GROUPS = (0, 1, 7, 32, 128, 500)


def matrix(rows=24, k=192, seed=0):
    """Return a matrix with heavy tails and rows of very different sizes."""
    generator = torch.Generator().manual_seed(seed)
    heavy = torch.randn(rows, k, generator=generator) ** 3
    return heavy * torch.logspace(-3, 3, rows)[:, None]


def steps(weight: IntWeight) -> np.ndarray:
    """Return m * 2^-e of each element, written out group by group."""
    out = np.zeros(weight.shape)
    for r in range(weight.shape[0]):
        for c in range(weight.shape[1]):
            m = int(weight.multipliers[r, c // (weight.format.group or weight.shape[1])])
            out[r, c] = m / 2.0 ** int(weight.exponents[r])
    return out


def rms(weight: IntWeight, real: torch.Tensor) -> np.ndarray:
    """Return the root mean square error of each row."""
    return ((weight.real() - real).double() ** 2).mean(dim=1).sqrt().numpy()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("group", GROUPS)
def test_without_search_no_weight_is_off_by_more_than_half_a_step(kind, bits, group):
    w = matrix()
    q = quantise_matrix(w, WeightFormat(bits, group, kind, search_clip=False))
    assert q.codes.min() >= -(2 ** (bits - 1))
    assert q.codes.max() <= 2 ** (bits - 1) - 1
    assert q.multipliers.shape == (24, -(-192 // (group or 192)))
    step = steps(q)
    error = np.abs(q.codes * step - w.double().numpy())
    assert (error <= step * (0.5 + 1e-9)).all()
    np.testing.assert_allclose(q.real().numpy(), q.codes * step, rtol=1e-6)
    np.testing.assert_allclose(q.scales().numpy(), step, rtol=1e-6)


@pytest.mark.parametrize(
    ("kind", "most_set_bits", "most"), [("pot", 1, 128), ("two_term", 2, 192), ("integer", 8, 255)]
)
def test_multipliers_are_of_their_kind_and_use_their_range(kind, most_set_bits, most):
    seen = set()
    for search in (False, True):
        q = quantise_matrix(matrix(rows=60), WeightFormat(4, 16, kind, search))
        seen |= set(q.multipliers.ravel().tolist())
    assert min(seen) >= 1
    assert max(seen) <= most
    assert max(m.bit_count() for m in seen) == most_set_bits or kind == "integer"
    assert len(seen) > {"pot": 5, "two_term": 20, "integer": 60}[kind]


@pytest.mark.parametrize("kind", KINDS)
def test_scales_are_the_least_that_do_not_clip(kind):
    scale = torch.logspace(-4, 4, 500, dtype=torch.float64).numpy()[:, None]
    m, e = integer_scales(scale, kind)
    got = m * 2.0 ** -e[:, None]
    assert (got >= scale * (1 - 1e-11)).all()
    # The next smaller multiplier of the kind would clip, or the scale is exact.
    slack = {"pot": 2.0, "two_term": 1.5, "integer": 1 + 1 / 64}[kind]
    assert (got <= scale * slack * (1 + 1e-9)).all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_scale_that_the_kind_has_is_kept(kind):
    scale = np.array([[0.5, 2.0**-4], [8.0, 4.0]])
    m, e = integer_scales(scale, kind)
    assert (m * 2.0 ** -e[:, None] == scale).all()


def test_a_ragged_last_group_has_its_own_scale():
    w = torch.full((3, 192), 0.1)
    w[:, 128:] = 1.0
    q = quantise_matrix(w, WeightFormat(4, 128, search_clip=False))
    assert q.group_count == 2
    assert q.multipliers.shape == (3, 2)
    assert (q.codes == 7).all()
    assert (np.abs(q.real().numpy() / w.numpy() - 1) < 0.07).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bits", [2, 3, 4, 6, 8])
def test_searching_the_clip_is_never_worse(kind, bits):
    w = matrix()
    for group in (0, 128, 8):
        plain = rms(quantise_matrix(w, WeightFormat(bits, group, kind, False)), w)
        searched = rms(quantise_matrix(w, WeightFormat(bits, group, kind, True)), w)
        assert (searched <= plain * (1 + 1e-6)).all()
        if bits <= 4:
            assert searched.sum() < 0.98 * plain.sum()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("search", [False, True])
def test_the_error_falls_with_finer_groups_and_with_wider_codes(kind, search):
    w = matrix(rows=64)

    def mean_error(bits, group):
        q = quantise_matrix(w, WeightFormat(bits, group, kind, search))
        return (rms(q, w) / w.std(dim=1).numpy()).mean()

    assert all(b < a for a, b in pairwise(mean_error(4, group) for group in (0, 64, 16, 4)))
    assert all(b < 0.75 * a for a, b in pairwise(mean_error(bits, 32) for bits in (2, 3, 4, 6, 8)))


def test_eight_bits_with_integer_multipliers_come_near_the_ideal_scale():
    w = matrix()
    q = quantise_matrix(w, WeightFormat(8))
    ideal = w.abs().amax(dim=1).numpy() / 127
    assert (rms(q, w) < 1.02 * ideal / 12**0.5).all()  # uniform rounding noise, 1 LSB wide


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("search", [False, True])
def test_extreme_rows_stay_finite_and_spoil_no_other_row(kind, search):
    w = matrix(rows=6)
    ordinary = quantise_matrix(w, WeightFormat(4, 64, kind, search))
    w[0] = 0.0
    w[1], w[1, 5] = 1e-3, 1e6
    w[2] = 1e-30
    w[3, :64] *= 1e6 / w[3].abs().max()
    q = quantise_matrix(w, WeightFormat(4, 64, kind, search))
    assert torch.isfinite(q.real()).all()
    assert (q.multipliers >= 1).all()
    assert (q.codes[0] == 0).all()
    assert q.real()[1, 5] == pytest.approx(1e6, rel=0.6)
    assert q.real()[2].abs().max() < 1e-12
    for row in (4, 5):
        assert (q.codes[row] == ordinary.codes[row]).all()
    step = steps(q)
    if not search:
        assert (np.abs(q.codes * step - w.double().numpy()) <= step * 0.500001).all()


def test_groups_that_differ_by_a_million_share_what_eight_bits_of_multiplier_span():
    w = torch.ones(1, 64)
    w[0, 32:] = 1e-6
    q = quantise_matrix(w, WeightFormat(8, 32, "integer", search_clip=False))
    assert q.real()[0, :32].numpy() == pytest.approx(np.ones(32), rel=0.005)
    assert q.multipliers[0, 0] > 127
    assert q.multipliers[0, 1] <= 2


def test_codes_beyond_the_format_never_appear_even_where_the_minimum_is_larger():
    w = torch.tensor([[-1.0, 0.9, 0.5, 0.0]])
    q = quantise_matrix(w, WeightFormat(2, search_clip=False))
    assert set(q.codes.ravel().tolist()) <= {-2, -1, 0, 1}
    assert q.real()[0, 0] == pytest.approx(-1.0, rel=0.01)


def test_the_types_are_the_codes_width_and_what_holds_the_multipliers():
    q = quantise_matrix(matrix(), WeightFormat(4, 32, "pot"))
    assert str(q.code_type) == "i4"
    assert q.multiplier_type.hi >= q.multipliers.max()
    bare = IntWeight(WeightFormat(4, 128), (10, 192))
    assert (str(bare.code_type), str(bare.multiplier_type)) == ("i4", "u8")
    assert bare.group_count == 2
    with pytest.raises(InternalError, match="without codes"):
        bare.real()
    with pytest.raises(InternalError, match="no scales"):
        bare.scales()


@pytest.mark.parametrize(("bits", "group"), [(1, 0), (9, 0), (4, -1)])
def test_formats_that_no_unit_multiplies_are_one_sentence(bits, group):
    with pytest.raises(UserError, match="choose 2 to 8 bits and a group of 0"):
        WeightFormat(bits, group)

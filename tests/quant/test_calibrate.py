import numpy as np
import pytest
import torch

from cosim.ir.errors import InternalError
from quant.calibrate import NOMINAL, NominalRanges, collect_inputs, measure_ranges
from quant.family import linears, sequence
from tests.quant.random_models import random_model, random_tokens

FAMILIES = ("mamba", "mamba2", "bimamba")


def recorded(model, tokens) -> dict[str, list[torch.Tensor]]:
    """Return every value of every tap, as the model shows them."""
    found: dict[str, list[torch.Tensor]] = {}

    def tap(name, value):
        found.setdefault(name, []).append(value.clone())

    with torch.no_grad():
        sequence(model, tokens, tap)
    return found


@pytest.mark.parametrize("family", FAMILIES)
def test_ranges_are_the_largest_magnitudes_of_all_tokens(family):
    model = random_model(family)
    tokens = random_tokens(model, 3, 20)
    ranges = measure_ranges(model, tokens)
    everything = recorded(model, tokens)
    assert set(ranges.absmax) == set(everything)
    for name, values in everything.items():
        joined = np.concatenate([v.numpy().reshape(-1, *v.shape[1:]) for v in values])
        if not name.endswith(".state"):
            joined = joined.reshape(-1, joined.shape[-1])
        expected = np.abs(joined).max(axis=0)
        assert np.array_equal(ranges.absmax[name], expected.astype(np.float64)), name
        assert np.array_equal(ranges.of(name, expected.shape), ranges.absmax[name])


@pytest.mark.parametrize("family", FAMILIES)
def test_one_sequence_more_never_narrows_a_range(family):
    model = random_model(family)
    tokens = random_tokens(model, 3, 20)
    few, all_ = measure_ranges(model, tokens[:1]), measure_ranges(model, tokens)
    for name, top in few.absmax.items():
        assert (all_.absmax[name] >= top - 1e-6).all()
    assert any((all_.absmax[n] > few.absmax[n] * 1.01).any() for n in few.absmax)


def test_the_state_is_measured_after_every_token_and_in_both_directions():
    model = random_model("bimamba")
    tokens = random_tokens(model, 1, 12)
    states = recorded(model, tokens)["layers.0.state"]
    assert len(states) == 24
    forward = torch.stack(states[:12]).abs().amax(dim=(0, 1)).numpy()
    both = measure_ranges(model, tokens).of("layers.0.state", forward.shape)
    assert (both >= forward).all()
    assert (both > forward).any()


def test_a_range_may_be_read_in_another_shape():
    model = random_model("mamba2")
    ranges = measure_ranges(model, random_tokens(model, 1, 10))
    flat = ranges.of("layers.0.state", (4 * 12 * 8,))
    assert np.array_equal(ranges.of("layers.0.state", (1, 4, 12, 8)).ravel(), flat)


def test_an_unseen_value_is_our_own_mistake():
    model = random_model("mamba2")
    ranges = measure_ranges(model, random_tokens(model, 1, 4))
    with pytest.raises(InternalError, match=r"'layers\.9\.x' was never seen in calibration"):
        ranges.of("layers.9.x", (48,))


def test_nominal_ranges_answer_everything():
    assert NominalRanges().of("anything", (2, 3)).tolist() == [[NOMINAL] * 3] * 2


@pytest.mark.parametrize("family", FAMILIES)
def test_collected_inputs_are_what_each_matrix_multiplies(family):
    model = random_model(family)
    tokens = random_tokens(model, 2, 9)
    everything = recorded(model, tokens)
    for _, tap in linears(model):
        (rows,) = collect_inputs(model, tokens, {tap}).values()
        (value,) = everything[tap]
        assert rows.shape == (18, value.shape[-1])
        assert torch.allclose(rows, value.reshape(18, -1), atol=1e-5)
    together = collect_inputs(model, tokens, {tap for _, tap in linears(model)})
    assert len(together) == len(linears(model))


def test_collecting_stops_the_run_after_the_last_wanted_value(monkeypatch):
    model = random_model("mamba2")
    seen = []
    original = sequence

    def watched(model, tokens, tap):
        def both(name, value):
            seen.append(name)
            return tap(name, value)

        both.states = False
        return original(model, tokens, both)

    monkeypatch.setattr("quant.calibrate.sequence", watched)
    collect_inputs(model, random_tokens(model, 1, 5), {"layers.0.norm"})
    assert seen[-1] == "layers.0.norm"
    assert not any(name.startswith("layers.1") for name in seen)


def test_collected_rows_are_copies(monkeypatch):
    """A model may reuse the memory of what it has shown."""

    def reusing(model, tokens, tap):
        value = torch.ones(1, 2, 3)
        tap("first", value)
        value.zero_()
        tap("second", value)

    monkeypatch.setattr("quant.calibrate.sequence", reusing)
    rows = collect_inputs(None, None, {"first", "second"})
    assert rows["first"].tolist() == [[1.0] * 3] * 2
    assert rows["second"].tolist() == [[0.0] * 3] * 2

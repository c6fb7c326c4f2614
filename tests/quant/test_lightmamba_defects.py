"""The two defects of LightMamba's released state formats, in numbers, and that each can be mended.

The figures for decays and layers of Mamba2-2.7B come from the notes on the released weights; the
deadband's from a simulation of their own. Here both come out of the recipe's own operators.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch

from cosim.ir.types import i
from cosim.ops import DecayUpdate, Dequantize, GroupShift, Quantize, ShiftDecay
from cosim.torch_exec import TorchExecutor
from quant.lower.lightmamba_scaled import quantise_constant
from quant.lower.lightmamba_tables import released
from quant.passes.quantise_weights import QuantiseWeights
from quant.quantise import quantise
from quant.recipes import RECIPES
from tests.quant.random_models import random_model, random_tokens

GROUP, STATE_FRAC, FINE_BITS = 8, 19, 15


def integer_decay(dt: np.ndarray, rate: np.ndarray) -> np.ndarray:
    """Return the decay of each head, in 64ths, of real time steps and rates, as the graph does."""
    shift = GroupShift(GROUP, 8, 15).meaning(np.rint(dt * 1024).astype(np.int64))
    q = Quantize(GROUP, i(8)).meaning(np.rint(dt * 1024).astype(np.int64), shift).clip(-128, 127)
    step = q << np.repeat(shift, GROUP, axis=-1)[..., : dt.shape[-1]]
    codes, shifts = quantise_constant(-rate, 10, 16)
    log_decay = (step * (codes << shifts)) >> 10
    exp = released("exp")
    wide = exp.op.meaning(log_decay, exp.codes, exp.shifts)
    s = GroupShift(GROUP, 8, 15).meaning(wide)
    out = Quantize(GROUP, i(8)).meaning(wide, s).clip(-128, 127)
    return out << np.repeat(s, GROUP, axis=-1)[..., : dt.shape[-1]]


@pytest.mark.parametrize(
    ("decay", "kept"),
    [(0.9995, 64), (0.999, 64), (0.9961, 64), (0.993, 64), (0.991, 63), (0.98, 63), (0.97, 62)],
)
def test_a_slow_decay_becomes_one(decay, kept):
    """exp(-1/128) = 0.9922 and slower never forget; the next decay there is, is 63/64."""
    dt = np.full((1, 8), 0.25)
    rate = np.full(8, -np.log(decay) / 0.25)
    assert integer_decay(dt, rate).tolist() == [[kept] * 8]


def test_a_small_time_step_beside_a_large_one_is_none_at_all():
    """Eight heads share a power of two: a step of 0.001 beside 1.0 is 0, its decay 1."""
    dt = np.array([[1.0, *[0.001] * 7]])
    shift = GroupShift(GROUP, 8, 15).meaning(np.rint(dt * 1024).astype(np.int64))
    codes = Quantize(GROUP, i(8)).meaning(np.rint(dt * 1024).astype(np.int64), shift)
    assert codes[0, 1:].tolist() == [0] * 7
    assert integer_decay(dt, np.full(8, 16.0))[0, 1:].tolist() == [64] * 7


def test_some_heads_never_forget_in_a_spread_of_steps():
    """80 heads with dt of 0.001 to 0.1 and A of 1 to 16, Mamba-2's own range at the start."""
    rng = np.random.default_rng(5)
    dt = np.exp(rng.uniform(np.log(0.001), np.log(0.1), (1, 80)))
    rate = rng.uniform(1, 16, 80)
    real = np.exp(-dt[0] * rate)
    got = integer_decay(dt, rate)[0]
    frozen = got == 64
    assert (real < 1).all()
    assert 5 <= frozen.sum() <= 20
    assert (frozen >= (real > 0.9961)).all()


def decayed(decay: float, steps: int, bits: int, fine: bool, seed: int, noise: float = 0.0):
    """Return (real, integer) states of 60 groups of 8 after so many steps without, or with, input.

    `fine`: 1 - decay with 15 fraction bits and rounding, else the decay in 64ths, truncated.
    """
    rng = np.random.default_rng(seed)
    real = rng.uniform(-1, 1, (60, GROUP))
    rule, code = GroupShift(GROUP, bits, 15), i(bits)
    h = np.rint(real * 2.0**STATE_FRAC).astype(np.int64)
    s = rule.meaning(h)
    q = Quantize(GROUP, code).meaning(h, s).clip(code.lo, code.hi)
    real = (q << np.repeat(s, GROUP, axis=-1)) / 2.0**STATE_FRAC
    one, none = np.ones((1, 1), dtype=np.int64), np.zeros((1, 1), dtype=np.int64)
    k = np.array([[round((1 - decay) * 2**FINE_BITS)]])
    a = np.array([[round(decay * 64)]])
    for _ in range(steps):
        new = rng.normal(size=real.shape) * noise
        u = np.rint(new * 2.0**STATE_FRAC).astype(np.int64)
        real = real * decay + new
        if fine:
            wide = Dequantize(GROUP).meaning(q, s)
            h = DecayUpdate(FINE_BITS, i(32)).meaning(wide, k, u, one, np.array([[FINE_BITS]]))
        else:
            h = ShiftDecay(GROUP, 6, i(32)).meaning(q, s, a, none, u)
        s = rule.meaning(h)
        q = Quantize(GROUP, code).meaning(h, s).clip(code.lo, code.hi)
    return real, (q << np.repeat(s, GROUP, axis=-1)) / 2.0**STATE_FRAC


def relative_error(pair) -> float:
    real, got = pair
    return float(np.sqrt(((got - real) ** 2).sum() / (real**2).sum()))


@pytest.mark.parametrize(
    ("decay", "steps", "bits", "stated"),
    [
        # One time constant, exact decay, no input: the notes' table, by groups of random values.
        (0.98, 50, 8, 0.123), (0.995, 200, 8, 1.56), (0.999, 1000, 8, 1.72),
        (0.9995, 2000, 8, 1.72), (0.98, 50, 16, 0.001), (0.995, 200, 16, 0.001),
        (0.999, 1000, 16, 0.007), (0.9995, 2000, 16, 0.026),
    ],
)  # fmt: skip
def test_a_quiet_state_of_eight_bits_stops_moving(decay, steps, bits, stated):
    """e^1 - 1 = 1.72 is the error of a state that never moved in one time constant."""
    found = relative_error(decayed(decay, steps, bits, fine=True, seed=1))
    assert found == pytest.approx(stated, rel=0.15, abs=0.0006)


def test_an_input_shakes_the_state_loose():
    quiet = relative_error(decayed(0.9995, 2000, 8, fine=True, seed=2))
    lively = relative_error(decayed(0.9995, 2000, 8, fine=True, seed=2, noise=0.02))
    assert quiet > 1.7
    assert lively == pytest.approx(0.179, rel=0.3)


def test_a_maximum_above_the_deadband_never_moves_at_all():
    """(1 - decay) |q| < 1/2 for all codes where the decay is above 1 - 1/256 = 0.9961."""
    for decay, moves in ((0.9965, False), (0.9955, True)):
        h = np.array([[127 << 12, *[0] * 7]])
        s = GroupShift(GROUP, 8, 15).meaning(h)
        q = Quantize(GROUP, i(8)).meaning(h, s)
        wide = Dequantize(GROUP).meaning(q, s)
        k = np.array([[round((1 - decay) * 2**20)]])
        lift = one = np.array([[1]])
        after = DecayUpdate(20, i(32)).meaning(wide, k, one * 0, one, lift)
        again = Quantize(GROUP, i(8)).meaning(after, GroupShift(GROUP, 8, 15).meaning(after))
        assert (int(again[0, 0]) != 127) == moves


def test_the_stored_state_ends_at_eight():
    """127 * 2^15 / 2^19 = 7.94, whatever the width of the i32 that is stored."""
    h = np.array([[int(v * 2**STATE_FRAC) for v in (0, 1, 7.9, 8.5, 100, -100, 4000, -4000)]])
    s = GroupShift(GROUP, 8, 15).meaning(h)
    q = Quantize(GROUP, i(8)).meaning(h, s).clip(-128, 127)
    stored = (q << np.repeat(s, GROUP, axis=-1)) / 2.0**STATE_FRAC
    assert stored.max() == pytest.approx(7.94, abs=0.005)
    assert stored.min() == -8
    wide = GroupShift(GROUP, 16, 15).meaning(h)
    assert (Quantize(GROUP, i(16)).meaning(h, wide) << 15).max() / 2**STATE_FRAC >= 2047


def test_both_defects_at_once_keep_a_state_for_ever():
    """In the released formats a head with a decay of 0.995 holds its state unchanged."""
    real, got = decayed(0.995, 2000, 8, fine=False, seed=3)
    first, _ = decayed(0.995, 0, 8, fine=False, seed=3)
    assert np.array_equal(got, first)
    assert np.abs(real).max() < 1e-3


def test_the_lint_counts_the_decays_that_are_one_in_a_whole_model():
    """A_log as low as -8 makes heads so slow that they never forget; the lint says how many."""
    model = random_model("mamba2", 2, num_heads=3, head_dim=16, state_size=16)
    slow = dict(model.weights)
    for layer in (0, 1):
        slow[f"backbone.layers.{layer}.mixer.A_log"] = torch.tensor([-8.0, 1.0, -8.0])
    model = replace(model, weights=slow)
    tokens = random_tokens(model, 2, 40)
    passes = (replace(p, rounding="nearest") if isinstance(p, QuantiseWeights) else p
              for p in RECIPES["lightmamba"].passes)  # fmt: skip
    done = quantise("x", model, replace(RECIPES["lightmamba"], passes=tuple(passes)), tokens)
    told = [x for x in done.lints if x.kind == "decay resolution"]
    run = TorchExecutor(done.model).run({"token": tokens[:1].numpy()}, keep=None)
    assert [x.where for x in told] == [f"step/layers.{k}.ssm.update" for k in (0, 1)]
    for layer, lint in enumerate(told):
        codes = run.values[f"step/layers.{layer}.dA.q"] << run.values[f"step/layers.{layer}.dA.s"]
        ones = codes >= 64
        assert ones[..., [0, 2]].all()
        assert lint.value == ones.mean()
        assert lint.warns
        heads = int(ones.any(axis=(0, 1)).sum())
        assert f"{ones.sum()} of 120 decays" in lint.sentence
        assert f"in {heads} of 3 heads; the next one is 63/64" in lint.sentence
    fine = quantise("x", model, replace(
        RECIPES["lightmamba-decay"],
        passes=tuple(replace(p, rounding="nearest") if isinstance(p, QuantiseWeights) else p
                     for p in RECIPES["lightmamba-decay"].passes),
    ), tokens)  # fmt: skip
    assert not any("exactly 1, in" in x.sentence for x in fine.lints)

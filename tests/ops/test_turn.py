"""`turn`: cosine and sine of a 32-bit phase."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cosim.ir.errors import UserError
from cosim.ir.types import TensorType, i, u
from cosim.ir.work import Work
from cosim.ops import Turn
from quant.tables import QUARTER_WAVE, WAVE_BITS, rope_steps, rope_table
from tests.ops.check import check

BASE, RISE = QUARTER_WAVE


def types_of(position, steps, base=BASE, rise=RISE):
    whole = [TensorType(u(32), (steps,), 0, 2**32 - 1)]
    tables = [TensorType(u(17), t.shape, int(t.min()), int(t.max())) for t in (base, rise)]
    return [TensorType(u(32), (), 0, position), *whole, *tables]


def plain(op):
    """Return the glossary in Python integers, angle by angle."""

    def sine(phase, base, rise):
        phase %= 2**32
        quadrant, inside = divmod(phase, 2**30)
        if quadrant % 2:
            inside = 2**30 - inside
        k, rest = divmod(inside, 2**22)
        y = base[k] + rise[k] * (rest // 2**8) // 2**14
        y = (2 * y + 2 ** (op.wave_bits - op.frac_bits)) // 2 ** (op.wave_bits - op.frac_bits + 1)
        return -y if quadrant > 1 else y

    def whole(position, steps, base, rise):
        cos = [sine(position * s + 2**30, base, rise) for s in steps]
        return cos + [sine(position * s, base, rise) for s in steps]

    return whole


@settings(max_examples=30)
@given(st.integers(0, 2**32), st.integers(1, 5), st.integers(0, 16), st.integers(0, 5))
def test_equals_the_glossary_in_python_integers(seed, steps, wave_bits, less):
    rng = np.random.default_rng(seed)
    op = Turn(wave_bits, max(wave_bits - less, 0))
    base = np.sort(rng.integers(0, 1 << 12, 257))
    rise = rng.integers(0, 99, 257)
    check(op, types_of(int(rng.integers(0, 1 << 24)), steps, base, rise), plain(op), rng)


def test_an_accumulator_holds_the_product():
    """Adding the step modulo 2^32 at each position is the same phase, however far."""
    steps = rope_steps(32, 10000.0)
    held = np.zeros_like(steps)
    op = Turn(WAVE_BITS, 14)
    for position in range(3000):
        again = op.meaning(np.array(1), held, BASE, RISE)
        assert (again == op.meaning(np.array(position), steps, BASE, RISE)).all()
        held = (held + steps) % 2**32


@pytest.mark.parametrize("positions", [[0], [1], [4095], [1_000_003]])
def test_it_is_near_float64_at_any_position(positions):
    """7.7e-4 was published for a 32-bit phase and 256 linear segments up to 1,000,003."""
    steps = rope_steps(128, 10000.0)
    for position in positions:
        got = Turn(WAVE_BITS, 14).meaning(np.array(position), steps, BASE, RISE) / 2.0**14
        angle = position * 10000.0 ** (-np.arange(64) / 64)
        want = np.concatenate([np.cos(angle), np.sin(angle)])
        assert np.abs(got - want).max() < 7.7e-4
        if position < 5000:
            assert np.abs(got - want).max() < 2**-14


def test_every_quadrant_and_both_ends_of_the_wave():
    op = Turn(WAVE_BITS, 14)
    quarter = np.array([1 << 30])
    turns = [op.meaning(np.array(n), quarter, BASE, RISE).tolist() for n in range(5)]
    one = 1 << 14
    assert turns == [[one, 0], [0, one], [-one, 0], [0, -one], [one, 0]]
    phase = np.linspace(0, 2**32 - 1, 9999).astype(np.int64)
    got = op.meaning(np.array(1), phase, BASE, RISE) / 2.0**14
    angle = phase / 2.0**32 * 2 * np.pi
    assert np.abs(got - np.concatenate([np.cos(angle), np.sin(angle)])).max() < 2**-14


def test_the_table_and_the_phase_agree():
    table = rope_table(2048, 32, 10000.0)
    steps = rope_steps(32, 10000.0)
    got = Turn(WAVE_BITS, 14).meaning(np.arange(2048), steps, BASE, RISE)
    assert np.abs(got - table).max() <= 1
    assert (got == table).mean() > 0.9


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({0: TensorType.full(i(8), ())}, "none below 0"),
        ({0: TensorType.full(u(8), (1,))}, r"expected a position \[\]"),
        ({1: TensorType.full(u(33), (2,))}, "steps must be below a turn"),
        ({2: TensorType.full(u(8), (256,))}, r"base and rise \[257\]"),
        ({3: TensorType.full(i(8), (257,))}, "rises from 0"),
    ],
)
def test_other_operands_are_refused(change, said):
    types = types_of(99, 2)
    for place, t in change.items():
        types[place] = t
    with pytest.raises(UserError, match=f"operator turn: .*{said}"):
        Turn(WAVE_BITS, 14).infer(types)


def test_more_fraction_bits_than_the_wave_has_are_refused():
    with pytest.raises(UserError, match="operator turn: frac_bits 17"):
        Turn(16, 17).infer(types_of(99, 2))


def test_work_is_counted_by_hand():
    types = types_of(99, 3)
    op = Turn(WAVE_BITS, 14)
    want = Work(
        lookups={34: 6}, muls={(32, 32): 3, (17, 14): 6}, adds={32: 12, 17: 12}, shifts={17: 6},
        const_bits=96 + 2 * 257 * 17, in_bits=32, out_bits=6 * 16,
    )  # fmt: skip
    assert op.work(types, op.infer(types)) == want

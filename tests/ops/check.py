"""Hold an operator against a plain function of Python integers, on every carrier and axis.

`check` is what each operator's test calls. It draws data inside the types (random, corners, all
at one end), evaluates the meaning on numpy and torch with no, one and two leading axes, and
demands: the plain function's integers, the inferred shape, values inside the inferred bounds, and
every intermediate inside `peak`.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch

from cosim.ir.op import Op
from cosim.ir.types import IntType, TensorType

LEADS = ((), (3,), (2, 3))
INT32_PEAK = 1 << 31


class Watched(np.ndarray):
    """Compute like numpy while noting the largest magnitude that any result reached."""

    largest = 0

    @staticmethod
    def note(value) -> None:
        """Remember the magnitude of an integer result; flags do not count."""
        value = np.asarray(value)
        if value.size and value.dtype.kind in "iu":
            peak = max(int(value.max()), -int(value.min()))
            Watched.largest = max(Watched.largest, peak)
        assert value.dtype.kind in "iub", f"{value.dtype} inside an integer operator"

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        """Evaluate on plain arrays; of sums, note the sum of magnitudes: any order stays below."""
        plain = [np.asarray(x) for x in inputs]
        kwargs.pop("out", None)
        result = getattr(ufunc, method)(*plain, **kwargs)
        self.note(result)
        if ufunc is np.matmul:
            self.note(np.abs(plain[0]) @ np.abs(plain[1]))
        if ufunc is np.add and method == "reduce":
            self.note(np.add.reduce(np.abs(plain[0]), **kwargs))
        return np.asarray(result).view(Watched)

    def __array_function__(self, func, types, args, kwargs):
        """Keep watching what functions such as `where` return; they only move values."""
        result = super().__array_function__(func, types, args, kwargs)
        return result.view(Watched) if isinstance(result, np.ndarray) else result


def draw_type(
    rng: np.random.Generator,
    shape: tuple[int, ...],
    most_bits: int = 14,
    signed: bool | None = None,
    least_bits: int = 1,
) -> TensorType:
    """Draw a declared type and bounds inside it; half the time the whole range."""
    sign = bool(rng.integers(2)) if signed is None else signed
    dtype = IntType(int(rng.integers(least_bits, most_bits + 1)), sign)
    if rng.integers(2):
        return TensorType.full(dtype, shape)
    lo, hi = sorted(rng.integers(dtype.lo, dtype.hi, 2, endpoint=True).tolist())
    return TensorType(dtype, shape, lo, hi)


def draw_data(
    rng: np.random.Generator, t: TensorType, lead: tuple[int, ...] = (), kind: str = "random"
) -> np.ndarray:
    """Draw int64 data [*lead, *shape] inside the bounds of a type."""
    shape = (*lead, *t.shape)
    if kind == "random":
        return np.asarray(rng.integers(t.lo, t.hi, shape, endpoint=True))
    if kind == "corners":
        return np.where(rng.integers(2, size=shape) == 1, t.hi, t.lo)
    return np.full(shape, t.hi if kind == "high" else t.lo)


def check(
    op: Op,
    types: Sequence[TensorType],
    plain: Callable,
    rng: np.random.Generator,
    constants: Sequence[int] = (),
    leads: Sequence[tuple[int, ...]] = LEADS,
) -> None:
    """Compare `op` with `plain`, which maps the nested lists of one token to nested lists.

    Inputs at the positions `constants`, and those that the operator declares so, have no leading
    axes.
    """
    fixed = {*op.constants, *constants}
    for lead in leads:
        for kind in ("random", "corners", "high", "low"):
            arrays = [
                draw_data(rng, t, () if k in fixed else lead, kind) for k, t in enumerate(types)
            ]
            compare(op, types, arrays, expected(plain, arrays, fixed, lead), lead)


def expected(plain: Callable, arrays, fixed: set[int], lead: tuple[int, ...]) -> np.ndarray:
    """Apply the plain function token by token; Python integers in an object array."""
    tokens = [
        plain(*(a.tolist() if k in fixed else a[where].tolist() for k, a in enumerate(arrays)))
        for where in np.ndindex(lead)
    ]
    whole = np.array(tokens, dtype=object)
    return whole.reshape((*lead, *whole.shape[1:]))


def compare(
    op: Op, types: Sequence[TensorType], arrays, want: np.ndarray, lead: tuple[int, ...] = ()
) -> None:
    """Demand the wanted integers, shape, bounds and peak of an operator on given arrays."""
    raw, peak = op.infer(types), op.peak(types)
    assert peak < 1 << 63, "the test itself must stay legal"
    want = want.astype(np.int64)
    Watched.largest = 0
    got = np.asarray(op.meaning(*(a.view(Watched) for a in arrays)))
    assert got.tolist() == want.tolist()
    assert got.shape == (*lead, *raw.shape)
    assert raw.lo <= want.min(), f"{want.min()} is below the inferred {raw}"
    assert want.max() <= raw.hi, f"{want.max()} is above the inferred {raw}"
    assert Watched.largest <= peak, f"an intermediate reached {Watched.largest}, peak is {peak}"
    dtypes = [torch.int64, torch.int32] if peak < INT32_PEAK else [torch.int64]
    for dtype in dtypes:
        carried = op.meaning(*(torch.from_numpy(np.array(a)).to(dtype) for a in arrays))
        assert carried.shape == got.shape
        assert carried.tolist() == want.tolist(), f"torch {dtype} differs from numpy"
    if peak < INT32_PEAK:
        narrow = op.meaning(*(a.astype(np.int32) for a in arrays))
        assert np.asarray(narrow).tolist() == want.tolist()


def half_up(x: int, s: int) -> int:
    """Round x / 2^s half up; multiply by 2^-s where s is negative. Python floor division."""
    return (2 * x + 2**s) // 2 ** (s + 1) if s >= 0 else x * 2**-s

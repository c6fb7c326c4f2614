"""Measure the range of every named value of a float model on calibration tokens."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from cosim.ir.errors import InternalError, UserError
from quant.family import FloatModel, sequence

NOMINAL = 4.0


@dataclass(frozen=True)
class Ranges:
    """Map tap names to the largest magnitude per element of the last axis (state: per element)."""

    absmax: Mapping[str, np.ndarray]

    def of(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        """Return the magnitudes of a value, of its shape."""
        if name not in self.absmax:
            raise InternalError(f"value {name!r} was never seen in calibration")
        return self.absmax[name].reshape(shape)


# Values of trained models lie within 1e-6 and 1e6 by orders of magnitude (typeseg's outliers, the
# largest here, reach some 1e3).
LEAST_USUAL, MOST_USUAL = 1e-6, 1e6


def explain(ranges: Ranges, sentence: str) -> str:
    """Say which values are the likely reason that a graph could not be made, if any are odd."""
    tops = {name: float(np.max(top, initial=0.0)) for name, top in ranges.absmax.items()}
    odd = [n for n, top in tops.items() if not LEAST_USUAL <= top <= MOST_USUAL]
    if not odd:
        return sentence
    first = odd[0]
    reach = f"reaches {tops[first]:.3g}" if tops[first] > 0 else "is 0 everywhere"
    more = f" (and {len(odd) - 1} more values are as odd)" if len(odd) > 1 else ""
    return (
        f"{first} {reach} on the calibration text{more}, where values of trained models reach "
        f"{LEAST_USUAL:g} to {MOST_USUAL:g}: no integers fit ({sentence}); look at the weights "
        "before it, or export the model again"
    )


class NominalRanges(Ranges):
    """Answer every question with one nominal magnitude: for graphs without weights."""

    def __init__(self) -> None:
        """Know nothing."""
        super().__init__({})

    def of(self, name: str, shape: tuple[int, ...]) -> np.ndarray:  # noqa: ARG002
        """Return the nominal magnitude."""
        return np.full(shape, NOMINAL)


def measure_ranges(model: FloatModel, tokens: Tensor) -> Ranges:
    """Run the model over tokens [B, T] and keep the largest magnitudes."""
    seen: dict[str, Tensor] = {}

    def tap(name: str, value: Tensor) -> None:
        axes = (0,) if name.endswith(".state") else tuple(range(value.dim() - 1))
        top = value.abs().amax(dim=axes)
        seen[name] = torch.maximum(seen[name], top) if name in seen else top

    with torch.no_grad():
        sequence(model, tokens, tap)
    bad = [name for name, top in seen.items() if not bool(torch.isfinite(top).all())]
    if bad:
        raise UserError(
            f"the float model gives {bad[0]} that is NaN or infinite on the calibration text; its "
            "weights are far out of range: training may have diverged, or the files are damaged; "
            "export the model again"
        )
    return Ranges({n: t.double().numpy() for n, t in seen.items()})


class _Seen(Exception):
    """Stop a run whose wanted values have all been seen."""


class _Collector:
    """Keep the named values and stop the run after the last of them."""

    states = False

    def __init__(self, names: set[str]) -> None:
        self.names, self.rows = names, dict[str, Tensor]()

    def __call__(self, name: str, value: Tensor) -> None:
        if name in self.names:
            self.rows[name] = value.reshape(-1, value.shape[-1]).clone()
            if len(self.rows) == len(self.names):
                raise _Seen


def collect_inputs(model: FloatModel, tokens: Tensor, names: set[str]) -> dict[str, Tensor]:
    """Return the rows [n, K] that the named taps saw."""
    collector = _Collector(names)
    with torch.no_grad(), contextlib.suppress(_Seen):
        sequence(model, tokens, collector)
    return collector.rows

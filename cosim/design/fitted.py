"""Estimate LUT and FF of a unit by coefficients that were fitted to synthesis.

`fitted.yaml` beside this file holds them, with where they come from and how far they were off;
`python -m tests.benchmarks.resource_fit` writes it. They are for what yosys makes of the wires:
other tools take other numbers. What the sample did not have is estimated all the same, and marked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from math import ceil

import yaml

from cosim.design.features import Size

# For an operator that no sample had: the costliest that one has, rounded up.
UNKNOWN_LUTS, UNKNOWN_FFS = 3.0, 3.0  # assumed
Amounts = Mapping[str, float]


@dataclass(frozen=True)
class Error:
    """Say how far estimates are off: the mean and the worst of relative errors, without sign."""

    samples: int
    mean: float
    worst: float


@dataclass(frozen=True)
class Sampled:
    """Hold what the sample had of a kind of unit.

    `facts` are its ranges, `errors` those of `luts` and `ffs`, for units that were `fitted`, that
    were `held_out`, and of another family (`xc7`).
    """

    facts: Mapping[str, tuple[int, int]]
    errors: Mapping[str, Mapping[str, Error]]


@dataclass(frozen=True)
class Fits:
    """Hold LUT and FF for one of each amount, what the sample had, and where they come from."""

    tool: str
    family: str
    date: str
    command: str
    luts: Amounts
    ffs: Amounts
    kinds: Mapping[str, Sampled]


@dataclass(frozen=True)
class Mark:
    """Say what of a unit lies outside the sample: a fact beyond its range, or an unknown operator.

    `least` and `most` are the sample's; both are 0 where it had none.
    """

    unit: str
    fact: str
    value: int
    least: int
    most: int

    def text(self) -> str:
        """Say it in a few words.

        >>> Mark("state", "lanes", 512, 2, 32).text()
        'lanes 512, sampled 2 to 32'
        """
        if not self.most:
            return f"{self.fact} not sampled, cost assumed"
        return f"{self.fact} {self.value:,}, sampled {self.least:,} to {self.most:,}"


@dataclass(frozen=True)
class Estimate:
    """Hold what a unit takes of logic, and what of that lies outside the sample."""

    luts: int
    ffs: int
    marks: tuple[Mark, ...]


@cache
def fits() -> Fits:
    """Return what was fitted."""
    return read_fits((resources.files("cosim") / "design" / "fitted.yaml").read_text("utf-8"))


def read_fits(text: str) -> Fits:
    """Read the fits from the text of the file."""
    found = yaml.safe_load(text)
    kinds = {
        kind: Sampled(
            {n: (r[0], r[1]) for n, r in own["facts"].items()},
            {
                what: {part: Error(*e) for part, e in parts.items()}
                for what, parts in own["errors"].items()
            },
        )
        for kind, own in found["kinds"].items()
    }
    return Fits(
        found["tool"], found["family"], found["date"], found["command"], found["luts"],
        found["ffs"], kinds,
    )  # fmt: skip


def unit_of(kind: str) -> str:
    """Return the name of the amount that each unit of a kind has one of."""
    return f"unit {kind}"


def estimate(unit: str, kind: str, size: Size) -> Estimate:
    """Estimate a unit of a kind; each fact beyond the sample gives a mark."""
    known, own = fits(), unit_of(kind)
    luts, ffs = known.luts.get(own, 0.0), known.ffs.get(own, 0.0)
    marks = list(_beyond(unit, known.kinds.get(kind, Sampled({}, {})), size))
    for name, amount in size.amounts.items():
        if name not in known.luts:
            marks.append(Mark(unit, name.replace("_", " "), 0, 0, 0))
        luts += amount * known.luts.get(name, UNKNOWN_LUTS)
        ffs += amount * known.ffs.get(name, UNKNOWN_FFS)
    return Estimate(ceil(luts), ceil(ffs), tuple(marks))


def _beyond(unit: str, sampled: Sampled, size: Size) -> Iterator[Mark]:
    for fact, (least, most) in size.facts.items():
        low, high = sampled.facts.get(fact, (0, 0))
        if most > high:
            yield Mark(unit, fact.replace("_", " "), most, low, high)
        elif least < low:
            yield Mark(unit, fact.replace("_", " "), least, low, high)

"""Hold one published figure beside what follows from its description and what our model says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from cosim.ir.errors import InternalError

Measure = Literal["relative", "points"]
Verdict = Literal["within", "missed", "fitted", "compared", "not modelled"]


@dataclass(frozen=True)
class Aim:
    """Say how near the model should come: a share of the given figure, or percentage points."""

    measure: Measure
    most: float

    def text(self) -> str:
        """Print as a person would.

        >>> Aim("relative", 0.05).text(), Aim("points", 3).text()
        ('5 %', '3 points')
        """
        return (
            f"{self.most:.0%}".replace("%", " %")
            if self.measure == "relative"
            else (f"{self.most:g} points")
        )


WITHIN_5, WITHIN_10, WITHIN_3_POINTS = (
    Aim("relative", 0.05), Aim("relative", 0.10), Aim("points", 3),
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """Hold a figure.

    `given` is what was published (`source` says where), `derived` follows from the description by
    counting (`rule` says how), `modelled` is what our simulator or resource count says. Shares are
    in percent. `rests_on` says which widths and factors the modelled figure was computed with, and
    which of them are assumed; `fitted` that one of them was chosen to meet this very figure;
    `unknown` what the publication does not say.
    """

    design: str
    figure: str
    unit: str
    source: str
    given: float | None
    derived: float | None = None
    rule: str = ""
    modelled: float | None = None
    aim: Aim | None = None
    fitted: bool = False
    rests_on: str = ""
    unknown: str = ""

    def __post_init__(self) -> None:
        """Refuse figures without a source or a rule."""
        if not self.source or (self.derived is not None and not self.rule):
            raise InternalError(f"row {self.design}, {self.figure}: no source, or no rule")
        if self.modelled is not None and not self.rests_on:
            raise InternalError(f"row {self.design}, {self.figure}: what does it rest on?")

    @property
    def error(self) -> float | None:
        """Return the model's error in percent of what was given, or in points of a share."""
        if self.given is None or self.modelled is None:
            return None
        apart = self.modelled - self.given
        in_points = self.unit == "%"
        return apart if in_points else 100 * apart / self.given

    @property
    def verdict(self) -> Verdict:
        """Say whether the aim was met; a fitted figure meets nothing."""
        if self.error is None:
            return "not modelled"
        if self.fitted:
            return "fitted"
        if self.aim is None:
            return "compared"
        most = self.aim.most if self.aim.measure == "points" else 100 * self.aim.most
        return "within" if abs(self.error) <= most else "missed"

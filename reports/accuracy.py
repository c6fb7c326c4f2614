"""Set the float model beside its integer graphs: bits per byte or agreement, and the excess."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reports.chart import Bar, Bars, Part
from reports.table import Column, Table

FLOAT = "float"


@dataclass(frozen=True)
class Accuracy:
    """Score one form of a model (`float` or a recipe) on one text of so many tokens.

    A language model has `bits_per_token`, the mean bits of the next token (`are_bytes`: tokens are
    bytes); a labeller has none. `agreement` is the share of tokens whose arg-max is that of the
    float model, `kl_bits` the mean divergence from its distribution. None was not measured.
    """

    form: str
    tokens: int
    bits_per_token: float | None = None
    agreement: float | None = None
    kl_bits: float | None = None
    seconds: float = 0.0
    are_bytes: bool = True


def excess(accuracy: Accuracy, of_float: Accuracy) -> float | None:
    """Return how much worse than float, as a share; None where it cannot be told.

    Bits per token: relative excess. Agreement: share of tokens that disagree.
    """
    if accuracy.bits_per_token is not None and of_float.bits_per_token:
        return accuracy.bits_per_token / of_float.bits_per_token - 1
    if accuracy.agreement is not None:
        return 1 - accuracy.agreement
    return None


def _float_of(scores: Sequence[Accuracy]) -> Accuracy | None:
    return next((a for a in scores if a.form == FLOAT), None)


def table(scores: Sequence[Accuracy]) -> Table:
    """Print float first, then the recipes as given, each with its excess over float."""
    of_float = _float_of(scores)
    per = "byte" if all(a.are_bytes for a in scores) else "token"
    columns = [
        Column("form", "form"),
        Column(f"bits_per_{per}", f"bits per {per}", "measured", ".4f"),
        Column("excess", "excess over float", "measured", "+.2%"),
        Column("agreement", "same arg-max as float", "measured", ".3%"),
        Column("kl_bits", "KL from float, bits", "measured", ".5f"),
        Column("tokens", "tokens", "given"),
        Column("seconds", "run time, s", "measured", ".1f"),
    ]
    rows = [
        [
            a.form,
            a.bits_per_token,
            excess(a, of_float) if of_float and a is not of_float else None,
            a.agreement,
            a.kl_bits,
            a.tokens,
            a.seconds,
        ]
        for a in scores
    ]
    if not any(a.bits_per_token is not None for a in scores):  # a labeller predicts no next token
        del columns[1]
        columns[1] = Column("excess", "tokens that disagree", "measured", ".3%")
        for row in rows:
            del row[1]
    cells = tuple(tuple(row) for row in rows)
    return Table("accuracy", "Accuracy on held-out text", tuple(columns), cells)


def bars(scores: Sequence[Accuracy]) -> Bars:
    """Draw the excess over float; a recipe that is better than float has an empty bar."""
    of_float = _float_of(scores)
    shares = [
        (a.form, excess(a, of_float)) for a in scores if of_float is not None and a is not of_float
    ]
    is_text = of_float is not None and of_float.bits_per_token is not None
    title = "Excess bits over float" if is_text else "Tokens that disagree with float"
    form = "+.2%" if is_text else ".2%"
    return Bars(
        "accuracy",
        title,
        "measured",
        tuple(
            Bar(name, (Part("excess", max(share, 0.0), format(share, form)),), format(share, form))
            for name, share in shares
            if share is not None
        ),
        note="Shorter is better; zero is the float model.",
    )

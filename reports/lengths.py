"""Show what a token costs after many others, and what a prompt costs by its length."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cosim.design.workload import Phase
from reports.scatter import Axis, Dot, Scatter
from reports.table import Column, Table, si

HEADROOM = 1.15
NAMES: dict[Phase, tuple[str, str]] = {
    "decode": ("A generated token, by the tokens before it", "tokens seen before"),
    "prefill": ("A token of a prompt, by the prompt's length", "tokens of the prompt"),
}


@dataclass(frozen=True)
class LengthRow:
    """Hold one point: `tokens` seen before a generated token, or tokens of a prompt.

    `cycles_per_token` and `energy_pj_per_token` are of one token; `seconds` are those of the token,
    or of the whole prompt.
    """

    recipe: str
    phase: Phase
    tokens: int
    cycles_per_token: float
    seconds: float
    energy_pj_per_token: float
    binds: str


def table(rows: Sequence[LengthRow]) -> Table:
    """Print a row per recipe, phase and length."""
    columns = (
        Column("recipe", "recipe"),
        Column("phase", "phase"),
        Column("tokens", "tokens before, or of the prompt", "given"),
        Column("cycles_per_token", "cycles per token", "modelled", ",.1f"),
        Column("milliseconds", "token or prompt, ms", "modelled", "4"),
        Column("energy_uj_per_token", "energy per token, µJ", "modelled", "5"),
        Column("binds", "what binds the design"),
    )
    cells = tuple(
        (r.recipe, r.phase, r.tokens, r.cycles_per_token, r.seconds * 1e3,
         r.energy_pj_per_token / 1e6, r.binds)
        for r in rows
    )  # fmt: skip
    return Table("lengths", "Cost by length", columns, cells, " ".join(sentences(rows)))


def sentences(rows: Sequence[LengthRow]) -> tuple[str, ...]:
    """Say of each phase whether a token costs the same at every length; equal means `==`."""
    found = []
    for phase, what in (("decode", "A generated token"), ("prefill", "A token of a prompt")):
        own = [r for r in rows if r.phase == phase]
        level, rising = [], []
        for recipe in dict.fromkeys(r.recipe for r in own):
            mine = [r for r in own if r.recipe == recipe]
            first, last = mine[0], mine[-1]
            same = {(r.cycles_per_token, r.energy_pj_per_token) for r in mine}
            if len(same) == 1:
                level.append(recipe)
            else:
                rising.append(
                    f"{recipe} {_apart(first.cycles_per_token, last.cycles_per_token)} cycles and "
                    f"{_apart(first.energy_pj_per_token, last.energy_pj_per_token)} energy"
                )
        if level:
            found.append(
                f"{what} costs the same after any number of tokens ({', '.join(level)}): the line "
                "is flat, for a recurrent state does not grow."
            )
        if rising:
            ends = f"from length {own[0].tokens:,} to {own[-1].tokens:,}"
            found.append(f"{what} changes {ends}: {'; '.join(rising)}.")
    return tuple(found)


def _apart(first: float, last: float) -> str:
    return f"{last / first - 1:+.1%}".replace("%", " %")


def charts(rows: Sequence[LengthRow]) -> tuple[Scatter, ...]:
    """Return a picture for each phase that has rows: cycles per token from 0, lengths by powers."""
    return tuple(
        _chart([r for r in rows if r.phase == phase], phase)
        for phase in NAMES
        if any(r.phase == phase for r in rows)
    )


def _chart(rows: Sequence[LengthRow], phase: Phase) -> Scatter:
    title, along = NAMES[phase]
    lengths = [r.tokens for r in rows]
    x = Axis(along, None, min(lengths) / 1.5, max(lengths) * 1.5, True)
    y = Axis("cycles per token", "less", 0.0, HEADROOM * max(r.cycles_per_token for r in rows),
             False)  # fmt: skip
    dots = tuple(
        Dot(
            r.recipe, float(r.tokens), r.cycles_per_token, True,
            f"{r.recipe}, {r.tokens:,} {along}: {r.cycles_per_token:,.1f} cycles per token, "
            f"{si(r.energy_pj_per_token * 1e-12, 'J')} per token",
        )
        for r in rows
    )  # fmt: skip
    note = " ".join(sentences(rows))
    if phase == "prefill":
        note += " Each length has the design that is chosen for it: tokens share fetched weights."
    return Scatter(f"lengths-{phase}", title, "modelled", x, y, dots, (), note, joined=True)

"""List what a study may vary of a design, and check the values that it lists."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

from cosim.design.choices import Fifos, Order, Sharing
from cosim.design.plan import MOST_LANES, PLACES, Place

Value = int | str | bool
MOST_VALUES = 4096
RANGE_KEYS = ("from", "to", "step", "times")


@dataclass(frozen=True)
class Knob:
    """Describe one knob: words it takes, or else whole numbers from 1."""

    name: str
    about: str
    words: tuple[Value, ...] = ()


# The names on the right are those of `cosim.design.Lanes` and `cosim.design.Choices`.
LANE_FIELDS = {
    "rows": "rows",
    "columns": "columns",
    "state_lanes": "state",
    "chain_lanes": "chain",
    "prefetch_beats": "prefetch",
}
LANE_KNOBS = (
    Knob("rows", "rows of the matrix unit"),
    Knob("columns", "columns of the matrix unit"),
    Knob("state_lanes", "elements a cycle of the state unit"),
    Knob("chain_lanes", "elements a cycle of every chain"),
    Knob("prefetch_beats", "beats of weights that are fetched ahead"),
)
CHOICE_KNOBS = (
    Knob("order", "order of rows in a projection", get_args(Order)),
    Knob("fused", "operators that step alike share a pipeline", (True, False)),
    Knob("fifos", "which FIFOs hold a whole value", get_args(Fifos)),
    Knob("shallow_beats", "beats of the other FIFOs"),
    Knob("matrix", "one matrix unit, or one per projection", get_args(Sharing)),
    Knob("tile", "tokens or sequences that share a fetch of weights"),
    Knob("tiles", "tiles of a prompt that a unit does before its next task"),
    Knob("window", "longest run of a model that is not causal, tokens"),
)
PLACE_KNOBS = tuple(Knob(name, f"where the {name} live", get_args(Place)) for name in PLACES)
KNOBS: dict[str, Knob] = {k.name: k for k in (*LANE_KNOBS, *CHOICE_KNOBS, *PLACE_KNOBS)}


def knob_values(name: str, given: object) -> tuple[Value, ...]:
    """Return the values that a study lists for a knob: one, a list, or a range.

    `{from: 4, to: 64, step: 4}` counts, `{from: 4, to: 64, times: 2}` multiplies; both ends are
    in. Raise ValueError with a sentence where the knob cannot take them.

    >>> knob_values("rows", {"from": 4, "to": 40, "times": 2})
    (4, 8, 16, 32)
    >>> knob_values("weights", "chip")
    ('chip',)
    """
    if name not in KNOBS:
        raise ValueError(f"no knob is called {name!r}; there are {', '.join(KNOBS)}")
    values = _range(given) if isinstance(given, dict) else given
    values = list(values) if isinstance(values, list | tuple) else [values]
    if not values:
        raise ValueError("it has no values, so that the study has no points; list some")
    if len(values) > MOST_VALUES:
        raise ValueError(f"{len(values):,} values; {MOST_VALUES:,} are the most")
    checked = [_checked(KNOBS[name], v) for v in values]
    for i, value in enumerate(checked):
        if value in checked[:i]:
            raise ValueError(f"{value!r} stands twice; remove one")
    return tuple(checked)


def _checked(knob: Knob, value: object) -> Value:
    if knob.words:
        for word in knob.words:
            if type(value) is type(word) and value == word:
                return word
        known = ", ".join(str(w) for w in knob.words)
        raise ValueError(f"{value!r} is unknown; choose of {known}")
    if type(value) is not int or not 1 <= value <= MOST_LANES:
        raise ValueError(f"{value!r} must be a whole number from 1 to {MOST_LANES}")
    return value


def _range(given: dict[object, object]) -> list[int]:
    unknown = [k for k in given if k not in RANGE_KEYS]
    if unknown:
        raise ValueError(
            f"key {unknown[0]!r} is unknown in a range; it takes from, to, step, times"
        )
    start, stop = given.get("from"), given.get("to")
    step, times = given.get("step"), given.get("times")
    if step is not None and times is not None:
        raise ValueError("a range has step or times, not both; remove one")
    if step is None and times is None:
        step = 1
    for key, value, least in (("from", start, 1), ("to", stop, 1), ("step", step, 1),
                              ("times", times, 2)):  # fmt: skip
        missing_is_fine = key in {"step", "times"} and value is None
        if not missing_is_fine and (type(value) is not int or not least <= value <= MOST_LANES):
            raise ValueError(
                f"a range needs a whole number from {least} to {MOST_LANES} as {key!r}, got "
                f"{value!r}"
            )
    assert isinstance(start, int)
    assert isinstance(stop, int)
    if isinstance(step, int):
        return list(range(start, stop + 1, step))
    assert isinstance(times, int)
    found, value = [], start
    while value <= stop:
        found.append(value)
        value *= times
    return found

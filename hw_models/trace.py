"""Write the timeline of a simulation as Chrome trace events, for Perfetto and chrome://tracing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hw_models.dataflow import Timing

# A block that is done once a token is shown for so many tokens; layers are shown for one.
SHOWN_TOKENS = 4


@dataclass(frozen=True)
class Stretch:
    """Hold one task of one turn on one unit, from its first firing to the end of its last."""

    segment: str
    unit: str
    task: str
    turn: int
    start_cycle: int
    end_cycle: int


def stretches(timing: Timing, segment: str, offset: int, layered: bool) -> list[Stretch]:
    """Return the timeline of the first token, or of the first tokens of a block without layers."""
    return [
        Stretch(segment, s.actor, s.task, s.loop, s.start_cycle + offset, s.end_cycle + offset)
        for s in timing.spans(0)
        if layered or s.loop < SHOWN_TOKENS
    ]


def events(timeline: Sequence[Stretch], clock_hz: float) -> list[dict[str, object]]:
    """Return complete events, times in microseconds, with a named track per unit."""
    tracks = {unit: i + 1 for i, unit in enumerate(dict.fromkeys(s.unit for s in timeline))}
    found: list[dict[str, object]] = [
        {"ph": "M", "pid": 1, "tid": tid, "name": "thread_name", "args": {"name": unit}}
        for unit, tid in tracks.items()
    ]
    found += [
        {
            "ph": "X",
            "pid": 1,
            "tid": tracks[s.unit],
            "name": s.task.replace("*", str(s.turn)),
            "cat": s.segment,
            "ts": s.start_cycle * 1e6 / clock_hz,
            "dur": (s.end_cycle - s.start_cycle) * 1e6 / clock_hz,
            "args": {"turn": s.turn, "start_cycle": s.start_cycle, "end_cycle": s.end_cycle},
        }
        for s in timeline
    ]
    return found

"""Draw signals over cycles, as they were in a simulation: flags as lines, words as boxes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib as mpl
from matplotlib.figure import Figure

from cosim.ir.errors import InternalError
from reports.figures import COLOURS, STYLE

FLAG_HEIGHT, ROW_INCHES, PLOT_INCHES = 0.7, 0.42, 9.0
FONT_POINTS = 6.5
CHARACTER_INCHES = 0.6 * FONT_POINTS / 72


@dataclass(frozen=True)
class Wave:
    """Hold one signal: its name, its bits, and its value in each cycle.

    A word is drawn only in cycles in which the signal `valid` is up: else its bits mean nothing.
    """

    name: str
    bits: int
    values: tuple[int, ...]
    valid: str = ""

    def element(self, place: int, bits: int) -> Wave:
        """Return an element of a beat, the lowest is 0, as a signed number.

        >>> Wave("x_data", 8, (0x2F, 0x80)).element(0, 4)
        Wave(name='x_data, element 0', bits=4, values=(-1, 0), valid='')
        """
        top, mask = 1 << bits - 1, (1 << bits) - 1
        own = tuple(((v >> place * bits & mask) ^ top) - top for v in self.values)
        return Wave(f"{self.name}, element {place}", bits, own, self.valid)


def stream_waves(
    signals: Mapping[str, Sequence[int]], stream: str, bits: int
) -> tuple[Wave, Wave, Wave]:
    """Return the three signals of a stream: data of so many bits, valid and ready."""
    names = [f"{stream}_{kind}" for kind in ("data", "valid", "ready")]
    data, valid, ready = (tuple(signals[name]) for name in names)
    return (
        Wave(names[0], bits, data, names[1]), Wave(names[1], 1, valid), Wave(names[2], 1, ready),
    )  # fmt: skip


def waves_figure(title: str, waves: Sequence[Wave], first: int, end: int) -> Figure:
    """Draw cycles `first` to `end` of some signals; words carry their value if there is room."""
    if not 0 <= first < end or any(len(w.values) < end for w in waves):
        raise InternalError(f"waves {title!r}: no cycles {first} to {end} in all of them")
    flags = {w.name: w for w in waves if w.bits == 1}
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(12.5, 0.9 + ROW_INCHES * len(waves)), layout="constrained")
        axes = figure.subplots()
        for row, wave in enumerate(waves):
            low = len(waves) - 1 - row
            colour = COLOURS[row % len(COLOURS)]
            if wave.bits == 1:
                xs = [x for c in range(first, end) for x in (c, c + 1)]
                ys = [low + FLAG_HEIGHT * v for v in wave.values[first:end] for _ in range(2)]
                axes.plot(xs, ys, color=colour, lw=1.4)
                continue
            valid = flags.get(wave.valid)
            for cycle in range(first, end):
                if valid is not None and not valid.values[cycle]:
                    continue
                axes.fill_between(
                    [cycle + 0.06, cycle + 0.94], low, low + FLAG_HEIGHT, color=colour, alpha=0.25,
                    lw=0,
                )  # fmt: skip
                digits = f"{wave.values[cycle]}"
                if len(digits) * CHARACTER_INCHES < 0.9 * PLOT_INCHES / (end - first):
                    axes.text(
                        cycle + 0.5, low + FLAG_HEIGHT / 2, digits, ha="center", va="center",
                        fontsize=FONT_POINTS, family="monospace",
                    )  # fmt: skip
        names = [f"{w.name} [{w.bits}]" if w.bits > 1 else w.name for w in reversed(waves)]
        axes.set_yticks([k + FLAG_HEIGHT / 2 for k in range(len(waves))], names)
        axes.set_xlim(first, end)
        axes.set_ylim(-0.3, len(waves))
        axes.set_xlabel("cycle after reset")
        axes.set_title(f"{title} (measured)", loc="left")
        axes.grid(axis="x", alpha=0.3)
    return figure

"""List what was published of accelerators that a machine file describes: one source for all tables.

The papers' own texts were not at hand: their figures come from readings that agree, and from
LightMamba's README. What was published without a machine file of ours is in `streams`.
"""

from __future__ import annotations

from dataclasses import dataclass

LIGHTMAMBA = "results table of arXiv 2502.15260, by two readings"
FASTMAMBA = "results table of arXiv 2505.18975, by a reading"
MODEL = "mamba2-2.7b"  # all of these are about it, one sequence being decoded
LAYERS, INNER, HIDDEN, HEADS, STATES = 64, 5120, 2560, 80, 128
IN_ROWS = 2 * INNER + 2 * STATES + HEADS
# Products of the linear layers of a token, without the head.
PRODUCTS = LAYERS * (IN_ROWS * HIDDEN + HIDDEN * INNER)
BITS = tuple[int, int]


@dataclass(frozen=True)
class Published:
    """Hold the figures of one design: `bits` of weights and inputs of linear layers.

    `figures` are (name, unit, given); a resource's name is that of `Design.resources` in capitals.
    """

    design: str
    machine: str
    bits: BITS
    source: str
    figures: tuple[tuple[str, str, float], ...]

    def given(self, name: str) -> float:
        """Return a figure by name.

        >>> PUBLISHED[0].given("speed"), PUBLISHED[0].given("URAM")
        (7.21, 61)
        """
        return next(value for figure, _, value in self.figures if figure == name)

    @property
    def precision(self) -> str:
        """Print the bits as papers do.

        >>> PUBLISHED[0].precision
        'W4A4'
        """
        return precision(self.bits)


def precision(bits: BITS) -> str:
    """Print the bits of weights and inputs of linear layers as papers do."""
    return f"W{bits[0]}A{bits[1]}"


def _figures(
    speed: float, energy: float | None, counts: tuple[int, ...], names: str
) -> tuple[tuple[str, str, float], ...]:
    found: list[tuple[str, str, float]] = [("speed", "tokens/s", speed)]
    if energy is not None:
        found.append(("energy", "tokens/J", energy))
    units = {"LUT": "cells", "FF": "cells"}
    found += [
        (name, units.get(name, "blocks"), count)
        for name, count in zip(names.split(), counts, strict=True)
    ]
    return tuple(found)


ALL = "LUT FF DSP BRAM URAM"
PUBLISHED: tuple[Published, ...] = (
    Published(
        "LightMamba VCK190", "lightmamba-vck190", (4, 4), LIGHTMAMBA,
        _figures(7.21, 2.25, (107_000, 130_000, 228, 912, 61), ALL),
    ),
    Published(
        "LightMamba VCK190", "lightmamba-vck190", (8, 8), LIGHTMAMBA,
        _figures(3.61, 1.45, (111_000, 134_000, 228, 914, 61), ALL),
    ),
    Published(
        "LightMamba U280, simulated by its authors", "lightmamba-u280", (4, 4), LIGHTMAMBA,
        _figures(93, None, (297_000, 394_000, 1164, 912, 61), ALL),
    ),
    Published(
        "FastMamba VC709", "fastmamba-vc709", (8, 8), FASTMAMBA,
        _figures(5.68, 0.61, (334_784, 354_464, 3333, 956), "LUT FF DSP BRAM"),
    ),
)  # fmt: skip


def published(machine: str, bits: BITS) -> Published:
    """Return what was published of a machine at some bits; raise StopIteration where nothing was.

    >>> published("lightmamba-u280", (4, 4)).given("speed")
    93
    """
    return next(p for p in PUBLISHED if (p.machine, p.bits) == (machine, bits))

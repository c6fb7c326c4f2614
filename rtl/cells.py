"""Count what a synthesised netlist takes of an FPGA, and how long its paths are.

A netlist is what yosys writes as JSON: modules of cells, each of a primitive's type.

Glossary:
    level    a cell on the longest way between two registers; a register is none
    delay    the levels weighed by DELAYS: only good to compare two modules with each other
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

FAMILIES: Mapping[str, str] = {"xcup": "UltraScale+", "xc7": "7 series", "ecp5": "ECP5"}
# LUTs that a memory or shift register of LUTs takes (AMD UG574, table 2-1 and following; Lattice
# FPGA-TN-02204: 16 words of 4 bits in two slices, and a third one's two LUTs to write).
LUTS_OF: Mapping[str, int] = {
    "RAM16X1D": 1, "RAM32X1S": 1, "RAM32X1D": 2, "RAM64X1S": 1, "RAM64X1D": 2, "RAM128X1S": 2,
    "RAM128X1D": 4, "RAM256X1S": 4, "RAM256X1D": 8, "RAM512X1S": 8, "RAM32M": 4, "RAM64M": 4,
    "RAM32M16": 8, "RAM64M8": 8, "SRL16E": 1, "SRLC16E": 1, "SRLC32E": 1, "TRELLIS_DPR16X4": 6,
}  # fmt: skip
# AMD's carry cells stand behind LUTs that are counted; Lattice's are two LUTs of a slice.
CARRY_LUTS: Mapping[str, int] = {"CCU2C": 2}
FFS = ("FDRE", "FDSE", "FDCE", "FDPE", "TRELLIS_FF")
DSPS = ("DSP48E1", "DSP48E2", "MULT18X18D")
# Blocks by how many times 18 Kib they hold.
HALF_BRAMS: Mapping[str, int] = {
    "RAMB18E1": 1, "RAMB18E2": 1, "RAMB36E1": 2, "RAMB36E2": 2, "DP16KD": 1
}  # fmt: skip
URAMS = ("URAM288", "URAM288_BASE")
# Relative delays, wires included: assumed, from the ratios in AMD DS922's tables (a LUT with its
# wire 1; a carry cell's four bits a tenth of it; an unregistered DSP product four).
DELAYS: Mapping[str, float] = {
    "CARRY4": 0.1,
    "CARRY8": 0.1,
    "CCU2C": 0.1,
    "MUXF7": 0.2,
    "MUXF8": 0.2,
    "MUXF9": 0.2,
    "PFUMX": 0.2,
    "L6MUX21": 0.2,
}
LUT_DELAY, DSP_DELAY = 1.0, 4.0
# A path starts and ends at these: registers and memories that are read with a clock.
STOPS = (*FFS, *HALF_BRAMS, *URAMS)
# Memories and shift registers of LUTs are written with a clock, and read without: a path goes
# through them from an address, and ends at their other inputs.
ADDRESSES = ("A", "DPRA", "RAD")


@dataclass(frozen=True)
class Synthesis:
    """Hold what a module takes, by resource, and its longest path; `tool` says who counted."""

    module: str
    family: str
    luts: int
    ffs: int
    dsps: int
    half_brams: int
    urams: int
    levels: int
    delay: float
    tool: str

    @property
    def brams(self) -> float:
        """Return the BRAMs of 36 Kib; one of 18 Kib is a half."""
        return self.half_brams / 2


def modules_of(netlist: Mapping[str, Any]) -> list[str]:
    """Return the modules that are no primitives of the family."""
    boxes = ("blackbox", "whitebox")
    modules = netlist["modules"].items()
    return [name for name, m in modules if not any(box in m["attributes"] for box in boxes)]


def counted(netlist: Mapping[str, Any], name: str, family: str) -> Synthesis:
    """Count the cells of one module of a netlist; what stands in modules inside is not counted."""
    cells = netlist["modules"][name]["cells"]
    count = Counter(cell["type"] for cell in cells.values())
    luts = sum(n for t, n in count.items() if t.startswith("LUT"))
    luts += sum({**LUTS_OF, **CARRY_LUTS}.get(t, 0) * n for t, n in count.items())
    own = modules_of(netlist)
    levels, delay = longest({k: c for k, c in cells.items() if c["type"] not in own})
    return Synthesis(
        name, family, luts,
        sum(count[t] for t in FFS), sum(count[t] for t in DSPS),
        sum(n * count[t] for t, n in HALF_BRAMS.items()), sum(count[t] for t in URAMS),
        levels, round(delay, 1), netlist["creator"].split(" (")[0],
    )  # fmt: skip


def _delay(cell: Mapping[str, Any]) -> float:
    kind = cell["type"]
    if kind == "INV":  # merged into the LUT behind it
        return 0.0
    if kind in DSPS:
        return DSP_DELAY
    return DELAYS.get(kind, LUT_DELAY)


def longest(cells: Mapping[str, Mapping[str, Any]]) -> tuple[int, float]:
    """Return levels and delay of the slowest way between two registers, or to or from a port."""
    driver: dict[int, str] = {}
    for name, cell in cells.items():
        for bit in _bits(cell, "output"):
            driver[bit] = name
    arrival: dict[str, tuple[float, int]] = {}
    for root in cells:
        stack = [root]
        while stack:
            name = stack[-1]
            if name in arrival:
                stack.pop()
                continue
            before = _before(cells, driver, name)
            missing = [b for b in before if b not in arrival]
            if missing:
                stack.extend(missing)
                continue
            latest = max((arrival[b] for b in before), default=(0.0, 0))
            own = _delay(cells[name])
            arrival[name] = latest[0] + own, latest[1] + (own > 0)
            stack.pop()
    # A register's own entry is the way that ends at it.
    ends = [
        max((arrival[b] for b in _sources(cells, driver, name)), default=(0.0, 0))
        for name, cell in cells.items() if cell["type"] in STOPS or cell["type"] in LUTS_OF
    ] + [arrival[name] for name, cell in cells.items() if cell["type"] not in STOPS]  # fmt: skip
    delay, levels = max(ends, default=(0.0, 0))
    return levels, delay


def _before(
    cells: Mapping[str, Mapping[str, Any]], driver: Mapping[int, str], name: str
) -> list[str]:
    """Return the cells whose outputs a cell waits for; a register waits for none."""
    kind = cells[name]["type"]
    if kind in STOPS:
        return []
    return _sources(cells, driver, name, ADDRESSES if kind in LUTS_OF else ("",))


def _sources(
    cells: Mapping[str, Mapping[str, Any]],
    driver: Mapping[int, str],
    name: str,
    ports: tuple[str, ...] = ("",),
) -> list[str]:
    """Return the cells that drive inputs whose names begin so; none that has a clock."""
    found = {driver[bit] for bit in _bits(cells[name], "input", ports) if bit in driver}
    return sorted(s for s in found if cells[s]["type"] not in STOPS)


def _bits(cell: Mapping[str, Any], way: str, ports: tuple[str, ...] = ("",)) -> Iterator[int]:
    for port, direction in cell["port_directions"].items():
        if direction == way and port.startswith(ports):
            for bit in cell["connections"][port]:
                if isinstance(bit, int):  # else a constant
                    yield bit

"""Hold the energy constants, each with unit, node, voltage, source and class.

Logic and on-chip memory: M. Horowitz, "Computing's energy problem", ISSCC 2014, 45 nm, 0.9 V, as
tabulated in PMC8934428, table 3; and, at 7 nm, Jouppi et al., ISCA 2021. Off-chip memory is priced
per bit at its interface, apart from the node of the logic. What follows from another constant by a
rule is a `Scaling`, and reports list it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Class = Literal["measured", "derived", "assumed"]
Domain = Literal["logic", "memory"]

HOROWITZ = "Horowitz, ISSCC 2014 (PMC8934428, table 3)"
JOUPPI = "Jouppi et al., ISCA 2021 (TPUv4i), its 7 nm column; values from memory"
SATA = "SATA_Sim's 16-bit register, 0.063 pJ a cycle at 32 nm, in proportion to the node"
REGISTER_PJ, REGISTER_NM = 0.063 / 16, 32


@dataclass(frozen=True)
class Constant:
    """Hold one energy; `node_nm` and `voltage_v` are 0 where the domain is off-chip memory.

    A `voltage_v` of 0 in the logic domain: its source does not say.
    """

    name: str
    value: float
    unit: str
    node_nm: int
    voltage_v: float
    source: str
    kind: Class
    domain: Domain = "logic"


@dataclass(frozen=True)
class Scaling:
    """Say by which rule energies without a constant of their own follow from one that has."""

    name: str
    rule: str
    source: str
    kind: Class = "derived"


def _horowitz(name: str, value: float, unit: str = "pJ") -> Constant:
    return Constant(name, value, unit, 45, 0.9, HOROWITZ, "derived")


def _jouppi(name: str, value: float, unit: str = "pJ") -> Constant:
    return Constant(name, value, unit, 7, 0.0, JOUPPI, "assumed")


def _register(node_nm: int, voltage_v: float) -> Constant:
    """Return what a flip-flop takes a cycle for its clock: no source has it at 45 or at 7 nm."""
    value = REGISTER_PJ * node_nm / REGISTER_NM
    return Constant("register", value, "pJ/bit/cycle", node_nm, voltage_v, SATA, "assumed")


def _memory(name: str, value: float, source: str) -> Constant:
    return Constant(f"dram.{name}", value, "pJ/bit", 0, 0.0, source, "derived", "memory")


HOROWITZ_45NM: tuple[Constant, ...] = (
    _horowitz("add.8", 0.03),
    _horowitz("add.32", 0.1),
    _horowitz("mul.8", 0.2),
    _horowitz("mul.32", 3.1),
    _horowitz("sram.8KB", 10 / 64, "pJ/bit"),
    _horowitz("sram.32KB", 20 / 64, "pJ/bit"),
    _horowitz("sram.1MB", 100 / 64, "pJ/bit"),
    _register(45, 0.9),
)
JOUPPI_7NM: tuple[Constant, ...] = (
    _jouppi("add.8", 0.007),
    _jouppi("add.32", 0.03),
    _jouppi("mul.8", 0.07),
    _jouppi("mul.32", 1.48),
    _jouppi("sram.8KB", 7.5 / 64, "pJ/bit"),
    _jouppi("sram.32KB", 8.5 / 64, "pJ/bit"),
    _jouppi("sram.1MB", 14 / 64, "pJ/bit"),
    _register(7, 0.0),
)
OFF_CHIP: tuple[Constant, ...] = (
    _memory("hbm2", 3.9, "O'Connor et al., MICRO 2017, third-party quotation"),
    _memory("ddr4", 12.45, "DRAMsim3, as used by Prosperity (arXiv 2503.03379)"),
    _memory("ddr3", 1300 / 64, "Horowitz, ISSCC 2014: 1.3 nJ to 2.6 nJ per 64 bits; the lower end"),
)
TABLES: Mapping[str, tuple[Constant, ...]] = {
    "horowitz-45nm": (*HOROWITZ_45NM, *OFF_CHIP),
    "jouppi-7nm": (*JOUPPI_7NM, *OFF_CHIP),
}

# 3.1 / 0.2 = 15.5 between 8 and 32 bits, where the widths' product grows 16 times.
PRODUCT_RULE = Scaling(
    "mul.AxB", "mul.8 * A * B / 64", "Horowitz's 32-bit product takes 15.5 times his 8-bit one"
)
ADD_RULE = Scaling(
    "add.N", "linear between add.8 and add.32, and on both sides of them", "Horowitz's two adders"
)
MAC_RULE = Scaling("mac.AxB", "mul.AxB + add of (A + B) / 2 bits", "at 8x8 the usual 0.23 pJ")
SHIFT_RULE = Scaling("shift.N", "as add.N", "a barrel shifter has no constant", "assumed")
COMPARE_RULE = Scaling("compare.N", "as add.N", "a comparator is a subtractor", "derived")
TABLE_RULE = Scaling("lookup.N", "N bits of sram.8KB", "a table is a small memory", "assumed")
REGISTER_FILE = Scaling(
    "on chip", "FIFOs, windows and constants: sram.8KB; weights and states: sram.32KB",
    "the sizes of a BRAM (4.5 KB) and a URAM (36 KB)", "assumed",
)  # fmt: skip
CLOCK_RULE = Scaling(
    "clock", "every flip-flop of the design, every cycle: register", "no clock is gated", "assumed"
)
SCALINGS = (
    PRODUCT_RULE, ADD_RULE, MAC_RULE, SHIFT_RULE, COMPARE_RULE, TABLE_RULE, REGISTER_FILE,
    CLOCK_RULE,
)  # fmt: skip

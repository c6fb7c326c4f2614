"""Price work in picojoules: each component from constants of one process node, or not at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from cosim.ir.errors import UserError
from cosim.ir.work import Work
from cosim.machine import Machine
from hw_models.energy_constants import SCALINGS, TABLES, Constant, Scaling


@dataclass(frozen=True)
class Traffic:
    """Count bits that one node moves per token, by what they move through.

    A token that shares a fetch with others has its share of the bits.
    """

    stream_bits: float = 0
    small_bits: float = 0
    large_bits: float = 0
    off_chip_bits: float = 0


@dataclass(frozen=True)
class PriceList:
    """Hold the constants that price a machine, of one node, and the factor to its own node."""

    constants: Mapping[str, Constant]
    factor: float
    technology: str
    scalings: tuple[Scaling, ...] = field(default=SCALINGS)

    def work_pj(self, work: Work) -> dict[str, float]:
        """Return the energy of arithmetic and tables by component, scaled to the machine's node."""
        energies = {f"mac {a}x{b}": n * self._mac(a, b) for (a, b), n in work.macs.items()}
        energies |= {
            "mul": sum(n * self._mul(a, b) for (a, b), n in work.muls.items()),
            "add": sum(n * self._add(bits) for bits, n in work.adds.items()),
            "shift": sum(n * self._add(bits) for bits, n in work.shifts.items()),
            "compare": sum(n * self._add(bits) for bits, n in work.compares.items()),
            "lookup": sum(n * bits * self._value("sram.8KB") for bits, n in work.lookups.items()),
        }
        return {name: float(e) * self.factor for name, e in energies.items() if e}

    def traffic_pj(self, traffic: Traffic) -> dict[str, float]:
        """Return the energy of moved bits by component."""
        small = traffic.stream_bits + traffic.small_bits
        on_chip = small * self._value("sram.8KB") + traffic.large_bits * self._value("sram.32KB")
        off = 0.0
        if traffic.off_chip_bits:
            off = traffic.off_chip_bits * self._value(f"dram.{self.technology}")
        found = {"on chip": on_chip * self.factor, "off chip": off}
        return {name: e for name, e in found.items() if e}

    def clock_pj(self, flip_flops: float, cycles: float) -> float:
        """Return what the clocks of so many flip-flops take over some cycles."""
        return flip_flops * cycles * self._value("register") * self.factor

    def mac_pj(self, a: int, b: int) -> float:
        """Return the energy of a multiply-accumulate, scaled to the machine's node."""
        return self._mac(a, b) * self.factor

    def mul_pj(self, a: int, b: int) -> float:
        """Return the energy of a product, scaled alike."""
        return self._mul(a, b) * self.factor

    def add_pj(self, bits: float) -> float:
        """Return the energy of an addition, scaled alike."""
        return self._add(bits) * self.factor

    def value(self, name: str) -> float:
        """Return a constant by name, scaled alike; raise UserError where there is none."""
        return self._value(name) * self.factor

    def _mac(self, a: int, b: int) -> float:
        return self._mul(a, b) + self._add((a + b) / 2)

    def _mul(self, a: int, b: int) -> float:
        return self._value("mul.8") * a * b / 64

    def _add(self, bits: float) -> float:
        low, high = self._value("add.8"), self._value("add.32")
        if bits <= 8:
            return low * bits / 8
        return low + (high - low) * (bits - 8) / 24

    def _value(self, name: str) -> float:
        if name not in self.constants:
            known = ", ".join(sorted(self.constants))
            raise UserError(
                f"energy: there is no constant {name!r} (there are {known}); add it with its "
                "source, or choose a machine whose memory has one"
            )
        return self.constants[name].value


def price_list(machine: Machine, constants: Sequence[Constant] | None = None) -> PriceList:
    """Return what prices work on a machine; `constants` None takes the machine's own table.

    Raise UserError where the table is unknown, where constants of two nodes or voltages would be
    added up, where the machine's node differs and no factor with a source carries them over, and
    where an ASIC of the table's own node has a factor (on an FPGA it stands for the fabric).
    """
    energy = machine.energy
    if constants is None:
        if energy.table not in TABLES:
            raise UserError(
                f"machine {machine.name}: energy table {energy.table!r} is unknown; choose one of "
                f"{', '.join(sorted(TABLES))}"
            )
        constants = TABLES[energy.table]
    nodes = sorted({(c.node_nm, c.voltage_v) for c in constants if c.domain == "logic"})
    if len(nodes) != 1:
        listed = " and ".join(f"{n} nm at {v} V" for n, v in nodes) or "none"
        raise UserError(
            f"energy: constants of {listed} cannot be added up; take all logic from one node"
        )
    same = nodes[0][0] == energy.node_nm
    if same and energy.logic_factor != 1 and machine.logic.family == "asic":
        raise UserError(
            f"machine {machine.name}: energy.logic_factor is {energy.logic_factor}, but table and "
            f"machine are both of {energy.node_nm} nm; make it 1"
        )
    if not same and "energy.logic_factor" not in machine.sources:
        raise UserError(
            f"machine {machine.name}: constants of {nodes[0][0]} nm do not price {energy.node_nm} "
            "nm; give energy.logic_factor with its source"
        )
    by_name = {c.name: c for c in constants}
    return PriceList(by_name, energy.logic_factor, machine.fastest_memory.technology)


def static_pj(machine: Machine, seconds: float) -> float:
    """Return what the machine draws meanwhile without any work."""
    return machine.power.static_w * seconds * 1e12

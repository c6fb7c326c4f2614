"""Describe a board: logic, clock, memories, energy and power, each number with its source.

A preset is a YAML file in which every number is `{value: 460, kind: given, source: "..."}`;
`kind` is given (a data sheet or a paper says it), derived (computed from such) or assumed.
Sizes are those of the vendor's own units: one BRAM holds 36 Kib, one URAM 288 Kib.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from typing import Literal, get_args

from cosim.ir.errors import UserError
from cosim.machine.limits import Amount, AmountOrZero, Count, CountOrZero, Share, limits_of
from cosim.machine.memory import Memory, exact
from cosim.machine.service import Port

Kind = Literal["given", "derived", "assumed"]
KINDS: tuple[str, ...] = get_args(Kind)
Family = Literal["7series", "ultrascale+", "versal", "asic"]
FAMILIES: tuple[str, ...] = get_args(Family)

BRAM_BITS = 36 * 1024
URAM_BITS = 288 * 1024


@dataclass(frozen=True)
class Source:
    """Say where a number comes from."""

    kind: Kind
    text: str


@dataclass(frozen=True)
class Logic:
    """Count what the fabric offers, and the shares of it with which timing still closes.

    `family` decides which shapes its memory blocks have (`cosim/machine/blocks.py`).
    """

    family: Family
    luts: Count
    ffs: Count
    dsps: CountOrZero
    brams: CountOrZero
    urams: CountOrZero
    lut_share: Share
    ff_share: Share
    block_share: Share
    int8_macs_per_dsp: Count
    int4_macs_per_dsp: Count


@dataclass(frozen=True)
class Clock:
    """Give the clock of the accelerator."""

    frequency_mhz: Amount


@dataclass(frozen=True)
class Energy:
    """Name the table of energy constants, and what carries it over to this process node."""

    node_nm: Count
    table: str
    logic_factor: Amount


@dataclass(frozen=True)
class Power:
    """Say what the figures of power include, and what is drawn without any work."""

    boundary: str
    static_w: AmountOrZero


@dataclass(frozen=True)
class Machine:
    """Hold a board; raise UserError where a number cannot be.

    `sources` maps the path of every number, such as `memories.hbm.bandwidth_gb_s`, to its source.
    """

    name: str
    title: str
    logic: Logic
    clock: Clock
    memories: tuple[Memory, ...]
    energy: Energy
    power: Power
    sources: Mapping[str, Source] = field(default_factory=dict, hash=False, repr=False)

    def __post_init__(self) -> None:
        """Check every number."""
        if not self.memories:
            raise UserError(f"machine {self.name}: it has no memory; describe at least one")
        names = [m.name for m in self.memories]
        if len(set(names)) != len(names):
            raise UserError(f"machine {self.name}: memories {names} share a name; rename one")
        for path, part in self.parts():
            self._check(path, part)
        for memory in self.memories:
            if sentence := memory.disagreement():
                raise UserError(f"machine {self.name}: memories.{memory.name}: {sentence}")

    def parts(self) -> list[tuple[str, object]]:
        """Return the groups of numbers, each with its path."""
        return [
            ("logic", self.logic), ("clock", self.clock),
            *((f"memories.{m.name}", m) for m in self.memories),
            ("energy", self.energy), ("power", self.power),
        ]  # fmt: skip

    @cached_property
    def fastest_memory(self) -> Memory:
        """Return the memory with the most effective bandwidth; the first one on a tie."""
        return max(self.memories, key=lambda m: m.effective_gb_s)

    def bits_per_cycle(self, memory: Memory) -> Fraction:
        """Return the effective bandwidth of a memory in bits per clock cycle, exactly."""
        return memory.effective_mbit_s / exact(self.clock.frequency_mhz)

    def latency_cycles(self, memory: Memory) -> int:
        """Return the cycles from a request to its first data, rounded up."""
        cycles = exact(memory.latency_ns) * exact(self.clock.frequency_mhz) / 1000
        return max(1, -(-cycles.numerator // cycles.denominator))

    def port(self, memory: Memory, part: Fraction) -> Port:
        """Return the port that has a part of a memory's channels, or of their time."""
        rate = self.bits_per_cycle(memory) * part
        return Port(rate, self.latency_cycles(memory), memory.burst_bits * part)

    def usable(self) -> dict[str, int]:
        """Return the budget by resource: the shares of the fabric, less the memory controllers."""
        g = self.logic
        return {
            "lut": int(g.luts * g.lut_share) - sum(m.controller_luts for m in self.memories),
            "ff": int(g.ffs * g.ff_share) - sum(m.controller_ffs for m in self.memories),
            "dsp": int(g.dsps * g.block_share),
            "bram": int(g.brams * g.block_share) - sum(m.controller_brams for m in self.memories),
            "uram": int(g.urams * g.block_share),
        }

    def source(self, path: str) -> Source:
        """Return the source of a number; what was built by hand is `assumed`."""
        return self.sources.get(path, Source("assumed", "given in Python, without a source"))

    def text(self, with_sources: bool = False) -> str:
        """Print as short stable text: one number a line, with its kind, and its source if asked."""
        lines = [f"machine {self.name}: {self.title}", f"  power of {self.power.boundary}"]
        for group, part in self.parts():
            for key, value in vars(part).items():
                path = f"{group}.{key}"
                if not isinstance(value, str):
                    source = self.source(path)
                    told = f"{source.kind}: {source.text}" if with_sources else source.kind
                    lines.append(f"  {path} = {value} ({told})")
                elif with_sources and key not in {"name", "boundary"}:
                    lines.append(f"  {path} = {value}")
        for m in self.memories if with_sources else ():
            path, rule = f"memories.{m.name}", "channels x width_bits x rate_mt_s / 8000"
            lines.append(f"  {path}.bandwidth_gb_s = {m.bandwidth_gb_s:.6g} (derived: {rule})")
            rule = "bandwidth_gb_s x efficiency"
            lines.append(f"  {path}.effective_gb_s = {m.effective_gb_s:.6g} (derived: {rule})")
        return "\n".join(lines) + "\n"

    def _check(self, group: str, part: object) -> None:
        for key, limits in limits_of(type(part)).items():
            value = getattr(part, key)
            if fault := limits.fault(value):
                raise UserError(
                    f"machine {self.name}: {group}.{key} is {value:g}, {fault}; "
                    "give the board's own figure"
                )
        family = getattr(part, "family", FAMILIES[0])
        if family not in FAMILIES:
            raise UserError(
                f"machine {self.name}: {group}.family is {family!r}; "
                f"choose one of {', '.join(FAMILIES)}"
            )

"""Describe a board: logic, clock, memories, energy and power, each number with its source.

A preset is a YAML file in which every number is `{value: 460, kind: given, source: "..."}`;
`kind` is given (a data sheet or a paper says it), derived (computed from such) or assumed.
Sizes are those of the vendor's own units: one BRAM holds 36 Kib, one URAM 288 Kib.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal, get_args

from cosim.ir.errors import UserError

Kind = Literal["given", "derived", "assumed"]
KINDS: tuple[str, ...] = get_args(Kind)

BRAM_BITS = 36 * 1024
URAM_BITS = 288 * 1024


@dataclass(frozen=True)
class Source:
    """Say where a number comes from."""

    kind: Kind
    text: str


@dataclass(frozen=True)
class Logic:
    """Count what the fabric offers, and the shares of it with which timing still closes."""

    luts: int
    ffs: int
    dsps: int
    brams: int
    urams: int
    lut_share: float
    ff_share: float
    block_share: float
    int8_macs_per_dsp: int
    int4_macs_per_dsp: int


@dataclass(frozen=True)
class Clock:
    """Give the clock of the accelerator."""

    frequency_mhz: float


@dataclass(frozen=True)
class Memory:
    """Describe one off-chip memory, all its channels together, and what its controller takes."""

    name: str
    technology: str
    channels: int
    bandwidth_gb_s: float
    efficiency: float
    latency_ns: float
    capacity_gb: float
    controller_luts: int
    controller_ffs: int
    controller_brams: int

    @property
    def effective_gb_s(self) -> float:
        """Return the bandwidth that long sequential bursts reach, in 10^9 bytes per second."""
        return self.bandwidth_gb_s * self.efficiency


@dataclass(frozen=True)
class Energy:
    """Name the table of energy constants, and what carries it over to this process node."""

    node_nm: int
    table: str
    logic_factor: float


@dataclass(frozen=True)
class Power:
    """Say what the figures of power include, and what is drawn without any work."""

    boundary: str
    static_w: float


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
        shares = ("lut_share", "ff_share", "block_share")
        self._check("logic", self.logic, shares)
        self._check("clock", self.clock)
        self._check("energy", self.energy)
        self._check("power", self.power)
        if not self.memories:
            raise UserError(f"machine {self.name}: it has no memory; describe at least one")
        names = [m.name for m in self.memories]
        if len(set(names)) != len(names):
            raise UserError(f"machine {self.name}: memories {names} share a name; rename one")
        for memory in self.memories:
            self._check(f"memories.{memory.name}", memory, ("efficiency",))

    @property
    def fastest_memory(self) -> Memory:
        """Return the memory with the most effective bandwidth; the first one on a tie."""
        return max(self.memories, key=lambda m: m.effective_gb_s)

    def bits_per_cycle(self, memory: Memory) -> Fraction:
        """Return the effective bandwidth of a memory in bits per clock cycle, exactly."""
        rate = _exact(memory.bandwidth_gb_s) * _exact(memory.efficiency) * 8000
        return rate / _exact(self.clock.frequency_mhz)

    def latency_cycles(self, memory: Memory) -> int:
        """Return the cycles from a request to its first data, rounded up."""
        cycles = _exact(memory.latency_ns) * _exact(self.clock.frequency_mhz) / 1000
        return max(1, -(-cycles.numerator // cycles.denominator))

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

    def text(self) -> str:
        """Print as short stable text: one number a line, with its kind."""
        lines = [f"machine {self.name}: {self.title}", f"  power of {self.power.boundary}"]
        groups: list[tuple[str, object]] = [
            ("logic", self.logic), ("clock", self.clock),
            *((f"memories.{m.name}", m) for m in self.memories),
            ("energy", self.energy), ("power", self.power),
        ]  # fmt: skip
        for group, part in groups:
            for key, value in vars(part).items():
                if not isinstance(value, str):
                    path = f"{group}.{key}"
                    lines.append(f"  {path} = {value} ({self.source(path).kind})")
        return "\n".join(lines) + "\n"

    def _check(self, group: str, part: object, shares: tuple[str, ...] = ()) -> None:
        may_be_zero = {"urams", "brams", "dsps", "static_w"}
        for key, value in vars(part).items():
            if isinstance(value, str):
                continue
            zero_is_fine = key in may_be_zero or key.startswith("controller_")
            if value < 0 or (value == 0 and not zero_is_fine):
                raise UserError(
                    f"machine {self.name}: {group}.{key} is {value:g}, which must be "
                    f"{'at least' if zero_is_fine else 'above'} 0; give the board's own figure"
                )
            if key in shares and value > 1:
                raise UserError(
                    f"machine {self.name}: {group}.{key} is {value:g}, a share of at most 1"
                )


def _exact(value: float) -> Fraction:
    """Return the decimal that was written, not the binary nearest to it."""
    return Fraction(repr(value))

"""Price a product of spikes beside integer units: per channel and row, accumulator and fetch too.

SpikingBrain (arXiv 2509.05276, equation 24) counts average spikes times an 8-bit addition, against
an INT8 multiply-accumulate of 0.23 pJ. What an accumulator of the true width takes, and the weight
that every addition needs, is not in it; here both are, from one table of constants of one node.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cosim.ir.errors import UserError
from hw_models.energy import PriceList
from hw_models.energy_constants import TABLES, Constant

PAPER_SPIKES = 1.13  # spikes a channel: SpikingBrain report, section 5.5
PAPER_FP16_MAC_PJ = 1.5  # 0.4 + 1.1 pJ: Horowitz, ISSCC 2014, 45 nm; SpikingBrain, appendix C.2
PAPER_NODE_NM = 45
WEIGHTS_IN = "sram.32KB"  # assumed: the weights' memory, as everywhere in our energy model


@dataclass(frozen=True)
class Channel:
    """Hold what one channel of a layer does on average for one row of the weights.

    `spikes` of signed bits; `active`: share of channels with a spike; `lockstep_steps` of a tile;
    `steps` of the longest count; bits of a weight, of the accumulator, and of a count.
    """

    spikes: float
    active: float
    lockstep_steps: float
    steps: int
    weight_bits: int
    accumulator_bits: int
    count_bits: int


@dataclass(frozen=True)
class UnitEnergy:
    """Hold the energy of one channel and row in a kind of unit."""

    unit: str
    multiply_pj: float
    add_pj: float
    fetch_pj: float
    note: str

    @property
    def total_pj(self) -> float:
        """Return the sum."""
        return self.multiply_pj + self.add_pj + self.fetch_pj


def constants_of(table: str) -> tuple[PriceList, tuple[Constant, ...]]:
    """Return the prices of a table at its own node; raise UserError for an unknown one."""
    if table not in TABLES:
        raise UserError(f"energy table {table!r} is unknown; choose one of {', '.join(TABLES)}")
    logic = tuple(c for c in TABLES[table] if c.domain == "logic")
    nodes = {(c.node_nm, c.voltage_v) for c in logic}
    if len(nodes) != 1:
        raise UserError(f"energy table {table!r} mixes nodes {sorted(nodes)}; take one node")
    return PriceList({c.name: c for c in logic}, 1.0, ""), logic


def paper_saving(spikes: float, prices: PriceList) -> float:
    """Return equation 24's saving over an INT8 multiply-accumulate.

    >>> round(paper_saving(1.13, constants_of("horowitz-45nm")[0]), 4)
    0.8526
    """
    return 1 - spikes * prices.add_pj(8) / prices.mac_pj(8, 8)


def unit_energies(channel: Channel, prices: PriceList) -> list[UnitEnergy]:
    """Return the energy of each kind of unit; the first two rows are the paper's own accounting."""
    add = prices.add_pj(channel.accumulator_bits)
    fetch = channel.weight_bits * prices.value(WEIGHTS_IN)
    serial = channel.lockstep_steps * add
    found = [
        UnitEnergy("paper: spikes x 8-bit add", 0.0, channel.spikes * prices.add_pj(8), 0.0,
                   "equation 24; no accumulator, no weight"),
        UnitEnergy("paper: INT8 MAC", prices.mul_pj(8, 8), prices.add_pj(8), 0.0,
                   "no accumulator, no weight"),
        UnitEnergy("event-driven, weight once a channel", 0.0, channel.spikes * add,
                   channel.active * fetch, "silent channels fetch nothing"),
        UnitEnergy("event-driven, weight once a spike", 0.0, channel.spikes * add,
                   channel.spikes * fetch, "no register holds the weight"),
        UnitEnergy("lock-step bit-serial", 0.0, serial, fetch,
                   "a tile waits for its longest count; zero bits are stepped through"),
    ]  # fmt: skip
    for bits, note in ((8, ""), (4, ""), (channel.steps + 1, "holds the same counts as T steps")):
        narrower = max(channel.accumulator_bits - max(channel.count_bits - bits, 0), 1)
        found.append(
            UnitEnergy(
                f"integer, {bits}-bit activations" + (" (matched range)" if note else ""),
                prices.mul_pj(channel.weight_bits, bits),
                prices.add_pj(narrower),
                fetch,
                note,
            )
        )
    return found


def mean_energies(channels: Sequence[tuple[float, Channel]], table: str) -> list[UnitEnergy]:
    """Return the mean over layers, each with its weight; raise UserError where there is none."""
    if not channels:
        raise UserError("spikes: no layer to price")
    prices, _ = constants_of(table)
    total = sum(weight for weight, _ in channels)
    rows = [(weight / total, unit_energies(c, prices)) for weight, c in channels]
    first = rows[0][1]
    return [
        UnitEnergy(
            "integer, T+1-bit activations (matched range)" if "matched" in r.unit else r.unit,
            sum(share * units[k].multiply_pj for share, units in rows),
            sum(share * units[k].add_pj for share, units in rows),
            sum(share * units[k].fetch_pj for share, units in rows),
            r.note,
        )
        for k, r in enumerate(first)
    ]

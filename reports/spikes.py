"""Lay out an audit of spikes: what is truly binary, what the counts did, what it would cost."""

from __future__ import annotations

from hw_models.energy_spikes import (
    PAPER_FP16_MAC_PJ,
    PAPER_NODE_NM,
    PAPER_SPIKES,
    Channel,
    constants_of,
    mean_energies,
    paper_saving,
)
from quant.spike_audit import LayerSpikes, SpikeAudit
from reports.table import Cell, Column, Table

# SpikingBrain report, section 5.5 and table 11 (k = 3); what it says of itself.
PAPER_SPARSITY, PAPER_SAVING, PAPER_FP16_SAVING, PAPER_SMALL = 0.6915, 0.852, 0.977, 0.941
PAPER_SILENT = 0.184


def tables_of(audit: SpikeAudit, energy: str) -> tuple[Table, ...]:
    """Return coverage, layers, claims, energies and constants, coverage first."""
    return (
        coverage(audit), layers(audit), claims(audit), energies(audit, energy),
        constants(energy),
    )  # fmt: skip


def coverage(audit: SpikeAudit) -> Table:
    """Return how much of a token's arithmetic the audit sees, and how much of it truly spikes."""
    seen = sum(x.macs for x in audit.layers)
    return Table(
        "coverage",
        "Coverage",
        (
            Column("what", "multiply-accumulates of a token"),
            Column("macs", "MACs", "derived"),
            Column("share", "share", "derived", ".2%"),
        ),
        (
            ("all", audit.macs, 1.0),
            ("in linear layers, measured here", seen, seen / audit.macs),
            ("operand truly binary or ternary", audit.spiking_macs,
             audit.spiking_macs / audit.macs),
        ),
        f"measured over {audit.tokens:,} tokens",
    )  # fmt: skip


def layers(audit: SpikeAudit) -> Table:
    """Return one row per layer, and the mean by multiply-accumulates."""
    columns = (
        Column("where", "layer"),
        Column("operand", "operand"),
        Column("share", "of MACs", "derived", ".1%"),
        Column("steps", "T", "measured"),
        Column("largest", "largest", "measured"),
        Column("silent", "silent", "measured", ".1%"),
        Column("spikes", "spikes/ch, bits", "measured", ".3f"),
        Column("twos", "two's", "measured", ".3f"),
        Column("rate", "rate", "measured", ".2f"),
        Column("sparsity", "sparsity at T", "measured", ".1%"),
        Column("window_sparsity", "of 3 steps", "measured", ".1%"),
        Column("clipped", "clipped", "measured", ".2%"),
        Column("clip_error", "clip error", "measured", ".3f"),
        Column("lockstep_steps", f"lock-step, tile {audit.tile}", "measured", ".2f"),
        Column("balance", f"balance, {audit.lanes} lanes", "measured", ".2f"),
    )
    rows = [_row(x, audit) for x in audit.layers]
    share = sum(x.macs for x in audit.layers) / audit.macs
    mean: dict[str, Cell] = {"where": "all, by MACs", "operand": "", "share": share}
    mean["steps"] = max(x.steps for x in audit.layers)
    mean["largest"] = max(x.largest for x in audit.layers)
    for column in columns[5:]:
        mean[column.key] = audit.mean(column.key)
    return Table("layers", "Layers", columns, (*rows, tuple(mean[c.key] for c in columns)))


def _row(x: LayerSpikes, audit: SpikeAudit) -> tuple[Cell, ...]:
    return (
        x.where, x.operand, x.macs / audit.macs, x.steps, x.largest, x.silent, x.spikes, x.twos,
        x.rate, x.sparsity, x.window_sparsity, x.clipped, x.clip_error, x.lockstep_steps, x.balance,
    )  # fmt: skip


def claims(audit: SpikeAudit) -> Table:
    """Return SpikingBrain's figures, the same by its formulas, and this model's by them.

    Its constants are of 45 nm, whatever node the energies below are of.
    """
    prices, _ = constants_of("horowitz-45nm")
    small, silent = audit.mean("small"), audit.mean("silent")
    spikes, window = audit.mean("spikes"), audit.mean("window_sparsity")
    fp16, ours_fp16 = (1 - s * prices.add_pj(8) / PAPER_FP16_MAC_PJ for s in (PAPER_SPIKES, spikes))
    return Table(
        "claims",
        "SpikingBrain's figures (arXiv 2509.05276) by its own formulas",
        (
            Column("what", "figure"),
            Column("given", "its report", "given", ".4f"),
            Column("formula", "its formula on its spikes", "derived", ".4f"),
            Column("ours", "its formula on this model", "measured", ".4f"),
        ),
        (
            ("spikes a channel", PAPER_SPIKES, None, spikes),
            ("silent channels", PAPER_SILENT, None, silent),
            ("counts up to 7", PAPER_SMALL, None, small),
            ("sparsity of 3 steps", PAPER_SPARSITY, 1 - PAPER_SPIKES / 3, window),
            (f"energy saved over INT8 ({PAPER_NODE_NM} nm)", PAPER_SAVING,
             paper_saving(PAPER_SPIKES, prices), paper_saving(spikes, prices)),
            (f"over FP16 ({PAPER_NODE_NM} nm)", PAPER_FP16_SAVING, fp16, ours_fp16),
        ),
        "69.15 % and 1.13 do not go together: 1.13 spikes in 3 steps are 62.3 %",
    )  # fmt: skip


def energies(audit: SpikeAudit, energy: str) -> Table:
    """Return the energy of a channel and row in each kind of unit."""
    channels = [(float(x.macs), channel_of(x)) for x in audit.layers]
    rows = mean_energies(channels, energy)
    eight = next(r for r in rows if r.unit.startswith("integer, 8"))
    four = next(r for r in rows if r.unit.startswith("integer, 4"))
    return Table(
        "energy",
        f"Energy of a channel and row, {energy}",
        (
            Column("unit", "unit"),
            Column("multiply_pj", "multiply, pJ", "modelled", ".4f"),
            Column("add_pj", "add, pJ", "modelled", ".4f"),
            Column("fetch_pj", "weight, pJ", "modelled", ".4f"),
            Column("total_pj", "total, pJ", "modelled", ".4f"),
            Column("over_8", "of 8-bit", "modelled", ".3f"),
            Column("over_4", "of 4-bit", "modelled", ".3f"),
            Column("note", "note"),
        ),
        tuple(
            (r.unit, r.multiply_pj, r.add_pj, r.fetch_pj, r.total_pj, r.total_pj / eight.total_pj,
             r.total_pj / four.total_pj, r.note)
            for r in rows
        ),
        "arithmetic and weight fetch; control, clocks, activations and queues are in no row",
    )  # fmt: skip


def channel_of(x: LayerSpikes) -> Channel:
    """Return what prices a layer: its counts as signed bits, clipped where the graph clips."""
    return Channel(
        x.spikes, 1 - x.silent, x.lockstep_steps, x.steps, x.weight_bits, x.accumulator_bits,
        x.count_bits,
    )  # fmt: skip


def constants(energy: str) -> Table:
    """Return the constants behind the energies, with their sources."""
    _, logic = constants_of(energy)
    return Table(
        "constants",
        "Constants",
        (
            Column("name", "constant"),
            Column("value", "value", "given"),
            Column("unit", "unit"),
            Column("process", "process"),
            Column("kind", "class"),
            Column("source", "source"),
        ),
        tuple(
            (c.name, c.value, c.unit,
             f"{c.node_nm} nm" + (f", {c.voltage_v} V" if c.voltage_v else ", voltage not said"),
             c.kind, c.source)
            for c in logic
        ),
    )  # fmt: skip

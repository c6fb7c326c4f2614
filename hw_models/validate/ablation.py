"""Hold LightMamba's two ablations against the model: reordered rows, and tiles in place of buffers.

Both are stated as before and after (58 % to 96 % utilisation, 246 to 61 URAM); what they were
before is told in a sentence each. Here the naive design has a unit per operator, rows in the
graph's order, and buffers: a unit waits until its whole input is there.
"""

from __future__ import annotations

from dataclasses import replace

from cosim.design import Choices, graph_kinds, sized_design
from cosim.design.resources import stored_cost
from cosim.ir.model import Model
from cosim.machine import Machine, load_machine
from hw_models.build import build_network
from hw_models.dataflow import solve
from hw_models.validate.buffers import as_buffers
from hw_models.validate.lightmamba import RELEASED, REORDERED, WIDTHS, Places, run
from hw_models.validate.published import INNER, LAYERS, PRODUCTS, STATES
from hw_models.validate.row import WITHIN_3_POINTS, WITHIN_10, Row

ABLATION = "ablation of arXiv 2502.15260, by a reading"
STATE_SIZE = INNER * STATES
NAIVE = Choices(RELEASED, order="graph", fused=False, fifos="whole")
# Timed as if never waited for: no resource counts are taken from designs with these places.
ON_CHIP: Places = (("weights", "chip"), ("states", "chip"), ("embedding", "chip"))


def rows(model: Model) -> list[Row]:
    """Return all rows; `model` is the layers of Mamba2-2.7B at 4 bits."""
    machine = load_machine("lightmamba-vck190")
    return [*schedule_rows(model, machine), *memory_rows(model, machine)]


def schedule_rows(model: Model, machine: Machine) -> list[Row]:
    """Compare what schedules do to the matrix unit, with a memory that never binds."""
    naive = replace(NAIVE, places=ON_CHIP)
    paces = {
        "buffers": buffered_cycles(model, machine, naive),
        "graph": run(model, machine, replace(naive, fused=True)).cycles_per_token,
        "heads": run(
            model, machine, replace(REORDERED, places=ON_CHIP, depths=())
        ).cycles_per_token,
    }
    products, states = PRODUCTS / 64, LAYERS * STATE_SIZE / 8
    busy = {name: 100 * products / cycles for name, cycles in paces.items()}
    operators = "the state's four operators one after another at 8 lanes"
    rests = f"{WIDTHS}; memory never waited for; share of the token in which products are made"
    buffers = "a unit per operator, each waits for its whole input"
    unknown = (
        "what utilisation means: at constant work 58 % to 96 % saves 40 %, not the 32 % given; "
        "and what the unordered schedule is"
    )
    return [
        Row(
            "VCK190 W4A4, rows as in the graph, buffers", "utilisation", "%", ABLATION, 58,
            100 * products / (products + 4 * states), f"products, then {operators}",
            busy["buffers"], WITHIN_3_POINTS, rests_on=f"{rests}; {buffers}", unknown=unknown,
        ),
        Row(
            "VCK190 W4A4, rows as in the graph, FIFOs", "utilisation", "%", ABLATION, 58,
            100 * products / (products + states), "products, then states at 8 lanes",
            busy["graph"], rests_on=f"{rests}; operators fused", unknown=unknown,
        ),
        Row(
            "VCK190 W4A4, rows head by head", "utilisation", "%", ABLATION, 96,
            100, "states wholly hidden", busy["heads"], WITHIN_3_POINTS,
            rests_on=f"{rests}; operators fused", unknown=unknown,
        ),
        Row(
            "VCK190 W4A4, from buffers to head by head", "time saved", "%", ABLATION, 32,
            100 * 4 * states / (products + 4 * states), f"{operators}, then hidden",
            100 * (1 - paces["heads"] / paces["buffers"]), WITHIN_3_POINTS,
            rests_on=f"{rests}; before: {buffers}; after: operators fused", unknown=unknown,
        ),
    ]  # fmt: skip


def buffered_cycles(model: Model, machine: Machine, choices: Choices) -> int:
    """Return the cycles of a token of a design whose units wait for their whole input.

    `choices` must give every FIFO the depth of its value. The cycles are those from one token's
    last output to the next one's.
    """
    design = sized_design(model, machine, choices)
    (kind,) = graph_kinds(model, choices.order, choices.fused, choices.matrix)
    (layout,) = design.layouts
    network = build_network(kind.skeleton, layout, design, machine, 2)
    timing = solve(as_buffers(network, [f.name for f in layout.fifos]), 2)
    ends = [timing.finish(a.name) for a in network.actors if a.name.startswith("sink.")]
    first, second = (max(int(e[turn]) for e in ends) for turn in (0, 1))
    return second - first


def memory_rows(model: Model, machine: Machine) -> list[Row]:
    """Compare the URAM of whole intermediate values with that of tiles.

    The released code streams what the convolution needs of a layer (its windows at least); our
    designs keep taps, biases and windows of all layers on chip, so that their blocks are taken off.
    """
    used = {}
    ahead = "tiled, a layer's states ahead"
    for name, choices in (
        ("whole", NAIVE), ("tiled", REORDERED), (ahead, replace(REORDERED, depths=())),
    ):  # fmt: skip
        design = sized_design(model, machine, choices)
        used[name] = design.resources["uram"] - convolution_blocks(model, machine, choices)
    given = {"whole": 246, "tiled": 61, ahead: 61}
    how = {
        "whole": "a unit per operator, every FIFO and both products of the update whole",
        "tiled": "operators fused, FIFOs whole only where their taker waits, states 64 beats ahead",
        ahead: "the same, with FIFOs that hold the states of a layer",
    }
    less = (
        "taps, biases and windows of the convolution streamed (0.3 % more bytes), as its code does "
        "with windows"
    )
    return [
        Row(
            f"VCK190 W4A4, intermediates {name}", "URAM", "blocks", ABLATION, given[name],
            modelled=used[name], aim=WITHIN_10, rests_on=f"{WIDTHS}; {how[name]}; {less}",
            unknown="what its URAM holds, and how far ahead the states are fetched",
        )
        for name in used
    ]  # fmt: skip


def convolution_blocks(model: Model, machine: Machine, choices: Choices) -> int:
    """Count the URAM that keeps the convolution's constants and windows of all layers."""
    design = sized_design(model, machine, choices)
    units = {u.name: u for u in design.units}
    count = 0
    for kind in graph_kinds(model, choices.order, choices.fused, choices.matrix):
        whole = kind.skeleton
        rest = replace(whole, tasks=tuple(t for t in whole.tasks if whole.kind(t) != "fir"))
        both = [stored_cost(s, units, design.places, machine)["uram"] for s in (whole, rest)]
        count += both[0] - both[1]
    return count

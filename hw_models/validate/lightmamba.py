"""Hold LightMamba (arXiv 2502.15260) against the model: speeds, schedule, memories, resources.

The paper's own text was not at hand; its figures come from two close readings of it, which agree,
and from the released code. What that code runs on the FPGA are the layers: embedding, final norm
and head are the host's. So the model's layers alone are simulated, with the widths of the code:
64 products a cycle, 8 lanes of everything else, FIFOs that decouple.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from cosim.design import Choices, Lanes, graph_kinds, sized_design
from cosim.design.plan import Place
from cosim.design.resources import stored_cost
from cosim.ir.model import Model
from cosim.machine import Machine, load_machine
from hw_models.simulate import Simulation, simulate
from hw_models.validate.row import WITHIN_3_POINTS, WITHIN_5, WITHIN_10, Row

Places = tuple[tuple[str, Place], ...]
TABLE = "results table of arXiv 2502.15260, by two readings"
ABLATION = "ablation of arXiv 2502.15260, by a reading"
LAYERS, INNER, HIDDEN, HEADS, STATES = 64, 5120, 2560, 80, 128
IN_ROWS = 2 * INNER + 2 * STATES + HEADS
PRODUCTS = LAYERS * (IN_ROWS * HIDDEN + HIDDEN * INNER)
STATE_SIZE = INNER * STATES
# Given: 7.21 (W4A4) and 3.61 (W8A8) on the VCK190, 93 on the U280.
SPEED = {4: 7.21, 8: 3.61}
SPEED_U280 = 93.0
TOKENS_PER_J = {4: 2.25, 8: 1.45}
# Given: LUT, FF, DSP, BRAM, URAM of W4A4 on the VCK190; the README says 456 BRAM.
RESOURCES = {"lut": 107_000, "ff": 130_000, "dsp": 228, "bram": 912}
DSPS_U280 = 1164
RELEASED = Lanes(rows=8, columns=8, state=8, chain=8, prefetch=512)  # given: released code
# Assumed: 8 lanes x 1164 / 228 DSPs are 40.8; 32 x 40 products are the fewest whole 8 x 8 tiles
# with which the model reaches 93 tokens/s, so that they are fitted to it.
U280_LANES = Lanes(rows=32, columns=40, state=40, chain=40, prefetch=512)
# Timed as if never waited for: no resource counts are taken from designs with these places.
ON_CHIP: Places = (("weights", "chip"), ("states", "chip"), ("embedding", "chip"))
STATES_APART: Places = (("weights", "memory"), ("states", "chip"), ("embedding", "memory"))
REORDERED = Choices(RELEASED, order="heads")
NAIVE = Choices(RELEASED, order="graph", fused=False, fifos="whole")
WIDTHS = "released widths (64 products a cycle, 8 lanes), layers only"


def run(model: Model, machine: Machine, choices: Choices) -> Simulation:
    """Simulate one token of a design that was chosen in full."""
    return simulate(model, machine, sized_design(model, machine, choices))


def with_efficiency(machine: Machine, efficiency: float) -> Machine:
    """Return a machine with one memory whose efficiency is another."""
    (memory,) = machine.memories
    return replace(machine, memories=(replace(memory, efficiency=efficiency),))


@dataclass(frozen=True)
class Fit:
    """Hold the one factor that is fitted: the memory's efficiency with which W4A4 gives 7.21."""

    efficiency: float
    machine: Machine


def fit_efficiency(model: Model, machine: Machine, choices: Choices, tokens_per_s: float) -> Fit:
    """Fit the memory's efficiency to a speed, by two secant steps: streams bind, so it is linear.

    The efficiency is kept to four digits.
    """
    (memory,) = machine.memories
    fitted, efficiency = machine, memory.efficiency
    for _ in range(2):
        efficiency = round(
            efficiency * tokens_per_s / run(model, fitted, choices).tokens_per_second, 4
        )
        fitted = with_efficiency(machine, efficiency)
    return Fit(efficiency, fitted)


def bytes_per_token(found: Simulation) -> float:
    """Return the bytes of a token that a memory has to bring or take."""
    return sum(row.offchip_bytes for row in found.operators)


def rows(models: Mapping[int, Model]) -> list[Row]:
    """Return all rows; `models` are the layers of Mamba2-2.7B by bits, 4 and 8."""
    machine = load_machine("lightmamba-vck190")
    plain = {bits: run(models[bits], machine, REORDERED) for bits in (4, 8)}
    return [
        *_speeds(models, machine, plain),
        _u280(models[4]),
        *_schedule(models[4], machine),
        *_memories(models[4], machine),
        *_resources(plain),
    ]


def _speeds(
    models: Mapping[int, Model], machine: Machine, plain: Mapping[int, Simulation]
) -> list[Row]:
    (memory,) = machine.memories
    nominal = f"{memory.bandwidth_gb_s:g} GB/s"
    found = []
    for bits, simulated in plain.items():
        bound = min(
            memory.effective_gb_s * 1e9 / bytes_per_token(simulated),
            RELEASED.rows * RELEASED.columns * machine.clock.frequency_mhz * 1e6 / PRODUCTS,
        )
        found.append(Row(
            f"VCK190 W{bits}A{bits}", "speed", "tokens/s", TABLE, SPEED[bits],
            bound, "the lower of 64 products a cycle and the memory's bytes",
            simulated.tokens_per_second, WITHIN_5,
            rests_on=f"{WIDTHS}; {nominal} (from memory) at the {memory.efficiency:g} that others "
            "reach; nothing fitted",
            unknown="the efficiency of its memory, and whether states share it with the weights",
        ))  # fmt: skip
    for apart in (False, True):
        choices = replace(REORDERED, places=STATES_APART) if apart else REORDERED
        fit = fit_efficiency(models[4], machine, choices, SPEED[4])
        where = "states on a port of their own" if apart else "states in the weights' memory"
        name = "states apart" if apart else "states beside"
        found += [
            Row(
                f"VCK190 W{bits}A{bits}, {name}", "speed", "tokens/s", TABLE, SPEED[bits],
                modelled=run(models[bits], fit.machine, choices).tokens_per_second,
                aim=WITHIN_5, fitted=bits == 4,
                rests_on=f"{WIDTHS}; {where}; one factor fitted to W4A4's {SPEED[4]}: "
                f"{fit.efficiency:g} of {nominal}",
                unknown="the efficiency of its memory, and where the states are",
            )
            for bits in (4, 8)
        ]  # fmt: skip
    return found


def _u280(model: Model) -> Row:
    machine = load_machine("lightmamba-u280")
    needed = SPEED_U280 * PRODUCTS / (machine.clock.frequency_mhz * 1e6)
    lanes = U280_LANES
    bound = lanes.rows * lanes.columns * machine.clock.frequency_mhz * 1e6 / PRODUCTS
    return Row(
        "U280 W4A4", "speed", "tokens/s", TABLE, SPEED_U280,
        bound, f"{lanes.rows} x {lanes.columns} products a cycle; {needed:,.0f} would just do",
        run(model, machine, Choices(lanes, order="heads")).tokens_per_second,
        WITHIN_5, fitted=True,
        rests_on=f"{lanes.rows} x {lanes.columns} products, fitted to 93: the fewest 8 x 8 tiles "
        f"that reach it; {lanes.state} lanes from the DSPs (8 x {DSPS_U280} / {RESOURCES['dsp']})",
        unknown="every width; the authors simulated this board",
    )  # fmt: skip


def _schedule(model: Model, machine: Machine) -> list[Row]:
    """Compare what the order of rows does to the matrix unit, with a memory that never binds."""
    busy, pace = {}, {}
    for order in ("graph", "heads"):
        found = run(model, machine, Choices(RELEASED, order=order, places=ON_CHIP))
        busy[order] = 100 * next(u.utilisation for u in found.units if u.unit == "matrix")
        pace[order] = found.cycles_per_token
    products, states = PRODUCTS / 64, LAYERS * STATE_SIZE / 8
    unknown = (
        "what utilisation means: at constant work 58 % to 96 % saves 40 %, not the 32 % given; "
        "and what the unordered schedule is"
    )
    rests = f"{WIDTHS}; busy share of the matrix unit, memory never waited for"
    return [
        Row(
            "VCK190 W4A4, rows as in the graph", "utilisation", "%", ABLATION, 58,
            100 * products / (products + states),
            "products, then states at 8 lanes", busy["graph"], WITHIN_3_POINTS,
            rests_on=rests, unknown=unknown,
        ),
        Row(
            "VCK190 W4A4, rows head by head", "utilisation", "%", ABLATION, 96,
            100, "states wholly hidden", busy["heads"], WITHIN_3_POINTS,
            rests_on=rests, unknown=unknown,
        ),
        Row(
            "VCK190 W4A4, rows head by head", "time saved", "%", ABLATION, 32,
            100 * 4 * states / (products + 4 * states),
            "were the state's four operators done one after another at 8 lanes, and then hidden",
            100 * (1 - pace["heads"] / pace["graph"]), WITHIN_3_POINTS,
            rests_on=rests, unknown=unknown,
        ),
    ]  # fmt: skip


def _memories(model: Model, machine: Machine) -> list[Row]:
    """Compare the URAM of whole intermediate values with that of tiles.

    The released code streams what the convolution needs of a layer (its windows at least); our
    designs keep taps, biases and windows of all layers on chip, so that their blocks are taken off.
    """
    used = {}
    for name, choices in (("whole", NAIVE), ("tiled", REORDERED)):
        design = sized_design(model, machine, choices)
        used[name] = design.resources["uram"] - convolution_blocks(model, machine, choices)
    given = {"whole": 246, "tiled": 61}
    how = {
        "whole": "a unit per operator, every FIFO and both products of the update whole",
        "tiled": "operators fused, FIFOs whole only where their taker waits",
    }
    less = "taps, biases and windows of the convolution streamed, as its code does with windows"
    return [
        Row(
            f"VCK190 W4A4, intermediates {name}", "URAM", "blocks", ABLATION, given[name],
            modelled=used[name], aim=WITHIN_10, rests_on=f"{WIDTHS}; {how[name]}; {less}",
            unknown="what its URAM holds; its products' width (24 bits here, 32 to 38 in its code)",
        )
        for name in ("whole", "tiled")
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


def _resources(plain: Mapping[int, Simulation]) -> list[Row]:
    found = [
        Row(
            "VCK190 W4A4", name.upper(), "blocks" if name in {"dsp", "bram"} else "cells", TABLE,
            given, modelled=plain[4].design.resources[name],
            rests_on=f"{WIDTHS}; an estimate before synthesis",
            unknown="the README says 456" if name == "bram" else "what shell is counted",
        )
        for name, given in RESOURCES.items()
    ]  # fmt: skip
    for bits, simulated in plain.items():
        found.append(Row(
            f"VCK190 W{bits}A{bits}", "energy", "tokens/J", TABLE, TOKENS_PER_J[bits],
            modelled=1e12 / simulated.energy_pj_per_token,
            rests_on=f"{WIDTHS}; logic and DDR4, static power assumed; nothing fitted",
            unknown="what its power includes: 3.2 W in all cannot be the board",
        ))  # fmt: skip
    return found

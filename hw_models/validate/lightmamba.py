"""Hold LightMamba (arXiv 2502.15260) against the model: speeds, energy, resources.

The paper's own text was not at hand; its figures come from two close readings of it, which agree,
and from the released code. What that code runs on the FPGA are the layers: embedding, final norm
and head are the host's. So the layers of its integer graph alone are simulated, with the rotation
of the paper, in the widths of the code: 64 products a cycle, 8 lanes of everything else. Scales of
weights are stored as 9 bits per 128 here and as 6 there, which is 0.5 % of the bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from cosim.design import Choices, Lanes, sized_design
from cosim.design.plan import Place
from cosim.ir.model import Model
from cosim.machine import Machine, load_machine
from hw_models.simulate import Simulation, simulate
from hw_models.validate.published import LIGHTMAMBA as TABLE
from hw_models.validate.published import PRODUCTS, published
from hw_models.validate.row import WITHIN_5, Row

Places = tuple[tuple[str, Place], ...]
VCK190 = {bits: published("lightmamba-vck190", (bits, bits)) for bits in (4, 8)}
U280 = published("lightmamba-u280", (4, 4))
SPEED = {bits: given.given("speed") for bits, given in VCK190.items()}
RELEASED = Lanes(rows=8, columns=8, state=8, chain=8, prefetch=512)  # given: released code
# Assumed: 8 lanes x 1164 / 228 DSPs are 40.8; 32 x 40 products are the fewest whole 8 x 8 tiles
# with which the model reaches 93 tokens/s, so that they are fitted to it.
U280_LANES = Lanes(rows=32, columns=40, state=40, chain=40, prefetch=512)
# Timed as if never waited for: no resource counts are taken from designs with these places.
STATES_APART: Places = (("weights", "memory"), ("states", "chip"), ("embedding", "memory"))
# Given: FIFOs of 8 beats, of 64 for the states (released code); where a taker waits, of a value.
STATE_FIFOS = (("state.in", 64), ("state.out", 64))
REORDERED = Choices(RELEASED, order="heads", shallow_beats=8, depths=STATE_FIFOS)
# The designs as described, by machine.
DESCRIBED = {
    "lightmamba-vck190": REORDERED, "lightmamba-u280": Choices(U280_LANES, order="heads"),
}  # fmt: skip
WIDTHS = "released graph and widths (64 products a cycle, 8 lanes), layers only"


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
        choices = replace(REORDERED, places=STATES_APART, depths=()) if apart else REORDERED
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
    given, dsps = U280.given("speed"), U280.given("DSP")
    needed = given * PRODUCTS / (machine.clock.frequency_mhz * 1e6)
    lanes = U280_LANES
    bound = lanes.rows * lanes.columns * machine.clock.frequency_mhz * 1e6 / PRODUCTS
    return Row(
        "U280 W4A4", "speed", "tokens/s", TABLE, given,
        bound, f"{lanes.rows} x {lanes.columns} products a cycle; {needed:,.0f} would just do",
        run(model, machine, DESCRIBED[machine.name]).tokens_per_second,
        WITHIN_5, fitted=True,
        rests_on=f"{lanes.rows} x {lanes.columns} products, fitted to 93: the fewest 8 x 8 tiles "
        f"that reach it; {lanes.state} lanes from the DSPs (8 x {dsps:g} / "
        f"{VCK190[4].given('DSP'):g})",
        unknown="every width; the authors simulated this board",
    )  # fmt: skip


def _resources(plain: Mapping[int, Simulation]) -> list[Row]:
    found = [
        Row(
            "VCK190 W4A4", name, unit, TABLE,
            given, modelled=plain[4].design.resources[name.lower()],
            rests_on=f"{WIDTHS}; an estimate before synthesis, with the products in DSPs where its "
            "code has them in LUTs",
            unknown="the README says 456" if name == "BRAM" else "what shell is counted",
        )
        for name, unit, given in VCK190[4].figures
        if name in {"LUT", "FF", "DSP", "BRAM"}
    ]  # fmt: skip
    for bits, simulated in plain.items():
        found.append(Row(
            f"VCK190 W{bits}A{bits}", "energy", "tokens/J", TABLE,
            VCK190[bits].given("energy"),
            modelled=1e12 / simulated.energy_pj_per_token,
            rests_on=f"{WIDTHS}; logic and DDR4, static power assumed; nothing fitted",
            unknown="what its power includes: 3.2 W in all cannot be the board",
        ))  # fmt: skip
    return found

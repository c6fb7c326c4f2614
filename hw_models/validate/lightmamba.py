"""Hold LightMamba (arXiv 2502.15260) against the model: speeds, energy, resources.

The paper's own text was not at hand; its figures come from two close readings of it, which agree,
and from the released code. What that code runs on the FPGA are the layers: embedding, final norm
and head are the host's. It is held against the figures twice: as its loops stand in the code
(`released`), and as a Design of ours of the layers of its integer graph, with the rotation of the
paper, in the widths of the code: 64 products a cycle, 8 lanes of everything else. Scales of weights
are stored as 9 bits per 128 in the Design and as 6 in the code, which is 0.5 % of the bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from cosim.design import Choices, Lanes, sized_design
from cosim.ir.model import Model
from cosim.machine import Machine, load_machine
from hw_models.simulate import Simulation, simulate
from hw_models.validate import released
from hw_models.validate.published import LIGHTMAMBA as TABLE
from hw_models.validate.published import PRODUCTS, published
from hw_models.validate.released import AHEAD
from hw_models.validate.row import WITHIN_5, Row

VCK190 = {bits: published("lightmamba-vck190", (bits, bits)) for bits in (4, 8)}
U280 = published("lightmamba-u280", (4, 4))
SPEED = {bits: given.given("speed") for bits, given in VCK190.items()}
# Given: released code; 1,552 words of weights ahead are its four queues one behind the other.
RELEASED = Lanes(rows=8, columns=8, state=8, chain=8, prefetch=AHEAD)
# Assumed: 8 lanes x 1164 / 228 DSPs are 40.8; 32 x 40 products are the fewest whole 8 x 8 tiles
# with which the model reaches 93 tokens/s, so that they are fitted to it.
U280_LANES = Lanes(rows=32, columns=40, state=40, chain=40, prefetch=512)
# Given: FIFOs of 8 beats, and a layer's states held whole (released code).
REORDERED = Choices(RELEASED, order="heads", shallow_beats=8)
# What long bursts reach of DDR4, as two other decoders that stream their weights publish it. The
# second was added after the first had missed; which of them holds for this board is unknown.
DDR4_SHARES = (
    (0.93, "Hummingbird, arXiv 2507.03308"),
    (0.845, "arXiv 2502.10659 (84 to 85 %), taken after 0.93 had missed"),
)  # fmt: skip
LOOPS = (
    "its released loops beat by beat: everything over one port, states of a layer before its "
    "weights and back behind them, layers only"
)
# The designs as described, by machine.
DESCRIBED = {
    "lightmamba-vck190": REORDERED, "lightmamba-u280": Choices(U280_LANES, order="heads"),
}  # fmt: skip
WIDTHS = "released graph and widths (64 products a cycle, 8 lanes), layers only"


def run(model: Model, machine: Machine, choices: Choices) -> Simulation:
    """Simulate one token of a design that was chosen in full."""
    return simulate(model, machine, sized_design(model, machine, choices))


def bytes_per_token(found: Simulation) -> float:
    """Return the bytes of a token that a memory has to bring or take."""
    return sum(row.offchip_bytes for row in found.operators)


def rows(models: Mapping[int, Model]) -> list[Row]:
    """Return all rows; `models` are the layers of Mamba2-2.7B by bits, 4 and 8."""
    machine = load_machine("lightmamba-vck190")
    plain = {bits: run(models[bits], machine, REORDERED) for bits in (4, 8)}
    return [
        *_speeds(machine, plain),
        _u280(models[4]),
        *_resources(plain),
    ]


def _speeds(machine: Machine, plain: Mapping[int, Simulation]) -> list[Row]:
    (memory,) = machine.memories
    nominal = memory.bandwidth_gb_s
    unknown = {bits: _unknown(bits, nominal) for bits in (4, 8)}
    found = []
    for share, where in DDR4_SHARES:
        for bits in (4, 8):
            moved = loops_at(bits, share * nominal)
            found.append(_loops_row(
                bits, f"memory at {share:g}", moved, share * nominal,
                f"{nominal:g} GB/s (from memory) at the {share:g} of {where}; nothing fitted",
                unknown[bits],
            ))  # fmt: skip
    share = round(share_for(4, SPEED[4], nominal), 4)
    found += [
        _loops_row(
            bits, f"memory at {share:g}, fitted", loops_at(bits, share * nominal),
            share * nominal,
            f"one factor fitted to W4A4's {SPEED[4]}: {share:g} of {nominal:g} GB/s",
            unknown[bits], fitted=bits == 4,
        )
        for bits in (4, 8)
    ]  # fmt: skip
    for bits, simulated in plain.items():
        bound = min(
            memory.effective_gb_s * 1e9 / bytes_per_token(simulated),
            RELEASED.rows * RELEASED.columns * machine.clock.frequency_mhz * 1e6 / PRODUCTS,
        )
        found.append(Row(
            f"VCK190 W{bits}A{bits}, our Design of it", "speed", "tokens/s", TABLE, SPEED[bits],
            bound, "the lower of 64 products a cycle and the memory's bytes",
            simulated.tokens_per_second, WITHIN_5,
            rests_on=f"{WIDTHS}; {nominal:g} GB/s (from memory) at {memory.efficiency:g}; "
            "nothing fitted",
            unknown=unknown[bits],
        ))  # fmt: skip
    return found


def _loops_row(
    bits: int,
    name: str,
    moved: released.Loops,
    gb_s: float,
    memory: str,
    unknown: str,
    fitted: bool = False,
) -> Row:
    return Row(
        f"VCK190 W{bits}A{bits}, released loops, {name}", "speed", "tokens/s", TABLE, SPEED[bits],
        gb_s * 1e9 / moved.bytes_per_token, "its port's words over the memory's bandwidth",
        moved.tokens_per_s, WITHIN_5, fitted=fitted,
        rests_on=f"{LOOPS}; {memory}" + ("" if bits == 4 else "; a port of 512 bits for 8-bit "
                                         "weights, by the rule of its code"),
        unknown=unknown,
    )  # fmt: skip


def share_for(bits: int, tokens_per_s: float, nominal_gb_s: float) -> float:
    """Return the memory's share with which the loops reach a speed.

    The port is never idle: its cycles are words over the share, and latencies that two shares tell.
    """
    (one, _), (other, _) = DDR4_SHARES
    cycles = [loops_at(bits, share * nominal_gb_s).cycles for share in (one, other)]
    slope = (cycles[0] - cycles[1]) / (1 / one - 1 / other)
    return slope / (released.CLOCK_HZ / tokens_per_s - cycles[0] + slope / one)


@cache
def loops_at(bits: int, gb_s: float) -> released.Loops:
    """Run the released loops once for each memory."""
    return released.loops(bits, gb_s=gb_s)


def _unknown(bits: int, nominal_gb_s: float) -> str:
    """Say which shares of the memory's bandwidth would meet a speed, and which come near it."""
    low, meets, high = (
        share_for(bits, SPEED[bits] * f, nominal_gb_s) for f in (0.95, 1.0, 1.05)
    )  # fmt: skip
    return (
        f"what its memory reaches: {meets:.3f} of {nominal_gb_s:g} GB/s meets {SPEED[bits]}, "
        f"{low:.3f} to {high:.3f} is within 5 %"
    )


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

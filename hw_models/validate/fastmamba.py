"""Hold FastMamba (arXiv 2505.18975) against the model: Mamba2-2.7B at 8 bits on a VC709."""

from __future__ import annotations

from dataclasses import replace

from cosim.design import Choices, Lanes
from cosim.design.plan import Place
from cosim.ir.model import Model
from cosim.machine import Machine, load_machine
from hw_models.validate.lightmamba import bytes_per_token, run
from hw_models.validate.published import FASTMAMBA as TABLE
from hw_models.validate.published import published
from hw_models.validate.row import Row

GIVEN = published("fastmamba-vc709", (8, 8))
# Timed as if never waited for: no resource counts are taken from designs with these places.
STATES_APART: tuple[tuple[str, Place], ...] = (
    ("weights", "memory"), ("states", "chip"), ("embedding", "memory"),
)  # fmt: skip
# Assumed: the convolution's 256 DSPs are 64 lanes of 4 taps; the products' width is unpublished,
# and 1024 a cycle never bind beside this memory (132,030 LUTs would hold more).
LANES = Lanes(rows=32, columns=32, state=64, chain=64, prefetch=512)
WIDTHS = "32 x 32 products (assumed: they never bind), 64 lanes (256 DSPs of the convolution)"


def rows(model: Model) -> list[Row]:
    """Return all rows; `model` is the layers of Mamba2-2.7B at 8 bits, its state at 16."""
    both = load_machine("fastmamba-vc709")
    choices = Choices(LANES, order="heads")
    found, per_joule = [], 0.0
    for name, machine, picked, how in (
        ("both modules", both, choices, "both DDR3 modules at the efficiency others reach"),
        ("one module", halved(both), choices, "one of its two DDR3 modules, else the same"),
        ("one module, states apart", halved(both), replace(choices, places=STATES_APART),
         "weights from one module, states on the other and never waited for"),
    ):  # fmt: skip
        simulated = run(model, machine, picked)
        per_joule = per_joule or 1e12 / simulated.energy_pj_per_token
        (memory,) = machine.memories
        bound = memory.effective_gb_s * 1e9 / bytes_per_token(simulated)
        found.append(Row(
            f"VC709 W8A8, {name}", "speed", "tokens/s", TABLE, GIVEN.given("speed"),
            bound, "the memory's bytes", simulated.tokens_per_second,
            rests_on=f"{WIDTHS}; {how}; nothing fitted",
            unknown="how many modules it streams from, every width but the convolution's",
        ))  # fmt: skip
    found.append(Row(
        "VC709 W8A8, both modules", "energy", "tokens/J", TABLE,
        GIVEN.given("energy"),
        modelled=per_joule,
        rests_on=f"{WIDTHS}; at our speed, static power assumed; nothing fitted",
        unknown="what its power includes; its norm and SiLU are floating point",
    ))  # fmt: skip
    return found


def halved(machine: Machine) -> Machine:
    """Return the machine with one of its memory's channels."""
    (memory,) = machine.memories
    half = memory.channels // 2
    changed = replace(memory, channels=half, stated_gb_s=memory.stated_gb_s / 2)
    return replace(machine, memories=(changed,))

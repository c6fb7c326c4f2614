"""Whole Mamba-2 accelerators: small ones of odd sizes, every logit and the cycle of every beat."""

import numpy as np
import pytest

from cosim.design.choices import Lanes
from tests.rtl.simulators import needs
from tests.rtl.test_whole import STREAMED, generated
from tests.rtl.units.models import small
from tests.rtl.whole import ON_CHIP, check, design_of

# (recipe, sizes, state format, widths, where weights live): lanes that divide and that do not.
CASES = [
    ("w4a4", "even", "int16", Lanes(4, 4, 4, 4, 64), ON_CHIP),
    ("w4a4", "odd", "int16", Lanes(3, 5, 4, 3, 4), STREAMED),
    ("w8a8", "odd", "int8 group", Lanes(8, 4, 10, 8, 64), ON_CHIP),
    ("w8a8", "even", "int16", Lanes(5, 8, 8, 6, 2), STREAMED),
    ("lightmamba", "even", "int16", Lanes(8, 8, 16, 8, 16), ON_CHIP),
]


@pytest.mark.slow
@pytest.mark.parametrize("simulator", [needs("compiled"), needs("verilator")])
@pytest.mark.parametrize(("recipe", "sizes", "state", "widths", "places"), CASES)
def test_an_accelerator_writes_by_itself(recipe, sizes, state, widths, places, simulator):
    model = small(recipe, sizes, state)
    machine, design = design_of(model, widths, places)
    inputs = generated(model, 7, 5)
    assert len(np.unique(inputs["token"])) > 1
    check(model, machine, design, inputs, simulator, follows={"token": "next"})


@pytest.mark.slow
@pytest.mark.parametrize("simulator", [needs("compiled")])
def test_sinks_that_stall_move_every_beat_as_the_model_says(simulator):
    """Both outputs stall in patterns of their own, so that the head's FIFOs fill up."""
    model = small("w4a4", "odd")
    machine, design = design_of(model, Lanes(3, 5, 4, 3, 4), shallow_beats=2)
    inputs = generated(model, 11, 4)
    stalls = {
        "sink.logits": (False,) * 9 + (True,) + (False,) * 30,
        "sink.next": (False, False, True, False, False, False, False),
    }
    check(model, machine, design, inputs, simulator, stalls, follows={"token": "next"})

"""Run whole designs and demand every bit of the reference and every cycle of the model."""

import numpy as np

from cosim.design.choices import Choices, Lanes
from cosim.design.sized import sized_design
from cosim.flow.beats import predicted_beats
from cosim.flow.whole import limit_of
from cosim.machine import load_machine
from cosim.reference import run as refer
from hw_models.network import Pattern
from rtl.elaborate import elaborate, one_block
from rtl.hierarchy import export_all
from rtl.simulate import ON_BLOCK
from rtl.whole import outside, run

ON_CHIP = (("weights", "chip"), ("states", "chip"), ("embedding", "chip"))


def design_of(model, lanes, places=ON_CHIP, **choices):
    """Map a model on a machine, all widths alike where one number is given."""
    widths = Lanes(lanes, lanes, lanes, lanes, 64) if isinstance(lanes, int) else lanes
    machine = load_machine("u280")
    return machine, sized_design(model, machine, Choices(widths, places=places, **choices))


def predicted(model, machine, design, tokens, patterns=None):
    """Return the cycle in which each output's beats are taken by the model: [tokens, beats]."""
    allowed = {n: Pattern(p) for n, p in (patterns or {}).items()}
    return predicted_beats(model, machine, design, tokens, allowed)


def check(model, machine, design, inputs, simulator="pyrtl", patterns=None, follows=None):
    """Compare the outputs of a run with the reference's, the cycles with the model's.

    Where an input follows an output, all of its tokens but the first come back from there.
    PyRTL runs all units in one block, the others the Verilog of a module for each.
    """
    made = elaborate(model, design)
    in_one = simulator in ON_BLOCK
    block = one_block(model, design) if in_one else export_all(made).whole
    allowed = {n.split(".", 1)[1]: p for n, p in (patterns or {}).items()}
    count = len(next(iter(inputs.values())))
    own = {n: v[:1] if n in (follows or {}) else v for n, v in inputs.items()}
    around = outside(made, own, count, follows, machine, allowed)
    cycles = predicted(model, machine, design, around.tokens, patterns)
    ran = run(made, block, around, simulator, limit_of(cycles))
    want = refer(model, inputs)
    for name, value in want.outputs.items():
        assert np.array_equal(ran.outputs[name].reshape(value.shape), value), name
    for name, own in cycles.items():
        assert np.array_equal(ran.cycles[name], own), name
    return ran

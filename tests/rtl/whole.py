"""Run whole designs and demand every bit of the reference and every cycle of the model."""

from dataclasses import replace

import numpy as np

from cosim.design import graph_kinds
from cosim.design.choices import Choices, Lanes
from cosim.design.sized import sized_design
from cosim.machine import load_machine
from cosim.reference import run as refer
from hw_models.build import build_network
from hw_models.dataflow import solve
from hw_models.network import Pattern, Program
from rtl.elaborate import elaborate, one_block
from rtl.hierarchy import export_all
from rtl.simulate import ON_BLOCK
from rtl.whole import outside, run, weight_feeds

ON_CHIP = (("weights", "chip"), ("states", "chip"), ("embedding", "chip"))


def design_of(model, lanes, places=ON_CHIP, **choices):
    """Map a model on a machine, all widths alike where one number is given."""
    widths = Lanes(lanes, lanes, lanes, lanes, 64) if isinstance(lanes, int) else lanes
    machine = load_machine("u280")
    return machine, sized_design(model, machine, Choices(widths, places=places, **choices))


def one_by_one(program):
    """Make every firing of a program a task of its own, so that its start is told."""
    kinds, index = [], []
    for i, times in zip(program.index.tolist(), program.times.tolist(), strict=True):
        for _ in range(times):
            kinds.append(replace(program.kinds[i], task=f"firing {len(kinds)}"))
            index.append(len(index))
    return Program(tuple(kinds), np.array(index, np.int64), np.ones(len(index), np.int64))


def predicted(model, machine, design, tokens, patterns=None):
    """Return the cycle in which each sink takes each beat by the model: [tokens, beats]."""
    (kind,) = graph_kinds(model, design.choices.order, design.choices.fused, design.choices.matrix)
    layout = design.layouts[0]
    network = build_network(
        kind.skeleton, layout, design, machine, tokens,
        patterns={n: Pattern(p) for n, p in (patterns or {}).items()},
    )  # fmt: skip
    actors = [
        replace(a, body=one_by_one(a.body), after=one_by_one(a.after))
        if a.name.startswith("sink.") else a
        for a in network.actors
    ]  # fmt: skip
    timing = solve(replace(network, actors=tuple(actors)), tokens if layout.layers > 1 else 1)
    rounds = range(tokens) if layout.layers > 1 else [0]
    found = {}
    for a in actors:
        if not a.name.startswith("sink."):
            continue
        kinds = {k.task: bool(k.pops) for p in a.sections for k in p.kinds}
        starts = [
            s.start_cycle for r in rounds for s in timing.spans(r)
            if s.actor == a.name and kinds[s.task]
        ]  # fmt: skip
        found[a.name] = np.sort(np.array(starts)).reshape(tokens, -1)
    return found


def check(model, machine, design, inputs, simulator="pyrtl", patterns=None):
    """Compare the outputs of a run with the reference's, the cycles with the model's.

    PyRTL runs all units in one block, the others the Verilog of a module for each.
    """
    made = elaborate(model, design)
    in_one = simulator in ON_BLOCK
    block = one_block(model, design) if in_one else export_all(made).whole
    allowed = {n.split(".", 1)[1]: p for n, p in (patterns or {}).items()}
    around = outside(made, inputs, weights=weight_feeds(made, machine), allowed=allowed)
    ran = run(made, block, around, simulator)
    want = refer(model, inputs)
    for name, value in want.outputs.items():
        assert np.array_equal(ran.outputs[name].reshape(value.shape), value), name
    cycles = predicted(model, machine, design, around.tokens, patterns)
    for name, own in cycles.items():
        assert np.array_equal(ran.cycles[name.removeprefix("sink.")], own), name
    return ran

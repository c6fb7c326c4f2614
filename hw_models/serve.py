"""Simulate a workload on one design: a prompt and the tokens that follow it, or tokens alone."""

from __future__ import annotations

from dataclasses import dataclass, replace

from cosim.design import Design, Workload, graph_kinds
from cosim.design.sized import doing
from cosim.ir.model import Model
from cosim.machine import Machine
from hw_models.pace import pace_of
from hw_models.simulate import Simulation, simulate


@dataclass(frozen=True)
class Served:
    """Hold the simulated phases, in order, and when the first token of every sequence is out.

    The last token of a prompt is the first step of generation: all before it are read without what
    follows the layers.
    """

    phases: tuple[Simulation, ...]
    first_token_cycles: int


def serve(
    model: Model, machine: Machine, workload: Workload, design: Design | None = None
) -> Served:
    """Simulate a workload; a prompt is followed by generation on the same design.

    Raise UserError as `simulate` does.
    """
    found = simulate(model, machine, design, workload=workload)
    if not workload.is_prompt:
        return Served((found,), found.latency_cycles)
    seen = workload.context + workload.tokens - 1
    after = Workload(batch=workload.batch, context=seen)
    generated = simulate(model, machine, found.design, workload=after)
    read = 0
    if workload.tokens > 1:
        chosen = found.design.choices
        kinds = graph_kinds(model, chosen.order, chosen.fused, chosen.matrix)
        before = replace(workload, tokens=workload.tokens - 1)
        read = pace_of(model, kinds, doing(found.design, kinds, machine, before), machine
                       ).latency_cycles  # fmt: skip
    return Served((found, generated), read + generated.latency_cycles)

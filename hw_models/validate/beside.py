"""Hold one simulation beside what was published of the same model, bits and machine."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

from cosim.design import Workload
from cosim.ir.model import Model
from cosim.machine import Machine
from hw_models.simulate import Simulation
from hw_models.validate import lightmamba
from hw_models.validate.cut import layers_only
from hw_models.validate.published import BITS, MODEL, PRODUCTS, PUBLISHED, Published, precision
from hw_models.validate.row import Row

_LAYER = re.compile(r"layers\.\d+\.")


@dataclass(frozen=True)
class Beside:
    """Hold a row per published figure of this very case, and a sentence on the others."""

    rows: tuple[Row, ...]
    note: str


@dataclass(frozen=True)
class Linears:
    """Count the products of a token's linear layers, head left out, and what most of them take."""

    macs: int
    bits: BITS


def linears_of(model: Model) -> Linears:
    """Look at the linear layers inside the layers; bits are of weights and inputs, by products."""
    macs: Counter[BITS] = Counter()
    for segment in model.segments:
        types = segment.graph.types
        for node in segment.graph.nodes:
            if node.op.name == "linear" and _LAYER.match(node.name):
                inputs, weights = (types[v] for v in node.inputs[:2])
                macs[weights.dtype.bits, inputs.dtype.bits] += weights.size
    bits = macs.most_common(1)[0][0] if macs else (0, 0)
    return Linears(sum(macs.values()), bits)


def beside(model: Model, machine: Machine, load: Workload, found: Simulation) -> Beside:
    """Compare a simulation with the published figures of its model, bits and machine.

    The first row has the speed in the widths that were published, the others this very run.
    """
    there = [p for p in PUBLISHED if p.machine == machine.name]
    own = linears_of(model)
    case = [p for p in there if own.macs == PRODUCTS and p.bits == own.bits]
    if not there:
        return Beside((), _none_here(machine))
    if not case or not _is_one_token(load):
        return Beside((), _another_case(there, own, load))
    (one,) = case
    rows = [
        *_described(one, model, machine),
        *(
            Row(
                f"{one.design} {one.precision}", name, unit, one.source, given,
                modelled=_modelled(name, found),
                rests_on="this run: a design of our own, with embedding and head",
            )
            for name, unit, given in one.figures
        ),
    ]  # fmt: skip
    return Beside(tuple(rows), "`cosim validate` holds designs in its own widths against it")


def _is_one_token(load: Workload) -> bool:
    return load.phase == "decode" and load.batch == 1


def _modelled(name: str, found: Simulation) -> float:
    if name == "speed":
        return found.tokens_per_second
    if name == "energy":
        return 1e12 / found.energy_pj_per_token
    return found.design.resources[name.lower()]


def _described(one: Published, model: Model, machine: Machine) -> tuple[Row, ...]:
    """Simulate the layers in the widths that were published, as the board runs them."""
    choices = lightmamba.DESCRIBED.get(machine.name)
    if choices is None or len(model.segments) != 1:
        return ()
    found = lightmamba.run(layers_only(model), machine, choices)
    return (
        Row(
            f"{one.design} {one.precision}", "speed", "tokens/s", one.source, one.given("speed"),
            modelled=found.tokens_per_second,
            rests_on="this graph in its own widths, layers alone, as its board runs them; see "
            "`cosim validate`",
        ),
    )  # fmt: skip


def _none_here(machine: Machine) -> str:
    told = ", ".join(dict.fromkeys(p.machine for p in PUBLISHED))
    return (
        f"nothing to compare: no published accelerator is described by {machine.name}; there are "
        f"{told}, all of them about {MODEL}; `cosim validate` prints them all"
    )


def _another_case(there: list[Published], own: Linears, load: Workload) -> str:
    of = " and ".join(p.precision for p in there)
    same = "" if own.macs == PRODUCTS else "another model"
    bits = "" if own.bits in [p.bits for p in there] else precision(own.bits)
    work = "" if _is_one_token(load) else load.text()
    return (
        f"nothing to compare: {there[0].design} was published about {MODEL} in {of}, one sequence "
        f"being decoded; this is {', '.join(p for p in (same, bits, work) if p)}"
    )

"""Draw units that the fit of the resource model never saw, synthesise them, and say its errors.

Call: `python -m tests.benchmarks.resource_held_out` adds to `resource_held_out.jsonl` what is not
there yet of the draw; `python -m tests.benchmarks.resource_fit --held-out` prints the errors. The
draw follows from SEED alone and was fixed before any of it was synthesised: four units a kind, of
small random models, rotations and linear layers at lanes that are drawn too. A draw that has no
wires (lanes that cut a group, say) is drawn again.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path

from cosim.design import graph_kinds
from cosim.design.features import Size
from cosim.design.logic import unit_sizes
from cosim.ir.errors import UserError
from cosim.ir.model import Model
from cosim.machine import load_machine
from cosim.ops import Hadamard
from rtl.elaborate import elaborate
from rtl.export import Verilog, export
from rtl.synth import synthesised
from tests.benchmarks.resource_samples import MACHINE, Sample, design_of
from tests.rtl.units.linears import linears
from tests.rtl.units.models import small
from tests.rtl.units.singles import singles

SEED, EACH = 20261124, 4
KINDS = ("matrix", "hadamard", "fir", "state", "norm", "vector")
ROWS = Path(__file__).with_suffix(".jsonl")
FIRST_LANES = 8


@cache
def held_out_graph(name: str) -> Model:
    """Return the graph of a name: `small:recipe:sizes`, `hadamard:order:bits`, `linear:numbers`."""
    kind, *words = name.split(":")
    if kind == "small":
        return small(words[0], words[1])
    numbers = tuple(map(int, words))
    if kind == "hadamard":
        order, bits = numbers
        return singles((Hadamard(order), (2 * order,), f"i{bits}"))
    return linears(numbers)


def drawn(rng: random.Random, kind: str) -> Sample:
    """Draw a graph and widths; which unit of its kind is drawn by `held_out`."""
    wide = rng.choice([2, 3, 4, 5, 6, 8, 10, 12])
    if kind == "hadamard":
        graph = f"hadamard:{rng.choice([16, 24, 32, 40, 48, 80, 96, 128])}:{rng.randint(6, 14)}"
        return Sample(graph, (2, 2, wide, wide), "chip", "")
    if kind == "matrix":
        k = rng.choice([24, 32, 48, 80])
        graph = f"linear:{rng.randint(8, 40)}:{k}:{rng.choice([4, 8])}:{rng.choice([4, 6, 8])}"
        graph += f":{k}:{rng.choice([0, 8, 16])}"
        graph += ":3" if not graph.endswith(":0") else ":0"
        lanes = rng.choice([1, 2, 3, 4, 6]), rng.choice([2, 4, 6, 8, 12])
        return Sample(graph, (*lanes, FIRST_LANES, FIRST_LANES), rng.choice(["chip", "memory"]), "")
    graph = f"small:{rng.choice(['w4a4', 'w8a8', 'w4a8'])}:{rng.choice(['even', 'odd'])}"
    return Sample(graph, (2, 2, wide, wide), "memory", "")


@dataclass(frozen=True)
class Drawn:
    """Hold a unit of the draw: what is known of it before synthesis, and its Verilog."""

    sample: Sample
    kind: str
    size: Size
    dsps: int
    verilog: Verilog


def held_out(seed: int = SEED) -> Iterator[Drawn]:
    """Give every unit of the draw; no two of one size."""
    for kind in KINDS:
        rng = random.Random(f"{seed} {kind}")
        known: list[Size] = []
        while len(known) < EACH:
            try:
                found = _built(drawn(rng, kind), kind, rng.random())
            except UserError:
                continue
            if found.size not in known:
                known.append(found.size)
                yield found


def _built(sample: Sample, kind: str, chosen: float) -> Drawn:
    model = held_out_graph(sample.graph)
    design = design_of(model, sample)
    names = [u.name for u in design.units if u.kind == kind]
    sample = replace(sample, unit=names[int(chosen * len(names))])
    made = elaborate(model, design)
    verilog = export(made.block(sample.unit), made.modules[sample.unit])
    c = design.choices
    kinds = graph_kinds(model, c.order, c.fused, c.matrix)
    sizes = unit_sizes(design, kinds, load_machine(MACHINE[sample.family]), "tool")
    unit, size, dsps = next(s for s in sizes if s[0].name == sample.unit)
    return Drawn(sample, unit.kind, size, dsps, verilog)


def in_turn() -> list[Drawn]:
    """Return the draw in the order in which it is synthesised: the shortest Verilog first."""
    return sorted(held_out(), key=lambda d: len(d.verilog.text))


def measure(out: Path) -> None:
    """Synthesise what the file does not have yet, and add it."""
    lines = out.read_text().splitlines() if out.exists() else []
    there = {json.dumps(json.loads(line)["sample"]) for line in lines}
    for one in in_turn():
        if one.sample.key in there:
            continue
        began = time.perf_counter()
        found = synthesised(one.verilog, one.sample.family)
        row = {
            "sample": asdict(one.sample), "kind": one.kind,
            "amounts": dict(sorted(one.size.amounts.items())), "facts": dict(one.size.facts),
            "dsps": one.dsps, "found": {k: v for k, v in asdict(found).items() if k != "module"},
        }  # fmt: skip
        print(f"{one.sample.key}: {time.perf_counter() - began:.0f} s", flush=True)
        with out.open("a") as file:
            file.write(json.dumps(row) + "\n")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--out", type=Path, default=ROWS, help="file of rows, a line each")
    parser.add_argument("--list", action="store_true", help="print the draw, synthesise nothing")
    args = parser.parse_args()
    if not args.list:
        measure(args.out)
        return
    for one in held_out():
        print(one.sample.key)


if __name__ == "__main__":
    main()

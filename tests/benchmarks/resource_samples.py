"""Synthesise a planned sample of units, for the fit of the resource model (`resource_fit`).

Call: `python -m tests.benchmarks.resource_samples RUN/graph -o FILE`, where RUN is a run folder of
`cosim walk mamba2-py-1m --recipe w4a4 --recipe w8a8 --recipe lightmamba`. Each sample is a line of
the file; what stands there is not done again, so that the call can be stopped and resumed.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

from cosim.design import Choices, Design, Lanes, sized_design
from cosim.ir.errors import UserError
from cosim.ir.file import load_model
from cosim.ir.model import Model
from cosim.machine import load_machine
from cosim.ops import OPS, Hadamard
from rtl.elaborate import elaborate
from rtl.export import export
from rtl.synth import synthesised
from tests.rtl.units.linears import linears
from tests.rtl.units.singles import singles

MACHINE = {"xcup": "u280", "xc7": "fastmamba-vc709"}
PREFETCH = 64
# Graphs of one operator, for sizes that the shipped model has not: (operator, shape, input type).
SINGLES = {
    "hadamard-64": (Hadamard(64), (128,), "i12"),
    "hadamard-320": (Hadamard(320), (640,), "i16"),
    "hadamard-1280": (Hadamard(1280), (1280,), "i16"),
}


# Linear layers: rows, columns, bits of weights and inputs, their groups, bits of mantissas.
LINEARS = {"linear-4": (64, 128, 4, 4, 16, 16, 3)}


@dataclass(frozen=True)
class Sample:
    """Say what is synthesised: a unit of a graph's design of four widths."""

    graph: str
    lanes: tuple[int, int, int, int]
    weights: str
    unit: str
    family: str = "xcup"

    @property
    def key(self) -> str:
        """Return what tells samples apart."""
        return json.dumps(asdict(self))


def plan() -> Iterator[tuple[str, tuple[int, int, int, int], str, tuple[str, ...], str]]:
    """Give graph, widths, where weights are, kinds of units, and the family.

    Ordered so that any beginning of the plan has something of each kind.
    """
    chain = ("vector", "switch", "source", "sink")
    others = ("state", "fir", "hadamard", "norm")
    every = (*chain, *others, "memory")

    def matrices(*sizes: tuple[str, int, int]) -> Iterator[tuple]:
        for graph, rows, columns in sizes:
            yield graph, (rows, columns, 8, 8), "memory", ("matrix",), "xcup"

    def of(graph: str, wide: int, kinds: tuple[str, ...]) -> tuple:
        return graph, (8, 8, wide, wide), "memory", kinds, "xcup"

    yield from matrices(("linear-4", 4, 8), ("linear-4", 2, 16))
    yield of("w4a4", 8, every)
    yield from matrices(("w4a4", 8, 8), ("w8a8", 4, 8), ("w4a4", 4, 16))
    yield of("w8a8", 4, others)
    yield of("w4a4", 2, others)
    yield of("w4a4", 2, chain)
    yield from matrices(("w8a8", 2, 16), ("w4a4", 2, 8))
    yield of("lightmamba", 8, (*chain, *others))
    for graph, wide in (("hadamard-64", 8), ("hadamard-320", 4), ("hadamard-64", 16)):
        yield of(graph, wide, ("hadamard",))
    yield of("w8a8", 4, chain)
    yield of("w8a8", 16, ("state", "fir", "hadamard"))
    yield from matrices(("w4a4", 2, 32), ("w8a8", 2, 4))
    yield of("w4a4", 16, (*chain, "norm"))
    yield "w4a4", (4, 4, 4, 4), "memory", ("matrix", "vector", *others), "xc7"
    yield of("w4a4", 4, ("vector", *others))
    yield of("lightmamba", 4, ("state", "fir", "norm"))
    yield of("hadamard-320", 8, ("hadamard",))
    yield of("w8a8", 16, chain)


# Units with tables of a thousand entries a lane: yosys takes minutes for more lanes.
WIDE_TABLES, TABLE_LANES = ("vector.k", "vector.act", "vector.gated"), 4


@cache
def graph_of(folder: Path, name: str) -> Model:
    """Return a graph of the run, or one of single operators."""
    if name in SINGLES:
        return singles(SINGLES[name])
    if name in LINEARS:
        return linears(LINEARS[name])
    return load_model(folder / name, OPS)


def design_of(model: Model, sample: Sample) -> Design:
    """Return the design that a sample's unit is of."""
    places = {"weights": sample.weights, "states": "chip", "embedding": "chip"}
    choices = Choices(Lanes(*sample.lanes, PREFETCH), places=tuple(places.items()))
    return sized_design(model, load_machine(MACHINE[sample.family]), choices)


def samples(folder: Path) -> Iterator[tuple[Sample, Model, Design]]:
    """Give every sample of the plan."""
    for graph, lanes, weights, kinds, family in plan():
        model = graph_of(folder, graph)
        design = design_of(model, Sample(graph, lanes, weights, "", family))
        for unit in design.units:
            slow = unit.name in WIDE_TABLES and unit.lanes > TABLE_LANES
            if unit.kind in kinds and not slow:
                yield Sample(graph, lanes, weights, unit.name, family), model, design


def measure(folder: Path, out: Path) -> None:
    """Synthesise what the file does not have yet, and add it."""
    lines = out.read_text().splitlines() if out.exists() else []
    known = {json.dumps(json.loads(line)["sample"]) for line in lines}
    made_of: dict[int, object] = {}
    for sample, model, design in samples(folder):
        if sample.key in known:
            continue
        if id(design) not in made_of:
            made_of = {id(design): elaborate(model, design)}
        made = made_of[id(design)]
        began = time.perf_counter()
        try:
            verilog = export(made.block(sample.unit), made.modules[sample.unit])
        except UserError as error:
            print(f"left out, {sample.key}: {error}")
            continue
        found = synthesised(verilog, sample.family)
        row = {
            "sample": asdict(sample), "kind": design.unit(sample.unit).kind,
            "found": {k: v for k, v in asdict(found).items() if k != "module"},
            "seconds": round(time.perf_counter() - began, 1),
        }  # fmt: skip
        with out.open("a") as file:
            file.write(json.dumps(row) + "\n")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="graphs by recipe")
    parser.add_argument(
        "-o", "--out", type=Path, required=True, help="file of samples, a line each"
    )
    args = parser.parse_args()
    measure(args.folder, args.out)


if __name__ == "__main__":
    main()

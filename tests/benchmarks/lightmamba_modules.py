"""Set our decay-times-state and product with B beside LightMamba's modules, operand for operand.

Call: `python -m tests.benchmarks.lightmamba_modules`. Their modules and widths are those of their
released code: `src/dAh.h`, `src/dBu.h` and `src/common.h` of PKU-SEC-Lab/LightMamba at 084bcfca: 8
lanes, a product of two 8-bit codes a lane, shifted left by the sum of two exponents (34 and 37 bits
kept) and right by 6 and 11 bits to 32-bit numbers. What they take is in its README: their own
synthesis by Vitis HLS and Vivado. Ours are vector units of one `mul_shift`, synthesised by yosys:
another tool, and ours saturate where theirs wrap. Their sizes of the Hadamard unit are not
published.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from cosim.design import Choices, Design, Lanes, sized_design
from cosim.ir.graph import GraphBuilder
from cosim.ir.model import Model
from cosim.ir.op import Op
from cosim.ir.types import IntType, TensorType, i
from cosim.machine import load_machine
from cosim.ops import Mul, MulShift
from reports.table import Column, Table
from rtl.elaborate import elaborate
from rtl.export import export
from rtl.synth import synthesised
from tests.hw_models.graphs import model_of

LANES, HEADS, ROWS = 8, 8, 16
# Their FIFOs lie between modules; ours behind a unit: two places are a register slice.
FIFO = 2
DAH, DBU, STATE = "decay x state (DAH)", "product with B (DBU)", "decay x state, our formats"


@dataclass(frozen=True)
class Theirs:
    """Hold what LightMamba's README gives of a module of 8 lanes."""

    luts: int
    ffs: int
    dsps: int


# Their README at 7dd1d82c, section 4.2 (`proj_DAH`, `proj_DBU`).
PUBLISHED: Mapping[str, Theirs] = {DAH: Theirs(1211, 1019, 8), DBU: Theirs(1341, 937, 8)}


def modules() -> dict[str, Model]:
    """Return a graph of each module.

    Exponents have their 4 bits; of the second no more is allowed than keeps every shifted product
    in their 34 and 37 bits.
    """
    exponent, code = IntType(4, signed=False), i(8)

    def scale(hi: int, *shape: int) -> TensorType:
        return TensorType(exponent, shape, 0, hi)

    heads = (HEADS, ROWS, LANES)
    return {
        # A decay for each head, between 0 and 1; exponents of 0 to 15 and of 0 to 4.
        DAH: _product(
            MulShift(6, i(32)),
            a=TensorType(code, (HEADS, 1, 1), 0, 127), b=TensorType.full(code, heads),
            s=scale(4, HEADS, 1, 1), t=scale(15, HEADS, ROWS, 1),
        ),
        # B is kept while the rows of one head pass; 0 to 15 and 0 to 6.
        DBU: _product(
            MulShift(11, i(32)),
            a=TensorType.full(code, (1, ROWS, 1)), b=TensorType.full(code, (HEADS, 1, LANES)),
            s=scale(15, 1, ROWS, 1), t=scale(6, HEADS, 1, 1),
        ),
        # As in the shipped model's `decay_update`: a state of 16 bits, a decay of 20, rounded.
        STATE: _product(
            Mul(i(16)),
            a=TensorType(IntType(20, signed=False), (HEADS, 1, 1), 0, (1 << 20) - 1),
            b=TensorType.full(i(16), heads), shift=20,
        ),
    }  # fmt: skip


def _product(op: Op, shift: int | None = None, **operands: TensorType) -> Model:
    b = GraphBuilder("step")
    names = [b.input(name, type_) for name, type_ in operands.items()]
    if shift is not None:
        names.append(b.const("shift", np.full((1, 1, 1), shift), i(8)))
    b.output("y", b.add("product", op, *names))
    return model_of(b)


def design_of(model: Model, fifo: int = FIFO) -> Design:
    """Return the design of a module: 8 lanes, and FIFOs of so many places."""
    lanes = Lanes(2, 2, LANES, LANES, 16)
    return sized_design(model, load_machine("u280"), Choices(lanes, shallow_beats=fifo))


def measured(family: str) -> Table:
    """Synthesise the modules and set each lane beside LightMamba's."""
    rows = []
    for name, model in modules().items():
        design = design_of(model)
        made = elaborate(model, design)
        (unit,) = (u for u in design.units if u.kind == "vector")
        found = synthesised(export(made.block(unit.name), made.modules[unit.name]), family)
        theirs = PUBLISHED.get(name)
        given = (theirs.luts, theirs.ffs, theirs.dsps) if theirs else (None, None, None)
        rows.append(
            (
                name, found.luts, found.ffs, found.dsps, found.luts / LANES, found.ffs / LANES,
                found.dsps / LANES, *(None if x is None else x / LANES for x in given), found.tool,
            )
        )  # fmt: skip
    columns = (
        Column("module", "module"),
        *(Column(n, n.upper(), "measured") for n in ("lut", "ff", "dsp")),
        *(Column(f"{n}_lane", f"{n.upper()} a lane", "derived") for n in ("lut", "ff", "dsp")),
        *(Column(f"{n}_given", f"LightMamba's {n.upper()}", "given") for n in ("lut", "ff", "dsp")),
        Column("tool", "ours counted by"),
    )
    title = f"Products of the state, {LANES} lanes, {family}; LightMamba's by Vitis HLS and Vivado"
    return Table("lightmamba_modules", title, columns, tuple(rows))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--family", default="xcup")
    print(measured(parser.parse_args().family).text(), end="")


if __name__ == "__main__":
    main()

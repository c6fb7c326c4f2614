"""Build small datapaths and run them: what the tests of wires share."""

from collections.abc import Callable, Sequence
from itertools import product

import numpy as np
import pyrtl
import z3

from cosim.ir.types import IntType, TensorType, signed_bits
from rtl.netlist import building
from rtl.numerics import Int, of_bits
from rtl.prove import prove, signed_value, terms_of
from rtl.symbolic import Symbols


def is_flag(x) -> bool:
    return not isinstance(x, Int)


def build(make: Callable, types: Sequence[TensorType]):
    """Build `make(*values)` over inputs i0, i1, ...; return (block, result) with output `o`."""
    with building() as block:
        wires = [pyrtl.Input(t.dtype.bits, f"i{k}") for k, t in enumerate(types)]
        result = make(*(of_bits(w, t) for w, t in zip(wires, types, strict=True)))
        wire = result if is_flag(result) else result.wire
        out = pyrtl.Output(len(wire), "o")
        out <<= wire
    return block, result


def decode(word: int, dtype: IntType) -> int:
    """Read a word as a two's-complement integer."""
    return word - (1 << dtype.bits) if dtype.signed and word >> (dtype.bits - 1) else word


def run(block, rows: Sequence[Sequence[int]], types: Sequence[TensorType]) -> list[int]:
    """Return the output word of each row of inputs."""
    simulation = pyrtl.FastSimulation(tracer=None, block=block)
    found = []
    for row in rows:
        words = {
            f"i{k}": v & ((1 << t.dtype.bits) - 1)
            for k, (v, t) in enumerate(zip(row, types, strict=True))
        }
        simulation.step(words)
        found.append(simulation.inspect("o"))
    return found


def every_row(types: Sequence[TensorType]) -> list[tuple[int, ...]]:
    """List every combination of the values in the types' bounds."""
    return list(product(*(range(t.lo, t.hi + 1) for t in types)))


def compare(make: Callable, plain: Callable, types: Sequence[TensorType], rows=None) -> None:
    """Demand that wires give what a plain function gives, inside the bounds that they claim."""
    rows = every_row(types) if rows is None else rows
    block, result = build(make, types)
    words = run(block, rows, types)
    want = [int(v) for v in plain(*(np.array(column) for column in zip(*rows, strict=True)))]
    got = words if is_flag(result) else [decode(w, result.dtype) for w in words]
    assert got == want
    if not is_flag(result):
        assert result.lo <= min(want), f"{min(want)} is below the claimed {result.lo}"
        assert max(want) <= result.hi, f"{max(want)} is above the claimed {result.hi}"


def prove_equal(
    make: Callable, plain: Callable, types: Sequence[TensorType], bits: int, limit_s: float = 60
):
    """Prove for all inputs that wires give what a plain function of symbols gives."""
    block, result = build(make, types)
    names = {f"i{k}": z3.BitVec(f"i{k}", t.dtype.bits) for k, t in enumerate(types)}
    wide = [
        signed_value(v, bits, t.dtype.signed) for v, t in zip(names.values(), types, strict=True)
    ]
    facts = [z3.And(w >= t.lo, w <= t.hi) for w, t in zip(wide, types, strict=True)]
    want = plain(*(Symbols(np.array(w, dtype=object), bits) for w in wide)).data[()]
    if z3.is_bool(want):
        want = z3.If(want, z3.BitVecVal(1, bits), z3.BitVecVal(0, bits))
    is_signed = not is_flag(result) and result.dtype.signed
    got = signed_value(terms_of(block, names)["o"], bits, is_signed)
    return prove(facts, [got], [want], names, limit_s)


def width_of(*ends: int) -> int:
    """Return a width that holds all the ends."""
    return signed_bits(min(ends), max(ends))

"""Prove that a block of wires gives an operator's integers, for every input: z3 on the netlist.

The nets of the PyRTL block are read one by one into bit-vectors; nothing of the datapath is written
a second time. The other side is the operator's own meaning, run on symbols (`rtl/symbolic.py`).
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pyrtl
import z3

from cosim.ir.errors import InternalError
from rtl.netlist import Block, is_rom, nets_of, ports, rom_data
from rtl.symbolic import look_up


@dataclass(frozen=True)
class Proof:
    """Hold what z3 says: proved, refuted by inputs that it names, or unknown in the time given."""

    verdict: Literal["proved", "refuted", "unknown"]
    seconds: float
    counterexample: Mapping[str, int]

    def __bool__(self) -> bool:
        """Tell whether it is proved."""
        return self.verdict == "proved"


def terms_of(block: Block, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return each output of a block without registers as a term over its inputs' bit-vectors."""
    value: dict[str, Any] = {}
    for wire in block.wirevector_set:
        if isinstance(wire, pyrtl.Const):
            value[wire.name] = z3.BitVecVal(wire.val, len(wire))
        elif isinstance(wire, pyrtl.Input):
            value[wire.name] = inputs[wire.name]
    for net in nets_of(block):
        if net.op in "r@":
            raise InternalError(f"{net} has a memory: only what is done in one cycle is proved")
        args = [value[a.name] for a in net.args]
        value[net.dests[0].name] = term_of(net.op, _param(net), len(net.dests[0]), args)
    return {w.name: value[w.name] for w in ports(block)[1]}


def prove(
    facts: Sequence[Any], left: Sequence[Any], right: Sequence[Any], names: Mapping[str, Any],
    limit_s: float = 60,
) -> Proof:  # fmt: skip
    """Ask z3 whether left and right agree wherever the facts hold."""
    solver = z3.Solver()
    solver.set("timeout", int(limit_s * 1000))
    solver.add(*facts)
    solver.add(z3.Or(*(a != b for a, b in zip(left, right, strict=True))))
    start = time.monotonic()
    answer = solver.check()
    seconds = time.monotonic() - start
    if answer == z3.unsat:
        return Proof("proved", seconds, {})
    if answer != z3.sat:
        return Proof("unknown", seconds, {})
    model = solver.model()
    found = {n: model.eval(t, model_completion=True).as_signed_long() for n, t in names.items()}
    return Proof("refuted", seconds, found)


def signed_value(term: Any, bits: int, is_signed: bool) -> Any:
    """Widen a bit-vector to `bits` by its declared sign."""
    extra = bits - term.size()
    if extra < 0:
        raise InternalError(f"a term of {term.size()} bits does not fit {bits}")
    if extra == 0:
        return term
    return z3.SignExt(extra, term) if is_signed else z3.ZeroExt(extra, term)


def term_of(op: str, param: Any, width: int, args: Sequence[Any]) -> Any:
    """Return what an operation of PyRTL's gives; `param` are a select's bits, a ROM's words."""
    a, b = args[0], args[-1]
    if op in "+-*&|^n=<>" and op:
        wide = max(a.size(), b.size(), width)
        x, y = (z3.ZeroExt(wide - t.size(), t) if wide > t.size() else t for t in (a, b))
        if op in "=<>":
            flag = x == y if op == "=" else z3.ULT(x, y) if op == "<" else z3.UGT(x, y)
            return z3.If(flag, z3.BitVecVal(1, 1), z3.BitVecVal(0, 1))
        whole = {
            "+": lambda: x + y, "-": lambda: x - y, "*": lambda: x * y,
            "&": lambda: x & y, "|": lambda: x | y, "^": lambda: x ^ y, "n": lambda: ~(x & y),
        }[op]()  # fmt: skip
        return whole if wide == width else z3.Extract(width - 1, 0, whole)
    if op == "~":
        return ~a
    if op == "w":
        return a
    if op == "x":
        return z3.If(args[0] == 1, args[2], args[1])
    if op == "c":
        return z3.Concat(*args) if len(args) > 1 else a
    if op == "s":
        return _selected(a, param)
    if op in {"m", "rom"}:
        return look_up([z3.BitVecVal(v, width) for v in param], a)
    raise InternalError(f"no rule to prove {op!r}")


def _param(net: Any) -> Any:
    if net.op != "m":
        return net.op_param
    memory = net.op_param[1]
    if not is_rom(memory):
        raise InternalError(f"{net} has a memory: only what is done in one cycle is proved")
    return rom_data(memory)


def _selected(a: Any, bits: Sequence[int]) -> Any:
    """Join runs of consecutive bits, so that the term stays short; equal bits are a run too."""
    parts, at = [], 0
    while at < len(bits):
        stop = at + 1
        while stop < len(bits) and bits[stop] == bits[stop - 1] + 1:
            stop += 1
        parts.append(z3.Extract(bits[stop - 1], bits[at], a))
        at = stop
    return z3.Concat(*reversed(parts)) if len(parts) > 1 else parts[0]

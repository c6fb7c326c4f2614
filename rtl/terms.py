"""Hold what wires carry as a shared graph of terms: for z3, or computed for many inputs at once.

What is known is a plain integer; everything else is a `Term`, made once: equal terms are the same
object. So control that does not depend on data stays integers, and only data become terms.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
import z3

from cosim.ir.errors import InternalError
from rtl.prove import term_of


@dataclass(frozen=True, eq=False)
class Term:
    """Hold an operation of PyRTL's on terms and integers, or a variable (`op` "var").

    `param` is what the operation needs besides: bits, a table, the variable's name.
    """

    op: str
    param: Any
    args: tuple[Value, ...]
    arg_bits: tuple[int, ...]
    bits: int


Value: TypeAlias = int | Term


@dataclass
class Terms:
    """Make terms, each once."""

    made: dict[tuple[Any, ...], Term] = field(default_factory=dict)

    def variable(self, name: str, bits: int) -> Term:
        """Return the variable of a name."""
        return self._term("var", name, (), (), bits)

    def apply(
        self, op: str, param: Any, args: Sequence[Value], arg_bits: Sequence[int], bits: int
    ) -> Value:
        """Return what an operation gives: an integer where nothing unknown is in it."""
        if all(isinstance(a, int) for a in args):
            return int(compute(op, param, list(args), arg_bits, bits))
        if op == "w":
            return args[0]
        if op == "x" and isinstance(args[0], int):
            return args[2] if args[0] else args[1]
        if op == "x" and args[1] is args[2]:
            return args[1]
        if op == "&" and 0 in args:
            return 0
        if op == "c" and len(args) == 1:
            return args[0]
        if op == "s" and isinstance(args[0], Term):
            low = self._cut(args[0], param)
            if low is not None:
                return low
        return self._term(op, param, tuple(args), tuple(arg_bits), bits)

    def select(self, x: Value, bits: Sequence[int], width: int) -> Value:
        """Return bits of a value of `width` bits, least significant first."""
        return self.apply("s", tuple(bits), (x,), (width,), len(bits))

    def concat(self, parts: Sequence[tuple[Value, int]]) -> Value:
        """Join values with their widths, the highest first."""
        values, bits = zip(*parts, strict=True)
        return self.apply("c", None, values, bits, sum(bits))

    def _cut(self, whole: Term, bits: Sequence[int]) -> Value | None:
        """Take neighbouring bits out of what was joined, where they lie in one part."""
        if tuple(bits) == tuple(range(whole.bits)):
            return whole
        if whole.op != "c" or any(b - a != 1 for a, b in pairwise(bits)):
            return None
        low = 0
        for part, width in zip(reversed(whole.args), reversed(whole.arg_bits), strict=True):
            if low <= bits[0] and bits[-1] < low + width:
                return self.select(part, [b - low for b in bits], width)
            low += width
        return None

    def _term(
        self, op: str, param: Any, args: tuple[Value, ...], arg_bits: tuple[int, ...], bits: int
    ) -> Term:
        known = (op, param, tuple(a if isinstance(a, int) else ("t", id(a)) for a in args), bits)
        if known not in self.made:
            self.made[known] = Term(op, param, args, arg_bits, bits)
        return self.made[known]


def compute(
    op: str, param: Any, args: Sequence[Any], arg_bits: Sequence[int], bits: int
) -> Any:  # fmt: skip
    """Compute an operation of PyRTL's on integers, or on arrays of them."""
    mask = (1 << bits) - 1
    a, b = args[0], args[-1]
    if op in {"w", "~"}:
        return a if op == "w" else a ^ mask
    if op in {"+", "-", "*", "&", "|", "^"}:
        found = {
            "+": lambda: a + b, "-": lambda: a - b, "*": lambda: a * b, "&": lambda: a & b,
            "|": lambda: a | b, "^": lambda: a ^ b,
        }[op]()  # fmt: skip
        return found & mask
    if op in {"=", "<", ">"}:
        return (a == b if op == "=" else a < b if op == "<" else a > b) * 1
    if op == "n":
        return (a & b) ^ mask
    if op == "x":
        return (args[2] if a else args[1]) if isinstance(a, int) else np.where(a, args[2], args[1])
    if op == "c":
        whole = args[0]
        for part, width in zip(args[1:], arg_bits[1:], strict=True):
            whole = whole << width | part
        return whole
    if op == "s":
        return _bits_of(a, param)
    if op == "rom":
        table = np.array(param.words, dtype=np.uint64 if bits <= 63 else object)
        return param.words[a] if isinstance(a, int) else table[a.astype(np.int64)]
    raise InternalError(f"no rule to compute {op!r}")


@dataclass(frozen=True, eq=False)
class Rom:
    """Hold the words of a read-only memory."""

    words: Sequence[int]


def evaluate(term: Value, inputs: Mapping[str, np.ndarray]) -> Any:
    """Return a term's integers, unsigned as its bits stand, where variables are arrays."""
    found: dict[int, Any] = {}
    wide = any(b > 63 for t in in_order(term) for b in (t.bits, *t.arg_bits))
    for t in in_order(term):
        if t.op == "var":
            value = np.asarray(inputs[t.param]) & ((1 << t.bits) - 1)
            found[id(t)] = value.astype(object if wide else np.uint64)
            continue
        args = [_array(a, wide) if isinstance(a, int) else found[id(a)] for a in t.args]
        value = compute(t.op, t.param, args, t.arg_bits, t.bits)
        found[id(t)] = np.asarray(value).astype(object if wide else np.uint64)
    return term if isinstance(term, int) else found[id(term)]


def as_z3(
    term: Value, bits: int, variables: Mapping[str, Any], known: dict[int, Any] | None = None
) -> Any:  # fmt: skip
    """Return a term of `bits` bits as a bit-vector over z3's variables."""
    known = {} if known is None else known
    for t in in_order(term):
        if id(t) in known:
            continue
        if t.op == "var":
            known[id(t)] = variables[t.param]
            continue
        args = [
            z3.BitVecVal(a, n) if isinstance(a, int) else known[id(a)]
            for a, n in zip(t.args, t.arg_bits, strict=True)
        ]
        param = t.param.words if t.op == "rom" else t.param
        known[id(t)] = term_of(t.op, param, t.bits, args)
    return z3.BitVecVal(term, bits) if isinstance(term, int) else known[id(term)]


def in_order(term: Value) -> list[Term]:
    """Return a term and all below it, what is needed first."""
    if isinstance(term, int):
        return []
    done: set[int] = set()
    found: list[Term] = []
    stack: list[tuple[Term, bool]] = [(term, False)]
    while stack:
        t, is_open = stack.pop()
        if id(t) in done:
            continue
        if is_open:
            done.add(id(t))
            found.append(t)
            continue
        stack.append((t, True))
        stack += [(a, False) for a in reversed(t.args) if isinstance(a, Term)]
    return found


def _array(value: int, wide: bool) -> Any:
    return np.array(value, dtype=object if wide else np.uint64)


def _bits_of(value: Any, bits: Sequence[int]) -> Any:
    """Wire bits up, runs of neighbours at once."""
    whole: Any = 0
    at = 0
    while at < len(bits):
        stop = at + 1
        while stop < len(bits) and bits[stop] == bits[stop - 1] + 1:
            stop += 1
        run = (value >> bits[at]) & ((1 << (stop - at)) - 1)
        whole = run << at | whole
        at = stop
    return whole

"""Ask z3 about one step of a chain, and draw inputs for it."""

from dataclasses import dataclass

import numpy as np
import z3

from cosim.ir.types import TensorType
from rtl.prove import Proof, prove, signed_value


@dataclass
class Asked:
    """Hold what z3 is asked: two terms, the second's bounds, their variables and their types."""

    got: object
    want: object
    ends: tuple[int, int]
    types: dict[str, TensorType | None]
    own: dict[str, z3.BitVecRef]

    def prove(self, limit_s: float, bits: int = 0) -> Proof:
        """Ask whether the terms agree and lie in the bounds, for variables of so many bits."""
        inside = z3.And(self.want >= self.ends[0], self.want <= self.ends[1])
        left = [self.got, z3.If(inside, z3.BitVecVal(1, 1), z3.BitVecVal(0, 1))]
        right = [self.want, z3.BitVecVal(1, 1)]
        return prove(self.facts(bits), left, right, dict(self.own), limit_s)

    def facts(self, bits: int = 0) -> list:
        """Return the bounds of the variables, in `bits` bits of them where that is not 0."""
        found = []
        for name, t in self.types.items():
            if t is None:
                continue
            lo, hi = t.lo, t.hi
            if bits:
                near = min(max(0, lo), hi)
                lo, hi = max(lo, near - (1 << (bits - 1))), min(hi, near + (1 << (bits - 1)) - 1)
            value = signed_value(self.own[name], self.own[name].size() + 1, t.dtype.signed)
            found += [value >= lo, value <= hi]
        return found


def drawn(rng: np.random.Generator, t: TensorType, count: int) -> np.ndarray:
    """Draw values in a type's bounds: a third anywhere, a third of every magnitude, some ends."""
    whole = rng.integers(t.lo, t.hi, count, endpoint=True)
    width = rng.integers(0, max(abs(t.lo), t.hi).bit_length() + 1, count)
    size = rng.integers(0, 1 << 62, count) >> (62 - width)
    some = np.clip(np.where(rng.random(count) < 0.5, -size, size), t.lo, t.hi)
    ends = rng.choice([t.lo, t.hi], count)
    return np.choose(rng.integers(0, 5, count), [whole, whole, some, some, ends])


def variables_of(term) -> list:
    """Return the variables of a bit-vector term."""
    seen: set[int] = set()
    found, stack = [], [term]
    while stack:
        t = stack.pop()
        if t.get_id() in seen:
            continue
        seen.add(t.get_id())
        if z3.is_const(t) and t.decl().kind() == z3.Z3_OP_UNINTERPRETED:
            found.append(t)
        stack += t.children()
    return found

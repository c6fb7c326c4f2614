"""Attend to the best key: two stages and a tree for the scores, three and a tree for the best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from cosim.ir.types import TensorType
from cosim.ops import ArgmaxAttend
from rtl.numerics import Int, constant, less, select
from rtl.ops.attend import score
from rtl.ops.lanes import Lanes, lanes, within
from rtl.ops.masks import Places
from rtl.pipe import Pipe

# A score, and the value behind it.
Entry = tuple[Int, list[Int]]


def better(first: Entry, second: Entry) -> Entry:
    """Return the entry of the larger score; the first on a tie."""
    flag = less(first[0], second[0])
    values = [select(flag, b, a) for a, b in zip(first[1], second[1], strict=True)]
    return select(flag, second[0], first[0]), values


def wires(op: ArgmaxAttend, inputs: Sequence[Lanes], out: TensorType, pipe: Pipe) -> Lanes:
    """Find the flags of all places once; let each head's keys play two by two."""
    q, keys, values, position, *rest = inputs
    n, g = keys.shape[:2]
    share = q.shape[0] // g
    newest = position.item() if op.causal else rest[0].item()
    places = Places(op.mask, position.item(), newest, n, pipe)
    shown = [places.shown(c) for c in range(n)]
    found: list[Int] = []
    for h in range(q.shape[0]):
        level = [
            entry(score(q[h], keys[c, h // share], pipe), shown[c], list(values[c, h // share]),
                  pipe)
            for c in range(n)
        ]  # fmt: skip
        while len(level) > 1:
            made = [better(a, b) for a, b in zip(level[::2], level[1::2], strict=False)]
            made += level[len(made) * 2 :]
            level = [(pipe.cut(s), [pipe.cut(v) for v in kept]) for s, kept in made]
        found += [pipe.cut(within(v, out)) for v in level[0][1]]
    at = max(x.at or 0 for x in found)
    return lanes([pipe.until(x, at) for x in found], out.shape)


def entry(s: Int, shown: Int, values: list[Int], pipe: Pipe) -> Entry:
    """Give a key that does not count a score below all others, and zeros: one stage."""
    lowest = constant(s.lo - 1)
    s, shown, *values = pipe.align(s, shown, *values)
    zero = replace(constant(0), at=s.at)
    kept = [pipe.cut(select(shown.wire, v, zero)) for v in values]
    return pipe.cut(select(shown.wire, s, lowest)), kept

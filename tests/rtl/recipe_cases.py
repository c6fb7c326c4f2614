"""Take the operators out of the graphs that the recipes emit for Mamba-2, one lane of each."""

from dataclasses import replace
from functools import cache

import numpy as np

from cosim.ir.types import TensorType
from cosim.ops import Contract, GroupScale, Hadamard, Linear, Quantize, RmsNorm
from quant.configs import find_config
from quant.from_config import lower_config
from quant.recipes import find_recipe

WIRING = {"slice", "reshape", "concat", "push"}


@cache
def instances(recipes=("w4a4", "w8a8"), config="mamba2-130m"):
    """Return (recipe, node, operator, types, which are constants) of all that differ."""
    found = {}
    for recipe in recipes:
        model = lower_config(config, find_config(config), find_recipe(recipe))
        for segment in model.segments:
            graph = segment.graph
            for node in graph.nodes:
                if node.op.name in WIRING:
                    continue
                types = tuple(graph.types[n] for n in node.inputs)
                key = (str(node.op), tuple((t.dtype, t.lo, t.hi) for t in types))
                fixed = tuple(n in graph.consts for n in node.inputs)
                found.setdefault(key, (recipe, node.name, node.op, types, fixed))
    return tuple(found.values())


def shaped(t: TensorType, *shape: int) -> TensorType:
    return replace(t, shape=shape)


def one_lane(op, types):
    """Return the operator and its types for one lane, or one group, of its elements."""
    if isinstance(op, Quantize):
        return replace(op, group=1), [shaped(t, 1) for t in types]
    if isinstance(op, GroupScale):
        return op, [shaped(types[0], op.group)]
    if isinstance(op, RmsNorm):
        return op, [shaped(types[0], 6)]
    if isinstance(op, Contract):
        return op, [shaped(t, 8) for t in types]
    if isinstance(op, Hadamard):
        return Hadamard(24), [shaped(types[0], 24)]
    if isinstance(op, Linear):
        q, w, m, c = types
        shapes = (shaped(q, 24), shaped(w, 2, 24), shaped(m, 2, 1), shaped(c, 2))
        return replace(op, weight_group=32), list(shapes)
    if op.name == "fir":
        return op, [shaped(types[0], 4, 1), shaped(types[1], 4, 1), shaped(types[2], 1)]
    if op.name in {"pwl", "pwl_log"}:
        return op, [shaped(types[0]), *types[1:]]
    if op.name == "embed":
        rows = replace(types[0], hi=min(types[0].hi, 255))
        return op, [rows, shaped(types[1], 256, 2)]
    if op.name == "argmax":
        return op, [shaped(types[0], 9)]
    return op, [shaped(t) for t in types]


def constants(op, types, seed: int = 0):
    """Draw what must be constant: tables; and shifts that have one value only."""
    rng = np.random.default_rng(seed)
    tables = {"pwl": (1, 2), "pwl_log": (1, 2), "embed": (1,)}.get(op.name, ())
    return {
        k: rng.integers(t.lo, t.hi, t.shape, endpoint=True)
        for k, t in enumerate(types)
        if k in tables or t.lo == t.hi
    }


def cases():
    """Return (name, operator, types, constants) of one lane of everything."""
    found = []
    for recipe, node, op, types, _ in instances():
        lane, narrow = one_lane(op, types)
        found.append((f"{recipe} {node}", lane, narrow, constants(lane, narrow)))
    return found

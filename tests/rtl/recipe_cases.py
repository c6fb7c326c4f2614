"""Take the operators out of the graphs that the recipes emit for Mamba-2, one lane of each."""

import re
from dataclasses import replace
from functools import cache

import numpy as np

from cosim.ir.types import TensorType
from cosim.ops import Hadamard
from quant.configs import find_config
from quant.from_config import lower_config
from quant.recipes import find_recipe
from tests.rtl.op_wiring import TABLES

WIRING = {"slice", "reshape", "concat", "push", "spread", "transpose"}


@cache
def instances(recipes=("w4a4", "w8a8", "lightmamba"), config="mamba2-130m"):
    """Return (recipe, node, operator, types, which are constants) of all that differ."""
    found = {}
    for recipe in recipes:
        model = lower_config(config, find_config(config), find_recipe(recipe))
        for segment in model.segments:
            graph = segment.graph
            for node in graph.nodes:
                # Layers beyond the second differ in the bounds of a sum only.
                if node.op.name in WIRING or re.match(r"layers\.([2-9]|\d\d)", node.name):
                    continue
                types = tuple(graph.types[n] for n in node.inputs)
                key = (str(node.op), tuple((t.dtype, t.lo, t.hi) for t in types))
                fixed = tuple(n in graph.consts for n in node.inputs)
                found.setdefault(key, (recipe, node.name, node.op, types, fixed))
    return tuple(found.values())


def shaped(t: TensorType, *shape: int) -> TensorType:
    return replace(t, shape=shape)


def _linear(op, types):
    q, w, m, c = types
    groups = -(-24 // op.act_group)
    shapes = (shaped(q, 24), shaped(w, 2, 24), shaped(m, 2, 1), shaped(c, groups))
    return replace(op, weight_group=32), list(shapes)


def _taps(types, last: int):
    """Cut windows and their companions to one channel; the last operands have one axis."""
    return [*(shaped(t, 4, 1) for t in types[:-last]), *(shaped(t, 1) for t in types[-last:])]


def _table(op, types):
    return op, [shaped(types[0]), *types[1:]]


# What is cut otherwise than to one element of each operand.
NARROWED = {
    "quantize": lambda op, t: (replace(op, group=1), [shaped(x, 1) for x in t]),
    "shift_decay": lambda op, t: (replace(op, group=1), [shaped(x, 1) for x in t]),
    "group_scale": lambda op, t: (op, [shaped(t[0], op.group)]),
    "group_shift": lambda op, t: (op, [shaped(t[0], op.group)]),
    "group_read": lambda op, t: (op, [shaped(x, 2 * op.group, 1) for x in t]),
    "rms_norm": lambda op, t: (op, [shaped(t[0], 6)]),
    "rms_table": lambda op, t: (op, [shaped(t[0], 6), t[1], shaped(t[2], 6)]),
    "contract": lambda op, t: (op, [shaped(x, 8) for x in t]),
    "hadamard": lambda op, t: (Hadamard(24), [shaped(t[0], 24)]),
    "linear": _linear,
    "fir": lambda op, t: (op, _taps(t, 1)),
    "shift_fir": lambda op, t: (replace(op, group=1), _taps(t, 2)),
    "pwl": _table,
    "pwl_log": _table,
    "step_table": _table,
    "embed": lambda op, t: (op, [replace(t[0], hi=min(t[0].hi, 255)), shaped(t[1], 256, 2)]),
    "argmax": lambda op, t: (op, [shaped(t[0], 9)]),
}


def one_lane(op, types):
    """Return the operator and its types for one lane, or one group, of its elements."""
    if op.name in NARROWED:
        return NARROWED[op.name](op, types)
    return op, [shaped(t) for t in types]


def constants(op, types, seed: int = 0):
    """Draw what must be constant: tables; and shifts that have one value only."""
    rng = np.random.default_rng(seed)
    tables = TABLES.get(op.name, ())
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

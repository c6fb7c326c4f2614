"""Say which kind of unit carries each operator, and how many pipeline registers it takes there."""

from __future__ import annotations

from typing import Literal, get_args

from cosim.ir.errors import UserError

Kind = Literal[
    "matrix", "attention", "state", "vector", "fir", "hadamard", "norm", "memory", "switch",
    "source", "sink",
]  # fmt: skip
KINDS: tuple[str, ...] = get_args(Kind)
Carrier = Kind | Literal["wire"]

# Operators whose unit is still to be built: a Design of a graph that has them is refused.
WITHOUT_UNIT = (
    "argmax_attend", "relu_attend", "rope", "spike_encode", "spike_linear", "turn", "wkv",
)  # fmt: skip

# `wire`: only names elements anew, so that no unit is needed. A count of tokens, which nothing can
# change, is kept by every unit that reads it.
KIND_OF_OP: dict[str, Carrier] = {
    "add": "vector",
    "argmax": "vector",
    "argmax_attend": "state",
    "attend": "attention",
    "cache_write": "attention",
    "center": "norm",
    "clip": "vector",
    "concat": "wire",
    "contract": "state",
    "count": "wire",
    "decay_update": "state",
    "dequantize": "vector",
    "divide": "attention",
    "embed": "memory",
    "fir": "fir",
    "fire": "vector",
    "group_read": "state",
    "group_scale": "vector",
    "group_shift": "vector",
    "hadamard": "hadamard",
    "leak": "state",
    "linear": "matrix",
    "mul": "vector",
    "mul_shift": "vector",
    "push": "fir",
    "pwl": "vector",
    "pwl_log": "vector",
    "quantize": "vector",
    "relu_attend": "state",
    "requant": "vector",
    "rescale": "vector",
    "reshape": "wire",
    "rms_norm": "norm",
    "rms_table": "norm",
    "rope": "vector",
    "shift_decay": "state",
    "shift_fir": "fir",
    "slice": "wire",
    "spike_encode": "vector",
    "spike_linear": "matrix",
    "spread": "wire",
    "step_table": "vector",
    "transpose": "wire",
    "truncate": "vector",
    "turn": "vector",
    "wkv": "state",
}

# Pipeline registers of an operator inside its unit, chosen so that each stage holds about one
# carry chain, one multiplier or one memory access. Trees add log2 of their width on top.
STAGES: dict[str, int] = {
    "add": 2,
    "argmax": 2,
    "argmax_attend": 2,
    "attend": 4,
    "cache_write": 1,
    "center": 3,
    "clip": 1,
    "contract": 3,
    "decay_update": 5,
    "dequantize": 2,
    "divide": 12,
    "embed": 1,
    "fir": 3,
    "fire": 2,
    "group_read": 10,
    "group_scale": 4,
    "group_shift": 3,
    "hadamard": 1,
    "leak": 4,
    "linear": 4,
    "mul": 5,
    "mul_shift": 4,
    "push": 1,
    "pwl": 6,
    "pwl_log": 7,
    "quantize": 4,
    "relu_attend": 4,
    "requant": 3,
    "rescale": 5,
    "rms_norm": 5,
    "rms_table": 5,
    "rope": 6,
    "shift_decay": 5,
    "shift_fir": 4,
    "spike_encode": 2,
    "spike_linear": 5,
    "step_table": 3,
    "truncate": 1,
    "turn": 7,
    "wkv": 13,
}
# One register between a unit's last stage and the FIFO behind it.
OUTPUT_STAGES = 1
# From a row of a key to the sums with it, beside the tree over its channels: read, multiply, add
# up; scale, octave, maximum; weigh, multiply, add up, and add to the tiles before.
ATTENTION_STAGES = 3 + 4 + 1 + 1 + 4 + 1 + 1 + 1
# From the last square of a vector to its reciprocal root: normalise, look up, multiply, round.
ROOT_STAGES = 10


def carrier_of(op: str, node: str) -> Carrier:
    """Return the kind of unit that carries an operator; raise UserError where there is none."""
    if op not in KIND_OF_OP or op in WITHOUT_UNIT:
        known = ", ".join(sorted(set(KIND_OF_OP) - set(WITHOUT_UNIT)))
        raise UserError(
            f"node {node!r}: no hardware unit carries operator {op!r} (they carry {known}); add it "
            "to a unit, or keep the node out of the hardware model"
        )
    return KIND_OF_OP[op]


def tree_stages(width: int) -> int:
    """Return the levels of an adder or comparator tree over `width` operands.

    >>> tree_stages(1), tree_stages(2), tree_stages(5)
    (0, 1, 3)
    """
    return (width - 1).bit_length()

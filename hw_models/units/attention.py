"""Time an attention unit: keep the token's key and value, score all keys, average all values.

`cosim/design/attention.py` lays its rows: writes, then for each key head a pass over the cache in
which keys are scored and, a tile of keys later, values are weighed and added up. All places are
gone through at each token; the mask makes those that do not count weigh nothing. A result leaves
with the row that brings its last value, and behind it the division.
"""

from __future__ import annotations

from cosim.design.attention import AttentionShape, attention_rows
from cosim.design.kinds import ATTENTION_STAGES, OUTPUT_STAGES, STAGES, tree_stages
from cosim.design.rows import Flow
from hw_models.network import Program
from hw_models.steps import encode


def stages(shape: AttentionShape) -> int:
    """Return the cycles from the row of a key's chunk to a result with it.

    >>> stages(AttentionShape("", 4, 2, 8, 16, 4, 16))
    32
    """
    return ATTENTION_STAGES + tree_stages(shape.chunk) + STAGES["divide"] + OUTPUT_STAGES


def program(flow: Flow, shape: AttentionShape) -> Program:
    """Return the firings of one token."""
    return encode(attention_rows(flow, shape), stages(shape), flow.task.name)

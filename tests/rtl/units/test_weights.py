"""Packed weights are the numbers of the graph, in the order in which the unit takes them."""

import numpy as np
import pytest

from rtl.units.weights import in_order, on_chip, packed, shape_of, streamed
from tests.hw_models import graphs
from tests.rtl.units.filled import filled
from tests.rtl.units.test_matrix import matrix_of


def fields(word: int, bits: int, count: int) -> list[int]:
    """Cut a word into signed numbers, the lowest first."""
    raw = [word >> (k * bits) & ((1 << bits) - 1) for k in range(count)]
    return [v - (v >> (bits - 1) << bits) for v in raw]


@pytest.mark.parametrize("bits", [1, 3, 4, 5, 8, 9, 16])
@pytest.mark.parametrize("count", [1, 2, 7])
def test_packing_keeps_every_number(bits, count):
    low, high = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    values = np.random.default_rng(bits).integers(low, high, (5, count), endpoint=True)
    words = packed(values, bits)
    assert words.bits == bits * count
    found = [fields(w, bits, count) for w in words.integers()]
    assert found == [[v - (v >> (bits - 1) << bits) for v in (row & ((1 << bits) - 1)).tolist()]
                     for row in values]  # fmt: skip


@pytest.mark.parametrize("place", ["chip", "memory"])
def test_every_weight_is_where_its_lane_and_column_look_for_it(place):
    _, plan, _, _ = matrix_of(filled(graphs.small_mamba2(bits=4)), 5, 7, 8, place)
    words = {b: iter(w.integers()) for b, w in on_chip(plan)[0].items()}
    if place == "memory":
        stream = [iter(w.integers()) for w in streamed(plan)]
    for number, (job, turn) in enumerate(in_order(plan)):
        shape = shape_of(plan, job)
        every = plan.folded.constants(job.task.nodes[0], 1)
        w = every[turn if len(every) > 1 else 0]
        every = plan.folded.constants(job.task.nodes[0], 2)
        m = every[turn if len(every) > 1 else 0]
        order = np.concatenate([np.arange(a, b) for a, b in job.task.order])
        own = words[shape.weight_bits] if place == "chip" else stream[number]
        for first in range(0, shape.rows, 5):
            rows = [order[r] if r < shape.rows else None for r in range(first, first + 5)]
            if place == "memory":
                bits = shape.beat_bits(plan.unit)
                pieces = [next(own) for _ in range(shape.scale_steps(plan.unit, streamed=True))]
                text = sum(p << (k * bits) for k, p in enumerate(pieces))
                each = m.shape[1]
                scales = [text >> (8 * k) & 255 for k in range(5 * each)]
                want = [0 if r is None else int(m[r, g]) for r in rows for g in range(each)]
                assert scales == want
            for column in range(0, shape.columns, 7):
                want = [
                    0 if r is None or k >= shape.columns else int(w[r, k])
                    for r in rows
                    for k in range(column, column + 7)
                ]
                assert fields(next(own), shape.weight_bits, 35) == want

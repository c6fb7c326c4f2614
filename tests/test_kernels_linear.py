"""The prepared linear operator equals its meaning for every form of scales."""

import numpy as np
import pytest
import torch

from cosim.ir.errors import InternalError
from cosim.ir.types import TensorType, i, u
from cosim.kernels.linear import PreparedLinear
from cosim.ops import Linear
from tests.ops.check import draw_data, draw_type

CPU = torch.device("cpu")


def case(rng: np.random.Generator, op: Linear, k: int, rows: int, wide: bool):
    types = [
        draw_type(rng, (k,), 20 if wide else 8),
        draw_type(rng, (rows, k), 8),
        draw_type(rng, (rows, -(-k // op.weight_group)), 12),
    ]
    if op.act_group:
        types.append(TensorType(u(5), (-(-k // op.act_group),), 0, 12))
    return types


@pytest.mark.parametrize("use_numba", [False, True])
@pytest.mark.parametrize("k", [1, 2, 7, 8, 24, 33])
@pytest.mark.parametrize("wide", [False, True])
def test_every_form_of_scales_equals_the_meaning(k, wide, use_numba):
    rng = np.random.default_rng(k)
    for weight_group in (1, 5, k, k + 3):
        for act_group, mantissa in ((0, 0), (1, 0), (4, 2), (k, 0), (k + 3, 3)):
            op = Linear(weight_group, act_group, mantissa)
            types = case(rng, op, k, 6, wide)
            for kind in ("random", "corners", "high", "low"):
                w, m = (draw_data(rng, t, (), kind) for t in types[1:3])
                prepared = PreparedLinear(op, types, [None, w, m], CPU, use_numba)
                for lead in ((3,), (2, 5), (40, 1)):
                    moving = [draw_data(rng, t, lead, kind) for t in (types[0], *types[3:])]
                    want = op.meaning(moving[0], w, m, *moving[1:])
                    got = prepared.product(*(torch.from_numpy(a) for a in moving))
                    assert got.dtype in (torch.int32, torch.int64)
                    assert np.array_equal(got.numpy(), want), (op, kind, lead)


@pytest.mark.parametrize("use_numba", [False, True])
def test_inputs_may_be_views_of_wider_values(use_numba):
    rng = np.random.default_rng(0)
    op, k = Linear(16, 16), 16
    types = [TensorType.full(i(8), (k,)), TensorType.full(i(8), (5, k))]
    types += [TensorType.full(u(4), (5, 1)), TensorType(u(4), (1,), 0, 9)]
    w, m = draw_data(rng, types[1]), draw_data(rng, types[2])
    x = torch.from_numpy(rng.integers(-128, 128, (3, 40, 50)).astype(np.int32))
    c = torch.from_numpy(rng.integers(0, 10, (3, 40, 4)).astype(np.int32))
    q, codes = x[:, :, 20:36], c[:, :, 2:3]
    want = op.meaning(q.numpy().astype(np.int64), w, m, codes.numpy().astype(np.int64))
    prepared = PreparedLinear(op, types, [None, w, m, None], CPU, use_numba)
    assert np.array_equal(prepared.product(q, codes).numpy(), want)


def test_weights_must_be_there():
    types = [
        TensorType.full(i(8), (4,)),
        TensorType.full(i(8), (5, 4)),
        TensorType.full(u(4), (5, 1)),
    ]
    with pytest.raises(InternalError, match="needs constant weights and multipliers"):
        PreparedLinear(Linear(4), types, [None, None, None], CPU, False)


@pytest.mark.parametrize("use_numba", [False, True])
@pytest.mark.parametrize("act_group", [8, 16])
def test_constant_codes_serve_every_token(act_group, use_numba):
    rng = np.random.default_rng(1)
    op, k = Linear(16, act_group, 1), 16
    types = [TensorType.full(i(8), (k,)), TensorType.full(i(8), (5, k))]
    types += [TensorType.full(u(4), (5, 1)), TensorType(u(5), (k // act_group,), 0, 12)]
    q, w, m = (rng.integers(t.lo, t.hi, (*lead, *t.shape), endpoint=True)
               for t, lead in zip(types, [(7, 3), (), ()], strict=False))  # fmt: skip
    # Others lie behind them in memory.
    codes = np.arange(2, 40)[: types[3].shape[0]]
    prepared = PreparedLinear(op, types, [None, w, m, codes], CPU, use_numba)
    got = prepared.product(torch.from_numpy(q), torch.from_numpy(codes))
    assert np.array_equal(got.numpy(), op.meaning(q, w, m, codes))

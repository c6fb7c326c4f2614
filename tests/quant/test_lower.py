from collections import Counter
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from cosim import reference
from cosim.compare import first_difference
from cosim.ir.types import IntType
from cosim.ops import OPS, DecayUpdate, Hadamard, Linear, Quantize, Rescale
from cosim.torch_exec import TorchExecutor
from quant.formats import ActFormat, SsmFormat
from quant.passes.draft import Draft
from quant.passes.fold_norms import FoldNorms
from quant.passes.lower_graph import LowerGraph
from quant.passes.quantise_weights import QuantiseWeights
from quant.passes.rotate_online import RotateState
from quant.weights import WeightFormat
from tests.quant.lowering import EIGHT, ROTATIONS, WIDE, error, lowered
from tests.quant.random_models import random_model, random_tokens


def states(form: str, **others) -> SsmFormat:
    return SsmFormat(state=form, channel_state=form, **others)


# Every switch of every family.
MODELS = {
    "mamba": ("mamba", {}),
    "mamba bias": ("mamba", {"use_bias": True}),
    "mamba untied, no conv bias, width 3, one state": (
        "mamba",
        {"tie_word_embeddings": False, "use_conv_bias": False, "conv_kernel": 3, "state_size": 1},
    ),
    "mamba 40": ("mamba", {"hidden_size": 40, "intermediate_size": 40, "time_step_rank": 1}),
    "mamba2": ("mamba2", {}),
    "mamba2 groups, bias": ("mamba2", {"n_groups": 2, "use_bias": True}),
    "mamba2 a group per head": ("mamba2", {"n_groups": 4, "use_conv_bias": False}),
    "mamba2 norm before gate": ("mamba2", {"norm_before_gate": True, "n_groups": 2}),
    "mamba2 dt limits": ("mamba2", {"time_step_limit": (0.02, 0.1)}),
    "mamba2 untied, width 1": ("mamba2", {"tie_word_embeddings": False, "conv_kernel": 1}),
    "mamba2 one head, 5 states": (
        "mamba2", {"num_heads": 1, "head_dim": 48, "state_size": 5, "vocab_size": 200}
    ),
    "bimamba": ("bimamba", {}),
    "bimamba width 3, wide": ("bimamba", {"conv_kernel": 3, "intermediate_size": 40}),
}  # fmt: skip

# Every format, on one model of each family: (passes before, weights, activations, recurrence).
FORMATS = {
    "w8a8": (ROTATIONS, EIGHT, ActFormat(8), SsmFormat()),
    "w4a4 groups": (
        ROTATIONS, WeightFormat(4, 16), ActFormat(4, group=8, mantissa_bits=1), SsmFormat()
    ),
    "w4 of 128, a6 clipped": (
        ROTATIONS, WeightFormat(4, 128), ActFormat(6, group=7, clip=13), SsmFormat()
    ),
    "pot": ((), WeightFormat(4, 8, "pot"), ActFormat(8), SsmFormat()),
    "two_term": (ROTATIONS, WeightFormat(4, 8, "two_term"), ActFormat(8), SsmFormat()),
    "static rtn": ((), EIGHT, ActFormat(8, dynamic=False), SsmFormat()),
    "static rotated": (ROTATIONS, EIGHT, ActFormat(8, dynamic=False), SsmFormat()),
    "int8 group state": (ROTATIONS, EIGHT, ActFormat(8), states("int8 group")),
    "int16 state": ((), EIGHT, ActFormat(8), states("int16")),
    "int24 state": ((), EIGHT, ActFormat(8), states("int24")),
    "few decay and dt bits": (
        (), EIGHT, ActFormat(8), SsmFormat(
            decay_bits=12, dt_bits=16, conv_bits=6, channel_conv_bits=6, tap_bits=5
        )
    ),
    "wide": ((), EIGHT, ActFormat(16), WIDE),
    "wide rotated": (ROTATIONS, EIGHT, ActFormat(16), WIDE),
}  # fmt: skip


def assert_all_executors_agree(integer, tokens) -> reference.Run:
    """Compare every value of 40 tokens: plain, torch, compiled; in one window and in three."""
    feed = {"token": tokens.numpy()}
    plain = reference.run(integer, feed, keep=None)
    values = {n: v for n, v in plain.values.items() if v.size}
    for use_numba in (False, True):
        executor = TorchExecutor(integer, use_numba=use_numba)
        fast = executor.run(feed, keep=None)
        assert first_difference(integer, values, fast.values) is None
        assert fast.clipped == plain.clipped
        if not integer.is_causal:
            continue
        carried, parts = None, []
        for piece in np.split(tokens.numpy(), [1, 24], axis=1):
            part = executor.run({"token": piece}, carried, keep=None)
            carried = part.states
            parts.append(part.values)
        joined = {n: np.concatenate([p[n] for p in parts], axis=1) for n in values}
        assert first_difference(integer, values, joined) is None
        for name, state in plain.states.items():
            assert np.array_equal(state, carried[name])
    return plain


def assert_structure(draft: Draft, ssm: SsmFormat, act: ActFormat, run) -> None:
    """Check what a graph must be: integers only, formats as asked, a greedy token."""
    nodes = [(s, n) for s in draft.integer.segments for n in s.graph.nodes]
    assert all(OPS[n.op.name] is type(n.op) for _, n in nodes)
    for key, value in run.values.items():
        segment, name = key.split("/")
        graph = next(s.graph for s in draft.integer.segments if s.name == segment)
        assert isinstance(graph.types[name].dtype, IntType)
        assert value.dtype == np.int64
        assert value.min() >= graph.types[name].lo
        assert value.max() <= graph.types[name].hi
    kinds = Counter(type(n.op) for _, n in nodes)
    per_layer = {"Mamba": 4, "Mamba2": 2, "BiMamba": 4}[type(draft.model).__name__]
    assert kinds[Linear] == 2 * per_layer + 1
    assert (kinds[Rescale] > 0) == (not act.dynamic)
    assert kinds[Hadamard] == (2 if draft.model.out_hadamard else 0) + (
        4 if getattr(draft.model, "state_hadamard", False) else 0
    )
    for s, n in nodes:
        if isinstance(n.op, Linear):
            assert s.graph.types[n.inputs[0]].dtype.bits == act.bits
        if isinstance(n.op, DecayUpdate):
            assert n.op.decay_bits == ssm.decay_bits
            kept = [x.type.dtype.bits for k, x in s.graph.states.items() if ".ssm.h" in k]
            form = ssm.state if type(draft.model).__name__ == "Mamba2" else ssm.channel_state
            assert kept[0] == {"int8 group": 8, "int16": 16, "int24": 24}[form]
    last = draft.integer.segments[-1].name
    assert np.array_equal(run.outputs["next"], run.outputs["logits"].argmax(-1))
    assert np.array_equal(run.outputs["logits"], run.values[f"{last}/logits"])


@pytest.mark.parametrize("case", list(MODELS))
def test_every_switch_of_every_family_lowers_to_the_same_function(case):
    family, changes = MODELS[case]
    model = random_model(family, 1, **changes)
    tokens = random_tokens(model, 2, 40)
    act = ActFormat(16)
    draft = lowered(model, ROTATIONS, EIGHT, act, WIDE, tokens)
    assert error(draft, draft.model, tokens) < 2e-3  # what lowering itself adds
    assert error(draft, model, tokens) < 2e-2  # with weights of 8 bits
    run = assert_all_executors_agree(draft.integer, tokens)
    assert_structure(draft, WIDE, act, run)
    narrow = lowered(model, ROTATIONS, EIGHT, ActFormat(8), SsmFormat(), tokens)
    assert 2e-3 < error(narrow, model, tokens) < 0.1


@pytest.mark.parametrize("family", ["mamba", "mamba2", "bimamba"])
@pytest.mark.parametrize("form", list(FORMATS))
def test_every_format_runs_alike_everywhere(family, form):
    model = random_model(family, 2)
    tokens = random_tokens(model, 2, 40)
    passes, weights, act, ssm = FORMATS[form]
    draft = lowered(model, passes, weights, act, ssm, tokens)
    run = assert_all_executors_agree(draft.integer, tokens)
    assert_structure(draft, ssm, act, run)
    most = {"wide": 0.02, "wide rotated": 0.02, "w8a8": 0.1, "int16 state": 0.1,
            "int24 state": 0.1}.get(form, 0.4)  # fmt: skip
    assert error(draft, model, tokens) < most


@pytest.mark.parametrize("form", ["int8 group", "int16", "int24"])
@pytest.mark.parametrize("groups", [1, 2])
def test_a_rotated_state_runs_alike_everywhere(form, groups):
    model = random_model("mamba2", 2, n_groups=groups)
    tokens = random_tokens(model, 2, 40)
    ssm = replace(WIDE, state=form)
    draft = lowered(model, (RotateState(),), EIGHT, ActFormat(16), ssm, tokens)
    run = assert_all_executors_agree(draft.integer, tokens)
    assert_structure(draft, ssm, ActFormat(16), run)
    most = {"int8 group": 0.05, "int16": 5e-3, "int24": 2e-3}[form]
    assert error(draft, draft.model, tokens) < most


@pytest.mark.parametrize("family", ["mamba", "mamba2", "bimamba"])
def test_the_error_falls_as_widths_grow(family):
    model = random_model(family, 4)
    tokens = random_tokens(model, 2, 40)

    def found(act_bits, operand_bits, form):
        ssm = states(form, conv_bits=operand_bits, channel_conv_bits=operand_bits,
                     tap_bits=operand_bits,
                     operand_bits=operand_bits, embed_bits=operand_bits)  # fmt: skip
        draft = lowered(model, (), EIGHT, ActFormat(act_bits), ssm, tokens)
        return error(draft, draft.model, tokens)

    ladder = [found(4, 5, "int8 group"), found(6, 7, "int8 group"), found(8, 9, "int16"),
              found(10, 11, "int16"), found(12, 13, "int24")]  # fmt: skip
    assert all(b < 0.6 * a for a, b in pairwise(ladder)), ladder
    assert ladder[-1] < 0.02


def test_activation_codes_have_the_width_of_their_kind_of_layer():
    model = random_model("mamba", 1)
    tokens = random_tokens(model, 1, 20)
    draft = QuantiseWeights(EIGHT).apply(FoldNorms().apply(Draft("x", model), tokens), tokens)
    kinds = (("x_proj", ActFormat(10)), ("lm_head", ActFormat(7, dynamic=False)))
    graph = LowerGraph(ActFormat(5), kinds=kinds).apply(draft, tokens).integer.segments[0].graph
    widths = {
        n.name: n.op.dtype.bits
        for n in graph.nodes
        if isinstance(n.op, Quantize | Rescale) and n.name.endswith(".q")
    }
    assert widths == {
        f"layers.{i}.{kind}.q": bits
        for i in (0, 1)
        for kind, bits in (("in_proj", 5), ("x_proj", 10), ("dt_proj", 5), ("out_proj", 5))
    } | {"lm_head.q": 7}

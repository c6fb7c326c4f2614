from dataclasses import replace

import numpy as np
import pytest
import torch

from cosim.ir.errors import UserError
from cosim.ops import Hadamard
from quant.brevitas_bridge import round_weights
from quant.calibrate import collect_inputs
from quant.family import linears, sequence, stream_of
from quant.formats import ActFormat
from quant.passes.draft import Draft
from quant.passes.fold_norms import FoldNorms
from quant.passes.lower_graph import LowerGraph
from quant.passes.quantise_weights import QuantiseWeights, kind_of
from quant.passes.rotate_online import RotateOut, RotateState
from quant.passes.rotate_residual import RotateResidual, rotation
from quant.weights import WeightFormat
from tests.quant.random_models import random_model, random_tokens

# Sizes of every Hadamard base; switches of every family.
CASES = {
    "mamba 24": ("mamba", {}),
    "mamba 96, bias, no conv bias, width 3": (
        "mamba",
        {"hidden_size": 96, "intermediate_size": 80, "use_bias": True, "use_conv_bias": False,
         "conv_kernel": 3},
    ),
    "mamba 20, untied": (
        "mamba", {"hidden_size": 20, "intermediate_size": 40, "tie_word_embeddings": False}
    ),
    "mamba2 28, 2 groups, bias": (
        "mamba2",
        {"hidden_size": 28, "intermediate_size": 56, "num_heads": 4, "head_dim": 14, "n_groups": 2,
         "use_bias": True},
    ),
    "mamba2 80, norm before gate": (
        "mamba2",
        {"hidden_size": 80, "intermediate_size": 160, "num_heads": 2, "head_dim": 80,
         "norm_before_gate": True},
    ),
    "mamba2 40, untied, dt limits, 32 states": (
        "mamba2",
        {"hidden_size": 40, "intermediate_size": 80, "num_heads": 4, "head_dim": 20,
         "state_size": 32, "tie_word_embeddings": False, "time_step_limit": (0.02, 0.1)},
    ),
    "bimamba 24": ("bimamba", {}),
    "bimamba 20, width 3": (
        "bimamba", {"hidden_size": 20, "intermediate_size": 40, "conv_kernel": 3}
    ),
}  # fmt: skip
NO_TOKENS = torch.zeros(1, 1, dtype=torch.int64)


@pytest.fixture(params=list(CASES))
def draft(request):
    family, changes = CASES[request.param]
    return Draft("x", random_model(family, 3, **changes))


def apply(draft: Draft, *passes) -> Draft:
    for step in passes:
        draft = step.apply(draft, NO_TOKENS)
    return draft


def logits(draft: Draft) -> torch.Tensor:
    with torch.no_grad():
        return sequence(draft.model, random_tokens(draft.model, 2, 30))


def seen(draft: Draft, name: str) -> torch.Tensor:
    """Return the values of a tap, those of all tokens one after another."""
    found = []

    def tap(tapped, value):
        if tapped == name:
            found.append(value.reshape(-1, value.shape[-1]).clone())

    with torch.no_grad():
        sequence(draft.model, random_tokens(draft.model, 2, 30), tap)
    assert found
    return torch.cat(found)


def assert_same_function(before: Draft, after: Draft) -> None:
    a, b = logits(before), logits(after)
    assert (a - b).abs().max() <= 2e-5 * a.abs().max()
    changed = [
        n for n, w in after.model.weights.items() if not torch.equal(w, before.model.weights[n])
    ]
    assert changed


def spread(x: torch.Tensor) -> float:
    """Return how far the largest channel of a token stands out of its root mean square."""
    return float((x.abs().amax(-1) / x.square().mean(-1).sqrt()).mean())


def test_folding_norms_keeps_the_function_and_leaves_no_norm_weight(draft):
    folded = apply(draft, FoldNorms())
    assert_same_function(draft, folded)
    assert folded.folded
    norms = [n for n in folded.model.weights if n.endswith(("norm.weight", "norm_f.weight"))]
    assert len(norms) >= draft.model.config.num_hidden_layers + 1
    for name in norms:
        assert (folded.model.weights[name] == 1).all()
        assert not (draft.model.weights[name] == 1).all()
        bias = folded.model.weights.get(name.replace(".weight", ".bias"))
        assert bias is None or (bias == 0).all()


def test_folding_twice_changes_nothing(draft):
    once = apply(draft, FoldNorms())
    twice = apply(once, FoldNorms())
    for name, value in once.model.weights.items():
        assert torch.allclose(twice.model.weights[name], value, atol=1e-6)


def test_a_layer_norm_becomes_a_root_mean_square_norm_of_a_centred_residual():
    before = Draft("x", random_model("bimamba", 3))
    after = apply(before, FoldNorms())
    assert after.model.centered
    for layer in range(2):
        assert seen(before, f"layers.{layer}.residual").mean(-1).abs().max() > 0.05
        assert seen(after, f"layers.{layer}.residual").mean(-1).abs().max() < 1e-5


def test_tied_weights_part_when_norms_are_folded():
    draft = Draft("x", random_model("mamba", 3))
    after = apply(draft, FoldNorms()).model.weights
    assert torch.equal(
        after["backbone.embeddings.weight"], draft.model.weights["backbone.embeddings.weight"]
    )
    assert not torch.equal(after["lm_head.weight"], after["backbone.embeddings.weight"])


@pytest.mark.parametrize("seed", [0, 7])
def test_rotating_the_residual_keeps_the_function_and_spreads_its_outliers(draft, seed):
    folded = apply(draft, FoldNorms())
    rotated = apply(folded, RotateResidual(seed))
    assert_same_function(folded, rotated)
    assert rotated.basis == f"{draft.model.config.hidden_size}s{seed}"
    for name in ("layers.0.residual", "layers.1.residual", "layers.1.norm", "final_norm"):
        before, after = seen(folded, name), seen(rotated, name)
        assert torch.allclose(before.norm(dim=-1), after.norm(dim=-1), rtol=1e-4)
    before, after = seen(folded, "layers.0.residual"), seen(rotated, "layers.0.residual")
    assert spread(after) < 0.85 * spread(before)
    # Which channels are large no longer is the same for every token.
    assert before.abs().mean(0).max() / before.abs().mean() > 3
    assert after.abs().mean(0).max() / after.abs().mean() < 2


@pytest.mark.parametrize("size", [20, 24, 28, 40, 80, 96, 128])
def test_the_rotation_is_orthogonal_and_its_signs_are_drawn(size):
    q = rotation(size, 0)
    assert torch.allclose(q @ q.T, torch.eye(size, dtype=torch.float64), atol=1e-12)
    assert torch.allclose(q.abs(), torch.full_like(q, size**-0.5))
    assert not torch.equal(q, rotation(size, 1))
    assert torch.equal(q, rotation(size, 0))


def test_rotating_before_out_proj_keeps_the_function_and_spreads_its_input(draft):
    folded = apply(draft, FoldNorms())
    rotated = apply(folded, RotateOut())
    assert rotated.model.out_hadamard
    assert_same_function(folded, rotated)
    size = draft.model.config.intermediate_size
    before, after = seen(folded, "layers.1.out_in"), seen(rotated, "layers.1.out_in")
    integer = Hadamard(size).meaning(np.eye(size, dtype=np.int64)).T
    expected = before.double().numpy() @ integer.T / size**0.5
    assert np.allclose(after.numpy(), expected, atol=1e-5 * np.abs(expected).max())
    assert spread(after) < spread(before)


def test_all_rotations_together_keep_the_function(draft):
    folded = apply(draft, FoldNorms())
    passes = [RotateResidual(5), RotateOut()]
    if hasattr(draft.model, "state_hadamard"):
        passes.append(RotateState())
    assert_same_function(folded, apply(folded, *passes))
    assert_same_function(draft, apply(folded, *reversed(passes)))


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("states", [2, 8, 32, 64])
def test_rotating_the_state_keeps_the_function(groups, states):
    model = random_model("mamba2", 3, n_groups=groups, state_size=states)
    folded = apply(Draft("x", model), FoldNorms())
    rotated = apply(folded, RotateState())
    assert rotated.model.state_hadamard
    assert torch.allclose(logits(folded), logits(rotated), rtol=1e-3, atol=1e-4)
    assert not torch.allclose(
        seen(folded, "layers.0.state"), seen(rotated, "layers.0.state"), atol=1e-2
    )


def test_rotating_the_state_spreads_an_outlier_among_states():
    model = random_model("mamba2", 3, state_size=32)
    inner = model.config.intermediate_size
    name = "backbone.layers.0.mixer.conv1d.weight"
    taps = model.weights[name].clone()
    taps[inner + 5] *= 30  # the sixth element of B
    model = replace(model, weights={**model.weights, name: taps})
    folded = apply(Draft("x", model), FoldNorms())
    before = seen(folded, "layers.0.state")
    after = seen(apply(folded, RotateState()), "layers.0.state")
    assert spread(after[10:]) < 0.7 * spread(before[10:])


@pytest.mark.parametrize(
    ("passes", "sentence"),
    [
        ([RotateResidual()], "rotate_residual: norm weights do not commute.*fold_norms first"),
        ([RotateOut()], "rotate_out: norm weights do not commute.*fold_norms first"),
        ([LowerGraph(ActFormat(8))], "lower: fold_norms and quantise_weights come first"),
        (
            [FoldNorms(), LowerGraph(ActFormat(8))],
            "lower: fold_norms and quantise_weights come first",
        ),
        (
            [QuantiseWeights(WeightFormat(8)), LowerGraph(ActFormat(8))],
            "lower: fold_norms and quantise_weights come first",
        ),
        (
            [FoldNorms(), RotateResidual(), RotateResidual(1)],
            r"rotate_residual: the residual is already rotated \(24s0\)",
        ),
        ([FoldNorms(), RotateOut(), RotateOut()], "rotate_out: out_proj's input is already"),
        ([RotateState(), RotateState()], "rotate_state: B and C are already rotated"),
        (
            [QuantiseWeights(WeightFormat(8)), FoldNorms()],
            "fold_norms: the matrices are quantised already.*put fold_norms before",
        ),
        (
            [FoldNorms(), QuantiseWeights(WeightFormat(8)), RotateResidual()],
            "rotate_residual: the matrices are quantised already.*before quantise_weights",
        ),
        (
            [FoldNorms(), QuantiseWeights(WeightFormat(8)), RotateOut()],
            "rotate_out: the matrices are quantised already.*before quantise_weights",
        ),
    ],
)
def test_a_wrong_order_of_passes_is_one_sentence(passes, sentence):
    with pytest.raises(UserError, match=sentence):
        apply(Draft("x", random_model("mamba2")), *passes)


@pytest.mark.parametrize("family", ["mamba", "bimamba"])
def test_the_state_of_mamba_1_is_not_rotated(family):
    with pytest.raises(UserError, match="rotate_state: only Mamba-2 has one decay per head"):
        apply(Draft("x", random_model(family)), RotateState())


def test_a_state_size_whose_rotation_has_no_shift_is_one_sentence():
    with pytest.raises(UserError, match="state size 12 is not a power of two"):
        apply(Draft("x", random_model("mamba2", state_size=12)), RotateState())


def test_a_size_without_a_hadamard_matrix_is_one_sentence():
    model = random_model("mamba2", hidden_size=22, intermediate_size=44, num_heads=4, head_dim=11)
    folded = apply(Draft("x", model), FoldNorms())
    with pytest.raises(UserError, match="no Hadamard matrix of order 22"):
        apply(folded, RotateResidual())
    with pytest.raises(UserError, match="no Hadamard matrix of order 44"):
        apply(folded, RotateOut())


def test_passes_say_who_keeps_the_function():
    assert all(p.keeps_function for p in (FoldNorms, RotateResidual, RotateOut, RotateState))
    assert not QuantiseWeights.keeps_function
    assert not LowerGraph.keeps_function


def test_every_reader_of_the_residual_is_a_matrix_that_linears_name():
    for family in ("mamba", "mamba2", "bimamba"):
        model = random_model(family)
        names = {n.removesuffix(".weight") for n, _ in linears(model)}
        assert {matrix for _, matrix in stream_of(model).readers} <= names


@pytest.mark.parametrize("family", ["mamba", "mamba2", "bimamba"])
def test_quantised_weights_stand_in_the_float_model(family):
    draft = apply(Draft("x", random_model(family)), FoldNorms(), RotateOut())
    formats = (("lm_head", WeightFormat(8)), ("out_proj", WeightFormat(4, 16)))
    done = apply(draft, QuantiseWeights(WeightFormat(3), kinds=formats))
    assert set(done.matrices) == {n for n, _ in linears(draft.model)}
    for name, matrix in done.matrices.items():
        bits = {"lm_head": 8, "out_proj": 4}.get(kind_of(name), 3)
        assert matrix.format.bits == bits
        used = done.model.weights[name].double()
        inner = draft.model.config.intermediate_size
        gain = inner**-0.5 if kind_of(name) == "out_proj" else 1.0
        assert torch.allclose(used * gain, matrix.real().double(), rtol=1e-5, atol=1e-9)
        error = (used - draft.model.weights[name]).abs().max()
        assert 0 < error < draft.model.weights[name].abs().max()
    others = set(done.model.weights) - set(done.matrices)
    assert all(torch.equal(done.model.weights[n], draft.model.weights[n]) for n in others)


def test_the_integer_rotation_times_the_fused_integers_is_the_float_product():
    draft = apply(Draft("x", random_model("mamba2")), FoldNorms(), RotateOut())
    done = apply(draft, QuantiseWeights(WeightFormat(8)))
    name = "backbone.layers.1.mixer.out_proj.weight"
    matrix, size = done.matrices[name], draft.model.config.intermediate_size
    x = np.random.default_rng(0).integers(-1000, 1000, (5, size))
    wide = matrix.multipliers * 2.0 ** -matrix.exponents[:, None]
    integer = Hadamard(size).meaning(x) @ matrix.codes.T * wide.T
    unrotated = apply(Draft("x", random_model("mamba2")), FoldNorms()).model.weights[name]
    product = x @ unrotated.double().numpy().T
    assert np.abs(integer - product).max() < 0.01 * np.abs(product).max()


@pytest.mark.parametrize("rounding", ["gptq", "qronos"])
@pytest.mark.parametrize("family", ["mamba", "mamba2", "bimamba"])
def test_rounding_by_brevitas_beats_rounding_to_nearest(family, rounding):
    model = random_model(family, 2)
    tokens = random_tokens(model, 4, 64)
    draft = FoldNorms().apply(Draft("x", model), tokens)
    with torch.no_grad():
        reference = sequence(model, tokens)

    def error(how):
        done = QuantiseWeights(WeightFormat(3, 8), how).apply(draft, tokens)
        for name, matrix in done.matrices.items():
            assert torch.allclose(done.model.weights[name], matrix.real())
        with torch.no_grad():
            return float((sequence(done.model, tokens) - reference).square().mean())

    assert error(rounding) < 0.9 * error("nearest")


@pytest.mark.parametrize("rounding", ["gptq", "qronos"])
def test_later_matrices_are_rounded_for_what_earlier_ones_now_give(rounding):
    model = random_model("mamba2", 2)
    tokens = random_tokens(model, 4, 64)
    draft = RotateOut().apply(FoldNorms().apply(Draft("x", model), tokens), tokens)
    done = QuantiseWeights(WeightFormat(3), rounding).apply(draft, tokens)
    name, tap = "backbone.layers.1.mixer.out_proj.weight", "layers.1.out_in"
    # Before this matrix all others of both layers are quantised; the head plays no part.
    now = collect_inputs(done.model, tokens, {tap})[tap]
    real = collect_inputs(draft.model, tokens, {tap})[tap]
    assert not torch.allclose(now, real, atol=1e-2)
    root = 48**0.5  # the online rotation is not normalised, and the weight takes 1 / sqrt(n)
    matrix = done.matrices[name]
    first = now if rounding == "gptq" else real
    codes = round_weights(
        draft.model.weights[name] / root, matrix.scales(), 3, first * root, rounding, now * root
    )
    assert (matrix.codes == codes.numpy()).mean() > 0.99
    wrong = round_weights(
        draft.model.weights[name] / root, matrix.scales(), 3, real * root, rounding, real * root
    )
    assert (matrix.codes == wrong.numpy()).mean() < 0.97

import pytest

from cosim.ir.errors import UserError
from cosim.ops import Hadamard
from quant.formats import ActFormat, SsmFormat
from quant.from_config import lower_config
from quant.passes.draft import Draft
from quant.passes.fold_norms import FoldNorms
from quant.passes.lower_graph import LowerGraph
from quant.passes.quantise_weights import QuantiseWeights
from quant.passes.rotate_online import RotateHeads, RotateOut, RotateState
from quant.passes.rotate_residual import RotateResidual
from quant.recipes import RECIPES, Recipe
from quant.rotation_check import check_rotations
from quant.weights import WeightFormat
from tests.quant.random_models import BASES, random_model, random_tokens
from tests.quant.rebuild import rebuild

FAMILIES = ("mamba", "mamba2", "bimamba")
ACTS = {
    "token": ActFormat(8), "groups": ActFormat(4, group=8, mantissa_bits=1),
    "static": ActFormat(8, dynamic=False),
}  # fmt: skip
INT16 = SsmFormat()
SIZE = {"mamba": 48, "mamba2": 48, "bimamba": 24}


def lowered(family, *rotations, act=ACTS["token"], ssm=INT16):
    """Return the integer model with some rotations, weights included."""
    model = random_model(family)
    tokens = random_tokens(model, 1, 16)
    draft = Draft("x", model)
    for step in (FoldNorms(), *rotations, QuantiseWeights(WeightFormat(8)), LowerGraph(act, ssm)):
        draft = step.apply(draft, tokens)
    return draft.integer


@pytest.mark.parametrize("act", list(ACTS))
@pytest.mark.parametrize("family", FAMILIES)
def test_what_the_passes_make_is_accepted(family, act):
    for rotations in ((), (RotateResidual(),), (RotateOut(),), (RotateResidual(3), RotateOut())):
        check_rotations(lowered(family, *rotations, act=ACTS[act]))
    if family == "mamba2":
        check_rotations(lowered(family, RotateState(), RotateOut(), act=ACTS[act]))
        check_rotations(lowered(family, RotateState(), ssm=SsmFormat(state="int8 group")))


@pytest.mark.parametrize("act", list(ACTS))
@pytest.mark.parametrize("family", FAMILIES)
def test_rebuilding_alone_changes_nothing(family, act):
    model = lowered(family, RotateOut(), act=ACTS[act])
    assert rebuild(model).text() == model.text()


@pytest.mark.parametrize("act", list(ACTS))
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("layer", [0, 1])
def test_leaving_out_the_online_half_is_refused(family, act, layer):
    model = lowered(family, RotateResidual(), RotateOut(), act=ACTS[act])
    without = rebuild(model, drop=(f"layers.{layer}.out_in",))
    sentence = (
        rf"layers.{layer}.out_proj.acc: weight 'layers.{layer}.*~h{SIZE[family]}' expects a "
        rf"Hadamard of order {SIZE[family]} on its input but the graph has no Hadamard; rotate "
        "both or neither"
    )
    with pytest.raises(UserError, match=sentence):
        check_rotations(without)


@pytest.mark.parametrize("act", list(ACTS))
@pytest.mark.parametrize("family", FAMILIES)
def test_an_online_half_without_the_fused_one_is_refused(family, act):
    model = lowered(family, act=ACTS[act])
    # What out_proj's quantiser reads: the last value before it that is no quantiser's.
    (gated,) = {
        n.inputs[0]
        for s in model.segments
        for n in s.graph.nodes
        if n.name == "layers.1.out_proj.q"
    }
    with pytest.raises(UserError, match="expects no Hadamard on its input but the graph has a "):
        check_rotations(rebuild(model, insert={gated: Hadamard(SIZE[family])}))


@pytest.mark.parametrize("family", FAMILIES)
def test_another_order_is_refused(family):
    model = lowered(family, RotateOut())
    size = SIZE[family]
    name = f"layers.0.mixer.out_proj.weight~h{size}"
    with pytest.raises(UserError, match=f"Hadamard of order {size // 2} .* order {size};"):
        check_rotations(rebuild(model, rename={name: name.replace(f"~h{size}", f"~h{size // 2}")}))


def test_the_rotation_on_the_wrong_side_of_the_norm_and_of_the_gate_is_refused():
    """A gate multiplies channel by channel: rotated before it, the product is another one."""
    model = rebuild(lowered("mamba2", RotateOut()), drop=("layers.0.out_in",))
    for early in ("layers.0.gated_norm", "layers.0.gated", "layers.0.y"):
        moved = {early: Hadamard(48)}
        if early == "layers.0.gated_norm":  # this is where it belongs
            check_rotations(rebuild(model, insert=moved))
            continue
        with pytest.raises(UserError, match=r"step/layers.0.out_proj.acc: .* has no Hadamard"):
            check_rotations(rebuild(model, insert=moved))


@pytest.mark.parametrize("family", FAMILIES)
def test_the_rotation_of_another_layer_does_not_count(family):
    with pytest.raises(UserError, match=r"layers.1.mixer.in_proj.weight' expects no Hadamard"):
        check_rotations(
            rebuild(lowered(family, RotateOut()), insert={"layers.1.norm": Hadamard(24)})
        )


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    "matrix",
    ["embeddings.weight", "layers.0.mixer.in_proj.weight", "layers.1.mixer.out_proj.weight",
     "lm_head.weight"],
)  # fmt: skip
@pytest.mark.parametrize("basis", ["", "~r24s1"])
def test_a_matrix_in_another_basis_is_refused(family, matrix, basis):
    model = lowered(family, RotateResidual())
    check_rotations(model)
    name = f"{matrix}~r24s0"
    with pytest.raises(UserError, match=r"model x: the residual is not in one basis: .* in basis"):
        check_rotations(rebuild(model, rename={name: matrix + basis}))


@pytest.mark.parametrize("family", FAMILIES)
def test_matrices_inside_the_block_have_no_basis_to_check(family):
    model = lowered(family, RotateResidual())
    names = [n for s in model.segments for n in s.graph.consts if "~r" in n]
    assert all(
        any(part in n for part in ("embeddings", "in_proj", "out_proj", "lm_head")) for n in names
    )
    assert len([n for n in names if not n.endswith(".multiplier")]) == 6


@pytest.mark.parametrize("state", ["int16", "int8 group"])
@pytest.mark.parametrize("side", ["B", "C"])
def test_a_state_rotated_on_one_side_only_is_refused(side, state):
    model = lowered("mamba2", RotateState(), ssm=SsmFormat(state=state))
    with pytest.raises(UserError, match=r"layers.1.ssm.read: the state is written with"):
        check_rotations(rebuild(model, drop=(f"layers.1.{side}.rotated",)))
    both = rebuild(model, drop=("layers.1.B.rotated", "layers.1.C.rotated"))
    check_rotations(both)


@pytest.mark.parametrize("family", FAMILIES)
def test_weightless_graphs_are_checked_too(family):
    recipe = RECIPES["w4a4"]
    model = lower_config("x", BASES[family], recipe)
    without = rebuild(model, drop=("layers.0.out_in",))
    with pytest.raises(UserError, match="expects a Hadamard of order"):
        check_rotations(without)
    plain = Recipe("plain", "", tuple(p for p in recipe.passes if not isinstance(p, RotateOut)))
    assert not [
        n
        for s in lower_config("x", BASES[family], plain).segments
        for n in s.graph.nodes
        if isinstance(n.op, Hadamard)
    ]


def heads_rotated(*rotations):
    model = random_model("llama")
    tokens = random_tokens(model, 1, 16)
    draft = Draft("x", model)
    last = (QuantiseWeights(WeightFormat(8)), LowerGraph(ActFormat(8)))
    for step in (FoldNorms(), *rotations, *last):
        draft = step.apply(draft, tokens)
    return draft.integer


@pytest.mark.parametrize(
    ("drop", "left"),
    [("layers.0.q_turned.rotated", "a Hadamard of order 8 but queries have no Hadamard"),
     ("layers.1.k_turned.rotated", "no Hadamard but queries have a Hadamard of order 8")],
)  # fmt: skip
def test_queries_and_keys_rotated_unlike_are_refused(drop, left):
    model = heads_rotated(RotateResidual(), RotateOut(), RotateHeads())
    check_rotations(model)
    with pytest.raises(UserError, match=f"keys are cached with {left}; rotate both or neither"):
        check_rotations(rebuild(model, drop=(drop,)))


@pytest.mark.parametrize("matrix", ["qkv_proj", "o_proj"])
def test_values_whose_rotation_is_not_taken_back_are_refused(matrix):
    model = heads_rotated(RotateHeads())
    (name,) = [n for n in model.segments[0].graph.consts
               if f"layers.1.self_attn.{matrix}" in n and n.endswith("~v8")]  # fmt: skip
    bare = rebuild(model, rename={name: name.removesuffix("~v8")})
    with pytest.raises(UserError, match=r"values are cached with .* rotate both or neither"):
        check_rotations(bare)

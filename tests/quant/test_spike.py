"""Spiking lowering: other arithmetic, the same bits; and the threshold that adapts to a token."""

import numpy as np
import pytest
import torch

from cosim.compare import first_difference
from cosim.ir.errors import UserError
from cosim.ir.types import TensorType, i
from cosim.ops import Clip, Fire, Linear, Quantize, SpikeEncode, SpikeLinear
from cosim.reference import run
from cosim.torch_exec import TorchExecutor
from quant.from_config import lower_config
from quant.lower.emit import Emitter, Fx
from quant.lower.spike import SpikeForm, spiked
from quant.lower.threshold import threshold_of
from quant.models import load_model
from quant.passes.draft import Draft
from quant.passes.spike import SpikeLinears
from quant.quantise import quantise
from quant.recipes import find_recipe
from tests.quant.random_models import random_model, random_tokens
from tests.quant.test_zoo import FOLDER

CODINGS = ("sign_magnitude", "twos_complement", "rate_signed")


@pytest.fixture(scope="module")
def lowered():
    """Return integer models by family and recipe, each with its tokens."""
    found = {}

    def give(family, recipe):
        if (family, recipe) not in found:
            model = random_model(family, 6)
            tokens = random_tokens(model, 2, 24)
            integer = quantise("x", model, find_recipe(recipe), tokens).model
            found[family, recipe] = integer, {"token": tokens.numpy()}
        return found[family, recipe]

    return give


@pytest.mark.parametrize("family", ["mamba", "mamba2", "bimamba"])
@pytest.mark.parametrize("recipe", ["w8a8-rtn", "w4a4-rtn"])
@pytest.mark.parametrize("coding", CODINGS)
def test_spikes_of_enough_steps_change_no_bit_of_any_value(lowered, family, recipe, coding):
    integer, inputs = lowered(family, recipe)
    spiking = spiked(integer, SpikeForm(coding, highest_first=family == "mamba2"))
    ops = [n.op for s in spiking.segments for n in s.graph.nodes]
    assert not any(isinstance(op, Linear | Clip) and isinstance(op, Linear) for op in ops)
    assert sum(isinstance(op, SpikeLinear) for op in ops) == sum(
        isinstance(n.op, Linear) for s in integer.segments for n in s.graph.nodes
    )
    plain = run(integer, inputs, keep=None).values
    fast = TorchExecutor(spiking).run(inputs, keep=None).values
    assert first_difference(integer, plain, {n: fast[n] for n in plain}) is None


def test_reference_and_executor_agree_on_a_clipping_graph(lowered):
    integer, inputs = lowered("mamba2", "w8a8-rtn")
    spiking = spiked(integer, SpikeForm(steps=3))
    clips = [n for n in spiking.segments[0].graph.nodes if n.name.endswith(".clipped")]
    assert clips
    assert all(n.op == Clip(-7, 7) for n in clips)
    slow, fast = run(spiking, inputs, keep=None), TorchExecutor(spiking).run(inputs, keep=None)
    assert first_difference(spiking, slow.values, fast.values) is None
    assert (slow.outputs["logits"] != run(integer, inputs).outputs["logits"]).any()


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["w8a8", "w4a4"])
def test_the_shipped_model_gives_every_logit_of_its_integer_graph(recipe):
    """256 tokens of text held out from training, all 256 logits of each, in three codings."""
    model = load_model(FOLDER)
    text = np.frombuffer((FOLDER / "calibration.txt").read_bytes()[:2048], np.uint8)
    held = np.frombuffer((FOLDER / "held_out.txt").read_bytes()[:256], np.uint8)
    calibration = torch.from_numpy(text.astype(np.int64).reshape(4, 512))
    integer = quantise("m", model, find_recipe(recipe), calibration).model
    inputs = {"token": held.astype(np.int64)[None]}
    want = TorchExecutor(integer).run(inputs).outputs["logits"]
    for coding in CODINGS:
        got = TorchExecutor(spiked(integer, SpikeForm(coding))).run(inputs).outputs["logits"]
        assert np.array_equal(got, want), coding


def test_a_graph_from_a_config_alone_has_the_same_spikes():
    config = random_model("mamba2").config
    bare = lower_config("x", config, find_recipe("w8a8+spikes-t4"))
    ops = [n.op for n in bare.segments[0].graph.nodes]
    assert {op.steps for op in ops if isinstance(op, SpikeEncode)} == {4}
    assert not bare.has_weights


def test_what_cannot_be_encoded_is_refused(lowered):
    integer, _ = lowered("mamba2", "w8a8-rtn")
    with pytest.raises(UserError, match="spikes: unsigned has no sign, but counts are i8"):
        spiked(integer, SpikeForm("unsigned"))
    with pytest.raises(UserError, match="spikes: lower the graph first"):
        SpikeLinears().apply(Draft("x", random_model("mamba2")), random_tokens(
            random_model("mamba2"), 1, 4))  # fmt: skip
    with pytest.raises(UserError, match="'spikes' and 'spikes-t3' both choose the spikes"):
        find_recipe("w8a8+spikes+spikes-t3")


# The threshold.


def thresholds(x: np.ndarray, divisor: float) -> np.ndarray:
    """Return the exponents that the graph gives for tokens x [T, K] of 16 bits."""
    em = Emitter("t", True)
    name = em.builder.input("x", TensorType.full(i(16), x.shape[1:]))
    em.builder.output("e", threshold_of(em, "threshold", Fx(name, np.zeros(())), divisor).name)
    graph = em.builder.build()
    values: dict = {**graph.tensors, "x": x}
    for node in graph.nodes:
        values[node.name] = node.op.meaning(*(values[n] for n in node.inputs))
    return values["threshold"][:, 0]


@pytest.mark.parametrize("divisor", [2.0, 3.0, 4.5])
@pytest.mark.parametrize("size", [1, 7, 64, 384])
def test_the_threshold_is_the_power_of_two_nearest_to_the_mean(divisor, size):
    rng = np.random.default_rng(size)
    x = np.rint(rng.normal(size=(400, size)) * 2 ** rng.uniform(6, 13, (400, 1)))
    x = np.clip(x, -32768, 32767).astype(np.int64)
    x[0] = 32767
    x[1] = -32768
    exact = np.abs(x).mean(axis=1) / divisor
    e = thresholds(x, divisor)
    off = np.abs(e - np.log2(np.maximum(exact, 1)))
    # v is rounded to an integer: of the smallest means, that is a part in v.
    slack = np.log2(1 + 1 / np.maximum(exact, 1)) + 1e-3
    assert (off <= 0.5 + slack).all()
    assert (e != np.floor(np.log2(np.maximum(exact, 1)))).any()


def test_a_silent_token_has_threshold_one():
    assert thresholds(np.zeros((1, 5), np.int64), 3.0).tolist() == [0]


def soft_reset(x: int, theta: int, start: int, comparator: str, steps: int) -> int:
    """Count the spikes of equation 20: no leak, soft reset, the whole input at the first step."""
    v, count = np.array([x + start]), 0
    for _ in range(steps):
        s = Fire(comparator).meaning(v, np.array([theta]))
        v, count = v - theta * s, count + int(s[0])
    return count


def test_equation_20_is_floor_and_half_a_threshold_ahead_it_is_our_quantiser():
    """SpikingBrain's neuron (eq. 20) floors, its training (eq. 21) rounds; v0 decides."""
    e, theta = 5, 32
    halves = 0
    for x in range(600):
        assert soft_reset(x, theta, 0, ">=", 30) == x // theta
        ours = int(Quantize(1, i(16)).meaning(np.array([x]), np.array([e]))[0])
        assert soft_reset(x, theta, theta // 2, ">=", 30) == ours
        # Strictly above, ties go down; eq. 21 rounds them half to even.
        strict = soft_reset(x, theta, theta // 2, ">", 30)
        tie = x % theta == theta // 2
        halves += tie
        assert strict == ours - tie
        assert ours == round(x / theta) or tie
    assert halves == 19


def test_the_exact_threshold_needs_no_divider_either():
    """Fire where k K v >= sum |x|: the counts are floor(x / (mean|x| / k)) exactly."""
    x = np.array([5, -3, 40, 17, 0, 9, 1])
    total, scale = int(np.abs(x).sum()), 3 * x.size
    for value in x[x >= 0].tolist():
        assert soft_reset(value * scale, total, 0, ">=", 40) == value * scale // total


def test_more_steps_than_the_counts_need_never_hurt():
    """Released encoders take T from the largest count of a tensor; here it is the graph's."""
    for steps in range(4, 9):
        op = SpikeEncode("sign_magnitude", steps)
        spikes = op.meaning(np.array([-9, 7, 0]))
        assert (np.abs(spikes[4:]) == 0).all()

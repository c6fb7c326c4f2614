"""The audit of spikes: hand-made counts, and networks that truly spike."""

import numpy as np
import pytest

from cosim.ir.errors import UserError
from cosim.ir.graph import GraphBuilder
from cosim.ir.model import Model, Segment
from cosim.ir.types import TensorType, i, u
from cosim.ops import Add, Linear
from quant.lower.spike import SpikeForm, spiked
from quant.netx import read_netx
from quant.spike_audit import audit
from tests.quant.test_neuron import ntidigits

COUNTS = np.array([[0, 1, -3, 7], [12, 0, 0, -8]])


def layer() -> Model:
    rows, dtype, channels = 2, i(5), 4
    b = GraphBuilder("step")
    t = TensorType.full(dtype, (channels,))
    x = b.input("x", t)
    w = b.const("w", np.full((rows, channels), 3), i(3))
    m = b.const("m", np.ones((rows, 1), dtype=np.int64), u(1))
    b.output("y", b.add("y", Linear(channels), x, w, m))
    return Model("m", {"x": t}, (Segment("step", b.build(), {"x": "x"}),), {"y": "step.y"})


def test_a_layer_is_measured_by_hand():
    (found,) = audit(layer(), {"x": COUNTS}, tile=2, lanes=2).layers
    assert (found.operand, found.macs, found.steps, found.largest) == ("integer", 8, 4, 12)
    assert found.silent == 3 / 8
    assert found.small == 6 / 8
    # ones: 0 1 2 3 / 2 0 0 1
    assert found.spikes == 9 / 8
    assert found.rate == 31 / 8
    assert found.sparsity == 1 - 9 / 32
    # of three steps, clipped to 7: 0 1 2 3 / 3 0 0 3
    assert found.window_sparsity == 1 - 12 / 24
    # two's complement of 5 bits: 0, 1, 11101, 111 / 1100, 0, 0, 11000
    assert found.twos == (0 + 1 + 4 + 3 + 2 + 0 + 0 + 2) / 8
    # longest of tiles (0 1 | 2 3) and (4 0 | 0 4)
    assert found.lockstep_steps == (1 + 3 + 4 + 4) / 4
    # lanes {0, 2} and {1, 3}: 2 against 4, 2 against 1
    assert found.balance == (3 / 4 + 1.5 / 2) / 2
    assert (found.clipped, found.clip_error) == (0, 0)


def test_clipped_counts_are_measured_before_the_clip_and_sent_after_it():
    model = spiked(layer(), SpikeForm(steps=3))
    (found,) = audit(model, {"x": COUNTS}, tile=2).layers
    assert (found.operand, found.steps, found.largest) == ("ternary", 3, 12)
    assert found.clipped == 2 / 8
    assert found.clip_error == pytest.approx(np.sqrt((25 + 1) / (1 + 9 + 49 + 144 + 64)))
    assert found.spikes == 12 / 8
    assert found.sparsity == found.window_sparsity == 1 - 12 / 24


@pytest.mark.parametrize(
    ("coding", "operand", "sent"),
    [("twos_complement", "binary", 12 / 40), ("rate_signed", "ternary", 31 / 8 / 16)],
)
def test_other_codings_are_measured_as_they_are_sent(coding, operand, sent):
    (found,) = audit(spiked(layer(), SpikeForm(coding)), {"x": COUNTS}).layers
    assert found.operand == operand
    assert found.sparsity == pytest.approx(1 - sent)


def test_a_true_spiking_network_is_binary_throughout_and_a_mean_is_by_macs():
    model = read_netx(ntidigits("ntidigits.net"))
    spikes = np.load(ntidigits("first300.npz"))["input"].T.astype(np.int64)
    found = audit(model, {"spikes": spikes})
    assert {x.operand for x in found.layers} == {"binary"}
    assert found.spiking_macs == 64 * 256 + 256 * 256 + 256 * 242
    assert found.layers[0].spikes == pytest.approx(spikes[:-1].sum() / spikes.size)
    by_hand = sum(x.spikes * x.macs for x in found.layers) / sum(x.macs for x in found.layers)
    assert found.mean("spikes") == pytest.approx(by_hand)


def test_silence_has_no_error_and_is_even():
    (found,) = audit(layer(), {"x": np.zeros((3, 4), np.int64)}).layers
    assert (found.silent, found.spikes, found.balance, found.clip_error) == (1, 0, 1, 0)


def test_what_cannot_be_audited_is_refused():
    with pytest.raises(UserError, match="tile 0 and lanes 16 must be at least 1"):
        audit(layer(), {"x": COUNTS}, tile=0)
    b = GraphBuilder("step")
    t = TensorType.full(i(4), (2,))
    x = b.input("x", t)
    b.output("y", b.add("y", Add(i(8)), x, x))
    bare = Model("bare", {"x": t}, (Segment("step", b.build(), {"x": "x"}),), {"y": "step.y"})
    with pytest.raises(UserError, match="model bare has no linear layer"):
        audit(bare, {"x": np.zeros((1, 2), np.int64)})

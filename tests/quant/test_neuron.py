"""Neurons as integer states: a plain loop in Python, and the recorded bits of a trained network."""

import os
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from cosim.ir.errors import UserError
from cosim.ir.graph import GraphBuilder
from cosim.ir.model import Model, Segment
from cosim.ir.types import TensorType, i, u
from cosim.reference import run
from cosim.torch_exec import TorchExecutor
from quant.lower.neuron import Neuron, add_delays, add_neurons
from quant.netx import read_netx

ROOT = Path(__file__).resolve().parents[2]
NEURONS = [
    Neuron(500, 700, current, 10, comparator, reset)
    for current, comparator, reset in product((None, 300), (">", ">="), ("hard", "soft"))
]


def layer(form: Neuron, size: int, bits: int = 12) -> Model:
    """Return one layer whose input is what drives it."""
    b = GraphBuilder("step")
    x = TensorType.full(i(bits), (size,))
    b.output("fired", add_neurons(b, "n", b.input("x", x), form))
    return Model("layer", {"x": x}, (Segment("step", b.build(), {"x": "x"}),),
                 {"fired": "step.fired"})  # fmt: skip


def leaky(z: int, decay: int, bits: int) -> int:
    kept = abs(z) * (2**bits - decay) // 2**bits
    return kept if z >= 0 else -kept


def fired(form: Neuron, xs: list[int]) -> list[int]:
    """Step one neuron in Python integers."""
    u_, v, out = 0, 0, []
    for x in xs:
        if form.current_decay is not None:
            u_ = leaky(u_, form.current_decay, form.decay_bits) + x
            x = u_
        v = leaky(v, form.voltage_decay, form.decay_bits) + x
        spike = v > form.threshold if form.comparator == ">" else v >= form.threshold
        out.append(int(spike))
        if spike:
            v = 0 if form.reset == "hard" else v - form.threshold
    return out


@pytest.mark.parametrize("form", NEURONS, ids=str)
def test_neurons_step_as_a_loop_in_python_does(form):
    rng = np.random.default_rng(0)
    x = rng.integers(-400, 900, (120, 7))
    x[:, 0] = 500  # on the threshold again and again
    want = np.array([fired(form, x[:, n].tolist()) for n in range(7)]).T
    assert 0 < want.mean() < 1
    model = layer(form, 7)
    assert (run(model, {"x": x}).outputs["fired"] == want).all()
    assert (TorchExecutor(model).run({"x": x[None]}).outputs["fired"][0] == want).all()


def test_a_constant_drive_fires_at_a_period_that_can_be_told():
    """Without leak, v rises by x a step: after a hard reset it passes theta at step theta//x."""
    for x, theta in ((7, 100), (25, 100), (100, 100)):
        for comparator, reset in product((">", ">="), ("hard", "soft")):
            model = layer(Neuron(theta, 0, comparator=comparator, reset=reset), 1, 8)
            got = run(model, {"x": np.full((2000, 1), x)}).outputs["fired"][:, 0]
            if reset == "soft":
                # What is left over is kept: the rate is x / theta exactly.
                assert abs(int(got.sum()) - 2000 * x // theta) <= 1
            else:
                period = theta // x + 1 if comparator == ">" else -(-theta // x)
                assert int(got.sum()) == 2000 // period


def test_potentials_saturate_at_their_width_and_are_counted():
    model = layer(Neuron(100, 0, potential=i(8)), 1, 9)
    ran = run(model, {"x": np.full((5, 1), -200)})
    assert (ran.states["step/n.v"] == -128).all()
    assert ran.clipped["step/n.v.next"] == 5


@pytest.mark.parametrize("delays", [[0, 0, 0, 0, 0], [0, 3, 1, 0, 7], [2, 2, 2, 2, 2]])
def test_each_neuron_has_its_own_delay(delays):
    b = GraphBuilder("step")
    s = TensorType.full(u(1), (5,))
    b.output("late", add_delays(b, "axon", b.input("s", s), np.array(delays)))
    model = Model("d", {"s": s}, (Segment("step", b.build(), {"s": "s"}),), {"late": "step.late"})
    x = np.random.default_rng(1).integers(0, 2, (20, 5))
    want = np.array([np.concatenate([np.zeros(d, int), x[: 20 - d, n]])
                     for n, d in enumerate(delays)]).T  # fmt: skip
    assert (run(model, {"s": x}).outputs["late"] == want).all()
    assert (TorchExecutor(model).run({"s": x[None]}).outputs["late"][0] == want).all()


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"threshold": 0, "voltage_decay": 1}, r"threshold 0 must lie in 1\.\.8388607"),
        ({"threshold": 1 << 23, "voltage_decay": 1}, "threshold 8388608"),
        ({"threshold": 1, "voltage_decay": 4097}, r"voltage decay 4097 must lie in 0\.\.4096"),
        ({"threshold": 1, "voltage_decay": 1, "current_decay": -1}, "current decay -1"),
    ],
)
def test_neurons_that_cannot_be_are_refused(fields, said):
    with pytest.raises(UserError, match=f"neuron: .*{said}"):
        Neuron(**fields)


def test_delays_that_cannot_be_are_refused():
    b = GraphBuilder("step")
    s = b.input("s", TensorType.full(u(1), (2,)))
    for wrong in (np.array([1]), np.array([1, -1]), np.array([1.0, 2.0])):
        with pytest.raises(UserError, match="axon: delays must be 2 integers >= 0"):
            add_delays(b, "axon", s, wrong)


def ntidigits(name: str) -> Path:
    """Return a file of the trained network, or skip where it or h5py is absent."""
    pytest.importorskip("h5py", reason="reading netx files needs the extra neuromorphic")
    folder = Path(os.environ.get("COSIM_GOLDEN", ROOT.parent / "shared" / "data")) / "ntidigits"
    if not (folder / name).is_file():
        pytest.skip(f"outside data ntidigits/{name} is absent: set COSIM_GOLDEN to its folder")
    return folder / name


def test_the_trained_ntidigits_network_gives_every_recorded_bit():
    """All 300 steps of 242 outputs, in the reference and in the fast executor."""
    model = read_netx(ntidigits("ntidigits.net"))
    recorded = np.load(ntidigits("first300.npz"))
    x, want = recorded["input"].T.astype(np.int64), recorded["output"].T
    assert want.shape == (300, 242)
    assert want.sum() > 7000
    assert np.array_equal(run(model, {"spikes": x}).outputs["fired"], want)
    fast = TorchExecutor(model).run({"spikes": np.stack([x, x[::-1]])}).outputs["fired"]
    assert np.array_equal(fast[0], want)
    assert not np.array_equal(fast[1], want)


def test_a_file_that_is_no_netx_is_refused(tmp_path):
    h5py = pytest.importorskip("h5py", reason="reading netx files needs the extra neuromorphic")
    (tmp_path / "a.net").write_text("no")
    with pytest.raises(UserError, match=r"a\.net: not a netx file"):
        read_netx(tmp_path / "a.net")
    for kind, said in ((b"conv", "is of type 'conv'"), (b"input", "no dense layer")):
        with h5py.File(tmp_path / "b.net", "w") as file:
            file["layer/0/type"] = np.array([kind])
        with pytest.raises(UserError, match=f"b.net: .*{said}"):
            read_netx(tmp_path / "b.net")
    with h5py.File(tmp_path / "c.net", "w") as file:
        file["layer/0/type"] = np.array([b"dense"])
        file["layer/0/weight"] = np.array([[0.5]])
    with pytest.raises(UserError, match=r"c\.net: weights of layer 0 are not integers"):
        read_netx(tmp_path / "c.net")

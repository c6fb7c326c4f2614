"""NIR files: exact with the profile, integers by a stated rule without it, sentences otherwise."""

import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from cosim.ir.errors import UserError
from cosim.reference import run
from quant.lower.neuron import Neuron
from quant.netx import netx_network
from quant.nir_file import read_nir, write_nir
from quant.nir_profile import check_vectors, profile_path
from quant.spiking_network import SpikingLayer, SpikingNetwork
from tests.quant.test_neuron import NEURONS, ntidigits

nir = pytest.importorskip("nir", reason="NIR files need the extra neuromorphic")
DT = 1e-4


def network(*forms: Neuron) -> SpikingNetwork:
    rng = np.random.default_rng(3)
    layers = tuple(
        SpikingLayer(f"l{k}", rng.integers(-60, 127, (5, 5)), 8, form, rng.integers(0, 3, 5) * k)
        for k, form in enumerate(forms)
    )
    return SpikingNetwork("n", layers, np.array([0, 1, 2, 0, 1]))


def spikes(steps: int = 80) -> np.ndarray:
    return np.random.default_rng(4).integers(0, 2, (steps, 5))


def fired(found: SpikingNetwork, x: np.ndarray) -> np.ndarray:
    return run(found.model(), {"spikes": x}).outputs["fired"]


@pytest.mark.parametrize("form", [*NEURONS, Neuron(900, 0)], ids=str)
def test_what_is_written_comes_back_bit_by_bit(form, tmp_path):
    """Soft resets, >= and rounding toward zero are in the profile: NIR has no word for them."""
    own = network(form, replace(form, threshold=700))
    write_nir(tmp_path / "a.nir", own)
    back = read_nir(tmp_path / "a.nir")
    assert back.model().text() == own.model().text().replace("model n", "model a.nir", 1)
    assert fired(own, spikes()).any()
    assert np.array_equal(fired(back, spikes()), fired(own, spikes()))
    assert check_vectors(tmp_path / "a.nir", back) == 64 * 5


def test_the_ntidigits_network_goes_through_nir_with_every_bit(tmp_path):
    write_nir(tmp_path / "n.nir", netx_network(ntidigits("ntidigits.net")))
    recorded = np.load(ntidigits("first300.npz"))
    back = read_nir(tmp_path / "n.nir")
    got = fired(back, recorded["input"].T.astype(np.int64))
    assert np.array_equal(got, recorded["output"].T)


def write(path, **nodes) -> None:
    names = list(nodes)
    edges = list(pairwise(names))
    nir.write(path, nir.NIRGraph(nodes, edges, type_check=False))


def ends(size: int = 2):
    return nir.Input({"input": np.array([size])}), nir.Output({"output": np.array([size])})


def lif(**changes):
    one = np.ones(2)
    given = {"tau": one * 4 * DT, "r": one * 4, "v_leak": 0 * one, "v_threshold": one * 1.5}
    return nir.LIF(**{**given, **changes})


def test_continuous_time_becomes_integers_by_the_stated_rule(tmp_path):
    """dt / tau = 1/4 is 1024 of 4096; r dt / tau = 1e-4 shrinks weights, and the threshold too."""
    weight = np.array([[1.0, -0.5], [0.25, 0.75]])
    start, end = ends()
    write(tmp_path / "a.nir", i=start, w=nir.Linear(weight), d=nir.Delay(np.ones(2) * 3 * DT),
          n=lif(r=np.ones(2) * 4.0), o=end)  # fmt: skip
    with pytest.raises(UserError, match=r"time constants are continuous.*give the time step"):
        read_nir(tmp_path / "a.nir")
    (layer,) = read_nir(tmp_path / "a.nir", DT).layers
    assert layer.neuron.voltage_decay == 1024
    assert layer.neuron.current_decay is None
    assert layer.weight.tolist() == [[64, -32], [16, 48]]
    assert layer.neuron.threshold == 96
    assert layer.delays.tolist() == [3, 3]


def test_a_current_based_neuron_keeps_its_gain_of_one(tmp_path):
    one = np.ones(2)
    cuba = nir.CubaLIF(tau_syn=one * 8 * DT, tau_mem=one * 2 * DT, r=2 * one, v_leak=0 * one,
                       v_threshold=10 * one, w_in=8 * one)  # fmt: skip
    start, end = ends()
    write(tmp_path / "a.nir", i=start, w=nir.Linear(np.eye(2)), n=cuba, o=end)
    (layer,) = read_nir(tmp_path / "a.nir", DT).layers
    assert (layer.neuron.current_decay, layer.neuron.voltage_decay) == (512, 2048)
    assert layer.weight.tolist() == [[64, 0], [0, 64]]
    assert layer.neuron.threshold == 640


BAD = {
    "node 'x' is a Threshold": {"x": nir.Threshold(np.ones(2))},
    "v_threshold of 'n' has nan in it": {"n": lif(v_threshold=np.array([1.0, np.nan]))},
    "v_threshold of 'n' differs between neurons": {"n": lif(v_threshold=np.array([1.0, 2.0]))},
    "'n' rests or resets at another potential": {"n": lif(v_reset=np.ones(2))},
    "below the time step": {"n": lif(tau=np.ones(2) * 1e-5)},
    "has inf in it": {"n": lif(tau=np.ones(2) * np.inf)},
    "threshold -3 must lie in": {"n": lif(v_threshold=np.ones(2) * -0.05)},
    "has a bias": {"w": nir.Affine(np.eye(2), np.ones(2))},
    "two matrices before 'v'": {"v": nir.Linear(np.eye(2))},
    "delays of 'd' in steps of 0.0001 s are not integers": {"d": nir.Delay(np.ones(2) * 1.5 * DT)},
}


@pytest.mark.parametrize(("said", "changed"), BAD.items(), ids=list(BAD))
def test_what_has_no_integer_meaning_is_a_sentence(said, changed, tmp_path):
    start, end = ends()
    nodes = {"i": start, "w": nir.Linear(np.eye(2)), **changed}
    nodes = {**nodes, "n": changed.get("n", lif()), "o": end}
    write(tmp_path / "a.nir", **nodes)
    with pytest.raises(UserError, match=f"a.nir: .*{said}"):
        read_nir(tmp_path / "a.nir", DT)


def test_graphs_that_are_no_chain_and_files_that_are_none_are_refused(tmp_path):
    start, end = ends()
    graph = nir.NIRGraph({"i": start, "w": nir.Linear(np.eye(2)), "n": lif(), "o": end},
                         [("i", "w"), ("w", "n"), ("n", "w"), ("n", "o")])  # fmt: skip
    nir.write(tmp_path / "a.nir", graph)
    with pytest.raises(UserError, match="4 nodes and 4 edges are no chain"):
        read_nir(tmp_path / "a.nir", DT)
    (tmp_path / "b.nir").write_text("no")
    with pytest.raises(UserError, match=r"b\.nir: not a NIR file"):
        read_nir(tmp_path / "b.nir", DT)
    with pytest.raises(UserError, match="a time step of -1 s"):
        read_nir(tmp_path / "a.nir", -1)
    with pytest.raises(UserError, match="l0 never leaks; NIR's LIF needs a finite tau"):
        write_nir(tmp_path / "c.nir", network(Neuron(9, 0, 9)))


def test_a_profile_of_another_file_or_network_is_refused(tmp_path):
    path = tmp_path / "a.nir"
    write_nir(path, network(NEURONS[0]))
    place = profile_path(path)
    good = place.read_text()
    document = json.loads(good)
    document["layers"]["l0"]["neuron"]["comparator"] = ">="
    document["layers"]["l0"]["neuron"]["threshold"] = 3000
    place.write_text(json.dumps(document))
    with pytest.raises(UserError, match="spikes differ from the conformance vectors, first at"):
        read_nir(path)
    place.write_text("{")
    with pytest.raises(UserError, match="not JSON"):
        read_nir(path)
    place.write_text("{}")
    with pytest.raises(UserError, match="not a 'cosim integer profile of NIR, 1'"):
        read_nir(path)
    # Soft reset instead of hard: NIR has no word for it, its file is the same byte for byte.
    before = path.read_bytes()
    write_nir(path, network(NEURONS[1]))
    assert path.read_bytes() == before
    assert place.read_text() != good
    write_nir(path, network(NEURONS[-1]))
    place.write_text(good)
    with pytest.raises(UserError, match=r"is the profile of another file than a\.nir"):
        read_nir(path)

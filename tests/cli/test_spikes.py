"""`cosim spikes`: text and JSON of one small graph, and sentences for bad input."""

import json

import pytest

from cosim.cli import main
from cosim.ir.file import save_model
from quant.lower.spike import SpikeForm, spiked
from quant.netx import read_netx
from quant.quantise import quantise
from quant.recipes import find_recipe
from quant.spike_audit import audit
from reports.spikes import tables_of
from tests.quant.random_models import random_model, random_tokens
from tests.quant.test_neuron import ntidigits


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    model = random_model("mamba2")
    tokens = random_tokens(model, 2, 16)
    integer = quantise("small", model, find_recipe("w8a8-rtn"), tokens).model
    where = tmp_path_factory.mktemp("graphs")
    save_model(integer, where / "plain")
    save_model(spiked(integer, SpikeForm(steps=3)), where / "spiking")
    (where / "text").write_bytes(bytes(k % (int(tokens.max()) + 1) for k in range(64)))
    return where


def test_text_prints_coverage_first_and_an_origin_for_every_number(folder, capsys):
    assert main(["spikes", str(folder / "plain"), "--text", str(folder / "text"), "-q"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("Coverage\n")
    assert "operand truly binary or ternary" in said
    assert "69.15 % and 1.13 do not go together" in said
    assert "Horowitz, ISSCC 2014" in said


def test_json_has_the_shares_of_a_spiking_graph(folder, capsys):
    command = ["spikes", str(folder / "spiking"), "--text", str(folder / "text"), "--json"]
    assert main(command) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found) == {"coverage", "layers", "claims", "energy", "constants"}
    every, linear, binary = (row["macs"] for row in found["coverage"])
    assert 0 < binary == linear < every
    assert all(row["operand"] == "ternary" for row in found["layers"][:-1])
    assert found["layers"][-1]["clipped"] > 0
    saved = next(r for r in found["claims"] if "INT8" in r["what"])
    assert saved["formula"] == pytest.approx(0.8526, abs=1e-4)


def test_energies_of_another_node_come_whole(folder):
    model = read_netx(ntidigits("ntidigits.net"))
    del folder
    import numpy as np

    found = audit(model, {"spikes": np.ones((3, 64), np.int64)})
    constants = tables_of(found, "jouppi-7nm")[-1]
    assert {row[3] for row in constants.rows} == {"7 nm, voltage not said"}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--tokens", "0"], "--tokens 0: choose 1 to 65536"),
        (["--tile", "0"], "tile 0 and lanes 16 must be at least 1"),
        (["--energy", "5nm"], "energy table '5nm' is unknown; choose one of horowitz-45nm"),
        (["--text", "nowhere"], "nowhere: No such file or directory"),
        ([], "but tokens go to"),
    ],
)
def test_bad_input_is_a_sentence(folder, capsys, options, said):
    own = [] if "--text" in options or not options else ["--text", str(folder / "text")]
    assert main(["spikes", str(folder / "plain"), *own, *options]) == 2
    assert said in capsys.readouterr().err

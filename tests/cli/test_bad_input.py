"""Bad input ends in one sentence and status 2, and leaves what existed as it was."""

import hashlib
import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tests.cli.command import ROOT, WALK, command
from tests.cli.tiny import CONFIG, tensors


def contents(folder: Path) -> dict[str, str]:
    """Return the hash of every file."""
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


def refused(*argv, said: str) -> None:
    """Run a command that must fail with one sentence."""
    ran = command(*argv)
    assert ran.status == 2, ran
    assert said in ran.err
    lines = [line for line in ran.err.splitlines() if not line.endswith((" s", "reused"))]
    assert len(lines) == 1, ran.err
    assert lines[0].startswith("cosim: ")
    assert ran.out == ""


def cut(folder):
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])


def change(name, value):
    def apply(folder):
        data = load_file(folder / "model.safetensors")
        data[name] = value(data[name])
        save_file(data, folder / "model.safetensors")

    return apply


def nan(array):
    array = array.copy()
    array.flat[0] = np.nan
    return array


def infinite(array):
    return np.full_like(array, np.inf)


def config(**changes):
    def apply(folder):
        (folder / "config.json").write_text(json.dumps({**CONFIG, **changes}))

    return apply


def scaled(folder):
    """Make weights that are finite, but not what comes of them."""
    data = load_file(folder / "model.safetensors")
    save_file({k: v * np.float32(1e36) for k, v in data.items()}, folder / "model.safetensors")


def deep(folder):
    (folder / "config.json").write_text("[" * 100_000)


def pickle_only(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def without(name):
    return lambda folder: (folder / name).unlink()


def text(data):
    return lambda folder: (folder / "held_out.txt").write_bytes(data)


NORM = "backbone.layers.0.norm.weight"


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (without("model.safetensors"), "holds no weights"),
        (cut, "cannot be read as safetensors"),
        (change(NORM, lambda a: a[:-1]), "[23]"),
        (change(NORM, nan), "holds 1 of 24 values that are NaN or infinite"),
        (change(NORM, infinite), "holds 24 of 24 values that are NaN or infinite"),
        (config(model_type="rwkv9"), "model_type is 'rwkv9', but the known ones are mamba"),
        (config(hidden_act="relu"), "relu"),
        (config(num_hidden_layers=10**9), "but it must be at most 10000"),
        (config(expand=1e400), "expand is inf, but it must be a number above zero"),
        (config(norm_before_gate="yes"), "must be true or false"),
        (deep, "is not valid JSON"),
        (scaled, "are NaN or infinite on this text, and the first such value is layers.0.v;"),
        (pickle_only, "is a Python pickle, which can run any code"),
        (without("config.json"), "config.json"),
        (lambda f: (f / "config.json").write_text("{"), "is not valid JSON"),
        (text(b""), "is empty"),
        (text(b"abc" * 10), "holds 30 tokens, shorter than the 64 that the window needs"),
        (without("held_out.txt"), "has no text beside it"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_bad_model_folder(model, run, damage, said):
    before = contents(run)
    damage(model)
    refused("walk", model, *WALK, "-o", run, said=said)
    assert contents(run) == before


def test_names_that_nothing_has(model, run):
    for argv, said in (
        (
            ("walk", "no-such-model", *WALK, "-o", run),
            "there is no model 'no-such-model'; name one",
        ),
        (("walk", "./no/folder", *WALK, "-o", run), "There is no model folder no/folder"),
        (("walk", model / "config.json", *WALK, "-o", run), "config.json"),
        (("walk", model, "--recipe", "w1a1", "-o", run), "no recipe 'w1a1'; there are w8a8"),
        (("walk", model, "--machine", "u9999", "-o", run), "machine 'u9999' is unknown"),
        (("walk", model, *WALK, "--device", "tpu9", "-o", run), "device 'tpu9' cannot be used"),
        (("walk", model, *WALK, "--text", "none.txt", "-o", run), "none.txt cannot be read"),
        (("walk", model, *WALK, "-o", model / "config.json"), "is a file; give a folder"),
        (
            ("walk", "typeseg", *WALK, "--text", ROOT / "README.md", "--prompt", "a", "-o", run),
            "labels bytes and writes none",
        ),
        (("walk", "typeseg", "--recipe", "lightmamba", "-o", run), "graph is of Mamba-2; quantise"),
        (("report", model), "is no run folder"),
        (("run", run, "--recipe", "w4a4"), "'w4a4' is not among them"),
        (("run", model), "no graph.json there"),
        (("run", run, "--prompt", ""), "the prompt is empty"),
        (("run", run, "--prompt", "a\udcff"), "prompt 'a\\udcff' is not UTF-8 text"),
        (("walk", model, *WALK, "--prompt", "\udcff", "-o", run), "is not UTF-8 text"),
        (("run", run, "--device", "meta"), "device 'meta' cannot be used"),
        (("simulate", "mamba2-9b"), "one of mamba-130m"),
        (("simulate", run / "graph/w8a8-rtn", "--recipe", "x"), "so that --recipe x has nothing"),
        (("run", run / "graph/w8a8-rtn", "--recipe", "w4a4"), "so that --recipe w4a4 has nothing"),
        (("verify", run / "graph/w8a8-rtn", "--recipe", "x"), "so that --recipe x has nothing to"),
        (("verify", run / "graph/w8a8-rtn"), "names no text; give one with --text"),
        (("verify", run, "--text", model), "Is a directory"),
        (("simulate", run, "--machine", "none.yaml"), "none.yaml"),
    ):
        refused(*argv, said=said)


def test_weights_out_of_range_are_refused_by_quantize(model, tmp_path):
    scaled(model)
    refused("quantize", model, "--recipe", "w4a4", "--window", "32", "-o", tmp_path / "new",
            said="are NaN or infinite on this text")  # fmt: skip
    assert not (tmp_path / "new").exists()


def test_an_archive_in_the_place_of_tokens(model, run, tmp_path):
    with (tmp_path / "tokens.npy").open("wb") as file:
        np.savez(file, a=np.zeros(3))
    refused("walk", model, *WALK, "--text", tmp_path / "tokens.npy", "-o", run,
            said="is an archive of arrays")  # fmt: skip


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        ((), "required"),
        (("fly",), "invalid choice: 'fly'"),
        (("run", "x", "--tokens", "0"), "0 is not at least 1"),
        (("run", "x", "--tokens", "many"), "'many' is not a whole number"),
        (("verify", "x", "--threads", "1,x"), "'x' is not a whole number"),
        (("verify", "x", "--threads", "100000"), "100000 threads are more than 256"),
        (("simulate", "x", "--slack", "x"), "'x' is not a number"),
        (("walk", "m"), "-o"),
    ],
)
def test_a_bad_command_line(argv, said):
    ran = command(*argv)
    assert ran.status == 2
    assert said in ran.err.splitlines()[-1]
    assert "Traceback" not in ran.err


def change_tensor(graph):
    file = graph / "tensors.safetensors"
    raw = bytearray(file.read_bytes())
    raw[-1] ^= 1
    file.write_bytes(raw)


def change_structure(graph):
    file = graph / "graph.json"
    file.write_text(file.read_text().replace('"layers.0.', '"layers.7.', 1))


def newer(graph):
    data = json.loads((graph / "graph.json").read_text())
    data["schema"] += 1
    (graph / "graph.json").write_text(json.dumps(data))


def cut_graph(graph):
    file = graph / "tensors.safetensors"
    file.write_bytes(file.read_bytes()[:-10])


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (change_tensor, "does not match its hash"),
        (change_structure, "does not match its hash"),
        (newer, "schema 2, this version reads 1"),
        (cut_graph, "cannot be read"),
        (lambda g: (g / "graph.json").write_text("[1"), "not a graph file"),
        (lambda g: (g / "tensors.safetensors").unlink(), "does not match its hash"),
    ],
)
@pytest.mark.parametrize("name", ["run", "verify", "simulate"])
def test_a_bad_graph_folder(run, name, damage, said):
    damage(run / "graph/w8a8-rtn")
    refused(name, run, said=said)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t + "colour: red\n", "colour"),
        (lambda t: t + "name: again\n", "name"),
        (lambda t: "- 1\n", "board.yaml"),
        (lambda t: t + "  : [", "board.yaml"),
    ],
    ids=["unknown key", "doubled key", "no mapping", "no YAML"],
)
def test_a_bad_machine_file(model, run, tmp_path, change, said):
    board = tmp_path / "board.yaml"
    board.write_text(change((ROOT / "cosim/machines/u280.yaml").read_text()))
    before = contents(run)
    refused("walk", model, "--machine", board, "-o", run, said=said)
    assert contents(run) == before


def test_a_full_disk_keeps_what_was_there(model, run):
    """The kernel refuses to let a file grow past a limit, as a full disk does."""
    before = contents(run)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    for limit in (100, 2000, 40_000):  # the last one stops between structure and tensors
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
        try:
            ran = command("walk", model, *WALK, "--window", "24", "-o", run)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert ran.status == 2, ran
        assert "File too large" in ran.err.splitlines()[-1]
        assert "Traceback" not in ran.err
        after = contents(run)
        assert {k: v for k, v in after.items() if k in before and k.startswith("graph/")} == {
            k: v for k, v in before.items() if k.startswith("graph/")
        }
        assert not [name for name in after if "/." in f"/{name}"], "a temporary file is left"
    assert command("walk", model, *WALK, "--window", "24", "-o", run).status == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_really_full_disk(model, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(f"no right to mount a small disk: {mounted.stderr.decode().strip()}")
    try:
        ran = command("walk", model, *WALK, "-o", disk / "run")
        left = contents(disk)
    finally:
        subprocess.run(["umount", disk], check=True)
    assert ran.status == 2, ran
    assert "No space left" in ran.err.splitlines()[-1]
    assert "Traceback" not in ran.err
    assert [name for name in left if "graph" in name] == []
    assert "run/steps/score-float.json" in left


def test_a_fault_of_ours_is_not_called_bad_input(monkeypatch):
    def fail():
        raise KeyError("x")

    monkeypatch.setattr("cosim.machine.list_machines", fail)
    ran = command("machines")
    assert ran.status == 3
    assert "KeyError" in ran.err
    assert "this is a fault of cosim" in ran.err


def test_a_closed_pipe_is_no_fault(done):
    ran = subprocess.run(
        f"{sys.executable} -m cosim.cli run {done / 'run'} --tokens 40 | head -c 1",
        shell=True, cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.stderr == ""
    assert len(ran.stdout) == 1


def test_a_terminal_of_few_characters_is_no_fault(done):
    ran = subprocess.run(
        [sys.executable, "-m", "cosim.cli", "report", done / "run"],
        cwd=ROOT, capture_output=True, check=False, env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert b"Accuracy on held-out text" in ran.stdout


def test_the_tiny_model_is_what_the_tests_think():
    assert tensors()[NORM].shape == (24,)

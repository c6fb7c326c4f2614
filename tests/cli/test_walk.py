"""The commands do what they say: files, tables, JSON, exit status, resumption."""

import json
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from cosim.flow import verify as verify_file
from cosim.ir.file import load_model as load_graph
from cosim.ops import OPS
from cosim.reference import run as run_reference
from cosim.torch_exec import TorchExecutor
from quant.models import load_model, sequence
from tests.cli.command import ROOT, WALK, command
from tests.cli.tiny import write_model


def test_help_is_fast():
    """Under half a second of processor time; the machine may be busy."""
    took = []
    for _ in range(3):
        before = time.perf_counter()
        ran = subprocess.run(
            [sys.executable, "-m", "cosim.cli", "--help"],
            cwd=ROOT, capture_output=True, text=True, check=True,
        )  # fmt: skip
        took.append(time.perf_counter() - before)
    assert "walk" in ran.stdout
    assert min(took) < 0.5


def test_models_and_recipes_are_listed():
    ran = command("models", "--json")
    data = json.loads(ran.out)
    assert {"w8a8", "w8a6", "w4a8", "w4a4", "w4a4-rtn"} <= {r["name"] for r in data["recipes"]}
    assert {"typeseg", "mamba2-py-1m", "rwkv5-py-1m"} <= {m["name"] for m in data["models"]}
    assert "w4a4-rtn" in command("models").out


def test_machines_are_listed():
    rows = json.loads(command("machines", "--json").out)["machines"]
    assert {"u280", "vck190"} <= {row["name"] for row in rows}
    assert all(row["bandwidth_gb_s"] > 0 for row in rows)


def test_a_walk_leaves_its_files(done):
    run = done / "run"
    names = {p.relative_to(run).as_posix() for p in run.rglob("*") if p.is_file()}
    assert {
        "run.json", "summary.json", "lints.csv", "report.html",
        "figures/accuracy.svg", "figures/accuracy.png",
        "graph/w8a8-rtn/graph.json", "graph/w8a8-rtn/tensors.safetensors",
        "steps/quantise-w8a8-rtn.json", "steps/score-float.json",
    } <= names  # fmt: skip
    assert "<h1>model" in (run / "report.html").read_text()


def test_scores_are_those_of_the_float_model_and_the_reference(done):
    """Scored again from their definition, on the reference instead of the fast executor."""
    text = np.frombuffer((done / "model/held_out.txt").read_bytes(), np.uint8).astype(np.int64)
    tokens = torch.from_numpy(text[: 4 * 32].reshape(4, 32))

    def bits(logits):
        logs = torch.log_softmax(logits[:, :-1].double(), -1)
        return float(-logs.gather(-1, tokens[:, 1:, None]).mean() / np.log(2))

    float_logits = sequence(load_model(done / "model"), tokens)
    graph = load_graph(done / "run/graph/w8a8-rtn", OPS)
    ran = run_reference(graph, {"token": tokens.numpy()})
    int_logits = torch.from_numpy(ran.outputs["logits"]) * graph.output_scale("logits")
    rows = json.loads((done / "run/summary.json").read_text())["tables"]["accuracy"]["rows"]
    assert [r["form"] for r in rows] == ["float", "w8a8-rtn"]
    assert rows[0]["tokens"] == 4 * 32
    assert rows[0]["bits_per_byte"] == pytest.approx(bits(float_logits), abs=1e-5)
    assert rows[1]["bits_per_byte"] == pytest.approx(bits(int_logits), abs=1e-5)
    assert rows[1]["excess"] == pytest.approx(bits(int_logits) / bits(float_logits) - 1, abs=1e-5)


def test_the_same_walk_does_nothing_again(model, run):
    first = command("walk", model, *WALK, "-o", run)
    again = command("walk", model, *WALK, "-o", run)
    assert again.status == 0
    done_again = [line for line in again.err.splitlines() if not line.endswith("reused")]
    assert [line.split(":")[0] for line in done_again] == ["report"]
    assert first.out == again.out


def test_what_changed_is_done_again(model, run):
    command("walk", model, *WALK, "-o", run)
    more = command("walk", model, *WALK, "--verify-tokens", "24", "-o", run)
    assert "quantise w8a8-rtn: reused" in more.err
    assert "verify w8a8-rtn: reused" not in more.err
    text = model / "held_out.txt"
    text.write_bytes(text.read_bytes()[::-1])
    other = command("walk", model, *WALK, "-o", run)
    assert "reused" not in other.err


def test_a_lost_graph_is_made_again(model, run):
    command("walk", model, *WALK, "-o", run)
    (run / "graph/w8a8-rtn/graph.json").unlink()
    again = command("walk", model, *WALK, "-o", run)
    assert again.status == 0
    assert "quantise w8a8-rtn: reused" not in again.err
    assert "score w8a8-rtn: reused" in again.err  # the same graph came out


def test_report_writes_the_page_again(run):
    (run / "report.html").unlink()
    ran = command("report", run, "--json", "-q")
    assert ran.status == 0
    assert ran.err == ""
    assert json.loads(ran.out)["tables"]["exactness"]["rows"][0]["differences"] == 0
    assert (run / "report.html").exists()


def test_a_wrong_bit_is_status_1_and_named(model, run, monkeypatch):
    class Wrong(TorchExecutor):
        def run(self, *args, **kwargs):
            ran = super().run(*args, **kwargs)
            if "step/layers.1.norm" in ran.values:
                ran.values["step/layers.1.norm"][1, 3, 2] += 1
            return ran

    monkeypatch.setattr(verify_file, "TorchExecutor", Wrong)
    ran = command("verify", run, "--text", model / "held_out.txt", "--tokens", "9")
    assert ran.status == 1
    place = "tokens 0..3 of 2 sequences: first difference at step/layers.1.norm[1, 3, 2]: "
    assert f"cosim: w8a8-rtn, 1 thread: {place}" in ran.err
    assert f"cosim: w8a8-rtn, 2 threads: {place}" in ran.err
    walked = command("walk", model, *WALK, "--verify-tokens", "17", "-o", run)
    assert walked.status == 1
    assert "first difference at step/layers.1.norm[1, 3, 2]: " in walked.err
    assert "layers.1.norm[1, 3, 2]" in (run / "report.html").read_text()


def test_verify_takes_the_text_of_the_run(done):
    data = json.loads(command("verify", done / "run", "--tokens", "20", "--json", "-q").out)
    for row, threads in zip(data["exactness"], (1, 2), strict=True):
        assert (row["recipe"], row["threads"]) == ("w8a8-rtn", threads)
        assert (row["tokens"], row["differences"], row["verdict"]) == (20, 0, "all bits agree")


def test_verify_takes_all_graphs_of_a_run_or_the_ones_asked_for(done, run):
    (run / "graph/w8a8-rtn").rename(run / "graph/b")
    shutil.copytree(run / "graph/b", run / "graph/a")
    text = ("--text", done / "model/held_out.txt", "--tokens", "6", "--json", "-q")

    def rows(*more):
        found = json.loads(command("verify", run, *text, *more).out)["exactness"]
        return [(row["recipe"], row["threads"]) for row in found]

    assert rows("--threads", "3") == [("a", 3), ("b", 3)]
    assert rows("--threads", "1,2", "--recipe", "b") == [("b", 1), ("b", 2)]
    both = rows("--threads", "1", "--recipe", "b", "--recipe", "a")
    assert both == [("b", 1), ("a", 1)]
    strange = command("verify", run, *text, "--recipe", "c")
    assert strange.status == 2
    assert "is a run folder with the graphs a, b; 'c' is not among them" in strange.err
    assert command("verify", run, *text, "--threads", "2,2").status == 2


def test_run_writes_what_the_reference_writes(done):
    """Greedy, one token at a time, by the plain executor."""
    ran = command("run", done / "run", "--prompt", "ab(", "--tokens", "12", "--json")
    data = json.loads(ran.out)
    graph = load_graph(done / "run/graph/w8a8-rtn", OPS)
    tokens = list(b"ab(")
    for _ in range(12):
        tokens.append(int(run_reference(graph, {"token": np.array(tokens)}).outputs["next"][-1]))
    assert data["tokens"] == tokens[3:]
    assert data["text"] == bytes(tokens[3:]).decode(errors="replace")
    plain = command("run", done / "run", "--prompt", "ab(", "--tokens", "12")
    assert plain.out == "ab(" + data["text"] + "\n"


def test_quantize_fills_a_folder_that_verify_and_run_take(done, tmp_path):
    ran = command("quantize", done / "model", "--recipe", "w8a8", "--window", "32", "-o",
                  tmp_path / "run", "--json")  # fmt: skip
    assert ran.status == 0
    data = json.loads(ran.out)
    assert [s["step"] for s in data["steps"]][-1] == "lower"
    assert [len(x["values"]) for x in data["lint_heads"]] == [4] * 6  # two states, three lints
    assert json.loads((tmp_path / "run/graph/w8a8/graph.json").read_text())["hash"] == data["hash"]
    assert command("verify", tmp_path / "run", "--tokens", "8").status == 0
    assert command("run", tmp_path / "run", "--tokens", "2").status == 0


def test_quiet_says_nothing_on_stderr(model, run):
    assert command("walk", model, *WALK, "-o", run, "--quiet").err == ""


def test_tables_are_on_stdout_and_progress_is_not(done):
    ran = command("report", done / "run")
    assert "Accuracy on held-out text" in ran.out
    assert "report: " in ran.err
    assert "reused" not in ran.out


def test_tokens_need_not_be_bytes(tmp_path):
    """A vocabulary of 101 takes .npy files, and prompts of ids."""
    model = write_model(tmp_path / "model", vocab_size=101)
    np.save(tmp_path / "text.npy", np.random.default_rng(0).integers(0, 101, 200))
    walk = ["walk", model, *WALK, "--text", tmp_path / "text.npy", "--prompt", "5 100 17",
            "--tokens", "6", "-o", tmp_path / "run", "--json"]  # fmt: skip
    ran = command(*walk)
    assert ran.status == 0, ran
    data = json.loads(ran.out)
    [of_float, _] = data["tables"]["accuracy"]["rows"]
    assert of_float["bits_per_token"] > 0
    [sample] = data["samples"]
    written = [int(word) for word in sample["text"].split()]
    assert len(written) == 6
    assert all(0 <= token < 101 for token in written)
    page = (tmp_path / "run/report.html").read_text()
    assert "bits per token" in page
    assert "per byte" not in page


@pytest.mark.slow
def test_a_labeller_walks_too(tmp_path):
    pytest.importorskip("typeseg", reason="pip install cosim-toolkit[typeseg]")
    text = ROOT / "quant/zoo/mamba2-py-1m/held_out.txt"
    sizes = ["--window", "128", "--calibration-windows", "2", "--score-tokens", "512",
             "--verify-tokens", "48"]  # fmt: skip
    walk = ["walk", "typeseg", "--recipe", "w8a8", "--text", text, *sizes, "--machine", "u280",
            "-o", tmp_path / "run", "--json"]  # fmt: skip
    ran = command(*walk)
    assert ran.status == 0, ran.err
    tables = json.loads(ran.out)["tables"]
    assert tables["accuracy"]["rows"][0]["agreement"] == 1.0
    assert 0.9 < tables["accuracy"]["rows"][1]["agreement"] <= 1.0
    assert [row["differences"] for row in tables["exactness"]["rows"]] == [0, 0]
    verify = command("verify", tmp_path / "run", "--text", text, "--tokens", "9", "--json")
    assert json.loads(verify.out)["exactness"][1]["differences"] == 0
    assert tables["speed"]["rows"][0]["tokens_per_s"] > 0
    assert "bits_per_byte" not in tables["accuracy"]["origins"]

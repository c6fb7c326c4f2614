"""The shipped RWKV-5.2: it loads, its card tells the truth, its texts are the Mamba-2's."""

import csv
import hashlib
import json
import lzma
import math
import re
import shlex
from pathlib import Path

import pytest
import torch
from torch.nn import functional

import quant.training
from cosim.flow.sources import find_source
from quant.models import load_model, rwkv5
from quant.training.evaluate import bits_per_byte
from quant.training.folder import load_rwkv5
from quant.training.loop import learning_rate
from quant.training.train_rwkv5 import parse

ZOO = Path(quant.training.__file__).parents[1] / "zoo"
FOLDER = ZOO / "rwkv5-py-1m"
CARD = (FOLDER / "README.md").read_text()
HELD_OUT = (FOLDER / "held_out.txt").read_bytes()
SHA256 = {
    "config.json": "d5f368f39c9452ec0d2b7aba43db009269b258c999ae1b3fb92e84846a5ef5cf",
    "model.safetensors": "3e579cb0abe4e68966053aa184391c0a22334f6fae2f15fd4479ec65aedab439",
}


def figure(text: str, method: str) -> float:
    """Return one number of the card's held-out table."""
    found = re.search(rf"^\| {re.escape(text)} bytes \| {method} \| ([0-9.]+) \|$", CARD, re.M)
    assert found, f"the card has no line for {text}, {method}"
    return float(found[1])


def rows() -> list[dict[str, str]]:
    with (FOLDER / "training_log.csv").open() as file:
        return list(csv.DictReader(file))


def test_the_weights_are_those_that_were_measured():
    for name, digest in SHA256.items():
        assert hashlib.sha256((FOLDER / name).read_bytes()).hexdigest() == digest
    parameters = sum(w.numel() for w in load_model(FOLDER).weights.values())
    assert f"\n{parameters:,} parameters (float32)" in CARD


@torch.no_grad()
def test_first_8_kb_cost_in_the_float_model_what_the_card_says():
    tokens = torch.tensor([list(HELD_OUT[:8192])])
    logits = rwkv5.sequence(load_model(FOLDER), tokens[:, :-1])
    nats = functional.cross_entropy(logits[0], tokens[0, 1:]).item()
    assert nats / math.log(2) == pytest.approx(figure("first 8,192", "carried"), abs=1e-4)


@torch.no_grad()
def test_the_training_code_equals_the_float_model_token_by_token():
    """One reads by chunks from the file as it trained, the other by steps as it is quantised."""
    tokens = torch.tensor([list(HELD_OUT[:300])])
    trained = load_rwkv5(FOLDER).predict(tokens)
    model = load_model(FOLDER)
    state, logits = rwkv5.initial_state(model, 1), []
    for token in tokens[0]:
        row, state = rwkv5.step(model, token[None], state)
        logits.append(row)
    assert trained.std() > 1
    torch.testing.assert_close(torch.stack(logits, 1), trained, rtol=0, atol=2e-4)


@pytest.mark.slow
def test_whole_held_out_text_costs_what_the_card_says():
    whole = f"all {len(HELD_OUT):,}"
    model = load_rwkv5(FOLDER)
    assert bits_per_byte(model, HELD_OUT) == pytest.approx(figure(whole, "carried"), abs=1e-4)
    windowed = bits_per_byte(model, HELD_OUT, reset_every_bytes=2048)
    assert windowed == pytest.approx(figure(whole, "windowed"), abs=1e-4)


def test_figures_meet_the_target():
    whole = f"all {len(HELD_OUT):,}"
    xz = 8 * len(lzma.compress(HELD_OUT, preset=9 | lzma.PRESET_EXTREME)) / len(HELD_OUT)
    assert figure(whole, "`xz -9e`") == pytest.approx(xz, abs=0.01)
    assert figure(whole, "carried") < 0.8 * xz


def test_it_is_trained_and_scored_on_the_texts_of_the_mamba2():
    for name in ("held_out.txt", "calibration.txt", "LICENSE.PSF.txt"):
        assert (FOLDER / name).read_bytes() == (ZOO / "mamba2-py-1m" / name).read_bytes()
    assert f"sha256 of `held_out.txt`: `{hashlib.sha256(HELD_OUT).hexdigest()}`" in CARD
    data, other = (
        text[text.index("## Data") : text.index("## Training")]
        for text in (CARD, (ZOO / "mamba2-py-1m" / "README.md").read_text())
    )
    assert data == other


def test_the_log_is_that_of_the_command_on_the_card():
    line = re.search(r"^python -m quant\.training\.train_rwkv5 (.*)$", CARD, re.M)[1]
    _, plan = parse(shlex.split(line))
    log = rows()
    for row in log:
        step = int(row["step"])
        rate = learning_rate(plan, step - 1, (step - 1) / plan.max_steps)
        assert row["learning_rate"] == f"{rate:.2e}"
        assert int(row["train_bytes"]) == step * plan.step_bytes
    assert int(log[-1]["step"]) == plan.max_steps
    steps, seconds = plan.max_steps, int(log[-1]["seconds"])
    assert f"{steps:,} steps of {plan.batch} windows of {plan.window_bytes} bytes" in CARD
    assert f"\nin {seconds:,} s on one thread of a CPU, seed {plan.seed}," in CARD
    assert float(log[-1]["bits_per_byte"]) < 0.6 * float(log[0]["bits_per_byte"])


def test_folder_holds_what_ships_and_nothing_else_and_has_a_name():
    assert sorted(path.name for path in FOLDER.iterdir()) == [
        "LICENSE.PSF.txt",
        "README.md",
        "calibration.txt",
        "config.json",
        "held_out.txt",
        "model.safetensors",
        "training_log.csv",
    ]
    assert json.loads((FOLDER / "config.json").read_text())["model_type"] == "rwkv5"
    source = find_source("rwkv5-py-1m")
    assert Path(source.where) == FOLDER
    assert (source.text, source.calibration) == (
        FOLDER / "held_out.txt",
        FOLDER / "calibration.txt",
    )

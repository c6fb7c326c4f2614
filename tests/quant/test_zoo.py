"""The shipped Mamba-2: it loads in transformers, and its card tells the truth."""

import csv
import hashlib
import json
import lzma
import math
import re
from pathlib import Path

import pytest
import torch

import quant.training
from quant.training.evaluate import bits_per_byte
from quant.training.folder import load_mamba2
from quant.training.text import SHINGLE_BYTES, shared_shingle_count, shingles

FOLDER = Path(quant.training.__file__).parents[1] / "zoo" / "mamba2-py-1m"
CARD = (FOLDER / "README.md").read_text()
HELD_OUT = (FOLDER / "held_out.txt").read_bytes()


def figure(text: str, method: str) -> float:
    """Return one number of the card's held-out table."""
    found = re.search(rf"^\| {re.escape(text)} bytes \| {method} \| ([0-9.]+) \|$", CARD, re.M)
    assert found, f"the card has no line for {text}, {method}"
    return float(found[1])


def test_first_8_kb_cost_in_transformers_what_the_card_says():
    transformers = pytest.importorskip("transformers", reason="the yardstick of this test")
    model, report = transformers.Mamba2ForCausalLM.from_pretrained(FOLDER, output_loading_info=True)
    assert not any(report.values()), report
    tokens = torch.tensor([list(HELD_OUT[:8192])])
    with torch.no_grad():
        nats = model(tokens, labels=tokens, use_cache=False).loss
    assert nats.item() / math.log(2) == pytest.approx(figure("first 8,192", "carried"), abs=1e-3)


@pytest.mark.slow
def test_whole_held_out_text_costs_what_the_card_says():
    whole = f"all {len(HELD_OUT):,}"
    model = load_mamba2(FOLDER)
    assert bits_per_byte(model, HELD_OUT) == pytest.approx(figure(whole, "carried"), abs=1e-3)
    windowed = bits_per_byte(model, HELD_OUT, reset_every_bytes=2048)
    assert windowed == pytest.approx(figure(whole, "windowed"), abs=1e-3)


def test_figures_meet_the_target():
    whole = f"all {len(HELD_OUT):,}"
    xz = 8 * len(lzma.compress(HELD_OUT, preset=9 | lzma.PRESET_EXTREME)) / len(HELD_OUT)
    assert figure(whole, "`xz -9e`") == pytest.approx(xz, abs=0.01)
    assert figure(whole, "carried") < 1.8
    assert figure(whole, "carried") < 0.8 * xz


def test_held_out_text_is_the_one_of_the_card_and_does_not_repeat_itself():
    assert f"sha256 of `held_out.txt`: `{hashlib.sha256(HELD_OUT).hexdigest()}`" in CARD
    assert 128 * 1024 <= len(HELD_OUT) <= 256 * 1024
    assert len(set(shingles(HELD_OUT))) == len(HELD_OUT) - SHINGLE_BYTES + 1
    assert f"Runs of {SHINGLE_BYTES} bytes that both sides share afterwards: 0." in CARD


def test_log_ends_where_the_card_says_and_the_loss_fell():
    with (FOLDER / "training_log.csv").open() as file:
        rows = list(csv.DictReader(file))
    losses = [float(row["bits_per_byte"]) for row in rows]
    assert losses[-1] < 0.6 * losses[0]
    assert float(rows[-1]["seconds"]) <= 40 * 60
    last_step = int(rows[-1]["step"])
    card_steps = int(re.search(r"^([0-9,]+) steps of", CARD, re.M)[1].replace(",", ""))
    assert 0 <= card_steps - last_step < 100


def test_folder_holds_what_ships_and_nothing_else():
    assert sorted(path.name for path in FOLDER.iterdir()) == [
        "LICENSE.PSF.txt",
        "README.md",
        "calibration.txt",
        "config.json",
        "held_out.txt",
        "model.safetensors",
        "training_log.csv",
    ]
    assert json.loads((FOLDER / "config.json").read_text())["model_type"] == "mamba2"
    assert "PYTHON SOFTWARE FOUNDATION LICENSE" in (FOLDER / "LICENSE.PSF.txt").read_text()


def test_calibration_text_shares_no_run_with_the_held_out_text():
    calibration = (FOLDER / "calibration.txt").read_bytes()
    held_out = (FOLDER / "held_out.txt").read_bytes()
    assert len(calibration) == 64 * 512
    assert shared_shingle_count(calibration, held_out) == 0
    assert shared_shingle_count(held_out[:4096], held_out) > 0

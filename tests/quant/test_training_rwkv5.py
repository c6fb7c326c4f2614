"""The RWKV-5.2 that is trained here: its start, its folder, its decay, its budget, its command."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from quant.models import load_model, rwkv5, sequence
from quant.training import command, train_rwkv5
from quant.training.card import Measured, Score, model_card
from quant.training.evaluate import bits_per_byte, windowed_bits_per_byte
from quant.training.folder import load_rwkv5, save_folder
from quant.training.loop import Plan, Progress, train
from quant.training.rwkv5 import Rwkv5
from quant.training.text import split_text

TINY = rwkv5.Config(
    vocab_size=256, hidden_size=24, attention_hidden_size=24, intermediate_size=40,
    num_hidden_layers=2, head_size=8,
)  # fmt: skip
TEXT = b"the quick brown fox jumps over the lazy dog and runs away from it. " * 40


def tiny_model(noise: float = 0.1) -> Rwkv5:
    torch.manual_seed(0)
    model = Rwkv5(TINY)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += noise * torch.randn_like(parameter)
    return model


def test_the_shipped_shape_has_the_size_of_the_shipped_mamba2():
    parameters = sum(p.numel() for p in Rwkv5().parameters())
    assert abs(parameters / 1_003_856 - 1) < 0.02


@torch.no_grad()
def test_a_saved_folder_is_the_same_model_to_the_quantisers(tmp_path):
    model = tiny_model()
    save_folder(model, tmp_path)
    tokens = torch.randint(256, (2, 77))
    logits = model.predict(tokens)
    assert logits.std() > 0.05
    theirs = load_model(tmp_path)
    assert theirs.config == TINY
    torch.testing.assert_close(sequence(theirs, tokens), logits, rtol=0, atol=1e-6)
    assert torch.equal(load_rwkv5(tmp_path).predict(tokens), logits)
    stored = load_file(tmp_path / "model.safetensors")
    # The names and shapes of the published folders, RWKV/rwkv-5-world-1b5.
    assert stored["rwkv.blocks.1.attention.time_mix_key"].shape == (1, 1, 24)
    assert stored["rwkv.blocks.0.attention.time_faaaa"].shape == (3, 8)
    assert {"head.weight", "rwkv.embeddings.weight", "rwkv.blocks.0.pre_ln.bias"} <= stored.keys()


@torch.no_grad()
def test_untrained_blocks_add_nothing_and_noise_makes_them_see_the_past():
    tokens = torch.randint(256, (1, 20))
    other = tokens.clone()
    other[0, 4] = (other[0, 4] + 1) % 256
    for noise, changed in ((0.0, {4}), (0.1, set(range(4, 20)))):
        model = tiny_model(noise)
        before, after = (model.predict(t)[0] for t in (tokens, other))
        assert {t for t in range(20) if not torch.equal(before[t], after[t])} == changed


@torch.no_grad()
def test_untrained_decays_and_mixing_are_those_of_the_published_code():
    """By hand from RWKV-LM, RWKV_Tmix of RWKV-5: layer 1 of 2, channel c of 24, its loops."""
    held = dict(Rwkv5(TINY).named_parameters())
    decay = held["rwkv.blocks.1.attention.time_decay"].flatten().tolist()
    assert decay == pytest.approx([-6 + 5 * (c / 23) ** 2.0 for c in range(24)], abs=1e-5)
    bonus = held["rwkv.blocks.1.attention.time_faaaa"].flatten().tolist()
    expected = [(1 - c / 23) + ((c + 1) % 3 - 1) * 0.1 for c in range(24)]
    assert bonus == pytest.approx(expected, abs=1e-6)
    powers = {"key": 0.5, "value": 0.5, "receptance": 0.25, "gate": 0.25}
    for what, power in powers.items():
        mix = held[f"rwkv.blocks.1.attention.time_mix_{what}"].flatten().tolist()
        more = 0.3 if what == "value" else 0.0
        assert mix == pytest.approx([(c / 24) ** power + more for c in range(24)], abs=1e-6)


@torch.no_grad()
def test_state_carries_over_a_cut_and_bits_count_every_byte_once():
    model, text = tiny_model(), TEXT[:45]
    tokens = torch.tensor([list(text)])
    whole = model.predict(tokens)
    first, states = model(tokens[:, :17], model.empty_states(1))
    second, _ = model(tokens[:, 17:], states)
    torch.testing.assert_close(torch.cat([first, second], 1), whole, rtol=0, atol=1e-5)
    logs = whole[0].log_softmax(-1) / -torch.log(torch.tensor(2.0))
    mean = sum(float(logs[k, text[k + 1]]) for k in range(44)) / 44
    assert bits_per_byte(model, text) == pytest.approx(mean, abs=1e-5)
    reset = bits_per_byte(model, text, reset_every_bytes=16)
    assert reset == pytest.approx(windowed_bits_per_byte(model, text, 16), abs=1e-5)
    assert abs(reset - mean) > 1e-3


def test_weight_decay_spares_the_constants_of_time():
    plan = Plan(minutes=5, max_steps=1, batch=4, window_bytes=32, warmup_steps=1)
    ends = []
    for decay in (0.0, 10.0):
        model = tiny_model()
        train(model, TEXT, replace(plan, weight_decay=decay), lambda at: None, lambda: None)
        ends.append(dict(model.named_parameters()))
    free, decayed = ends
    differ = {name for name in free if not torch.equal(free[name], decayed[name])}
    matrices = {name for name, value in free.items() if value.dim() == 2}
    spared = {n for n in matrices if n.endswith(("time_decay", "time_faaaa"))}
    assert len(spared) == 4
    assert differ == matrices - spared


def test_training_lowers_the_loss():
    plan = Plan(
        minutes=5, max_steps=30, batch=4, window_bytes=32, warmup_steps=5, report_every_steps=10
    )
    lines = []
    torch.manual_seed(1)
    last = train(Rwkv5(TINY), TEXT, plan, lines.append, lambda: None)
    assert lines[2].bits_per_byte < 0.8 * lines[0].bits_per_byte
    assert last.train_bytes == 30 * 4 * 32


def test_the_card_says_the_rate_and_who_loads_it():
    split = split_text({"a.py": b"a = 1\n"})
    measured = Measured(990_720, (Score(0, "carried", 1.5),), 0)
    out, plan = train_rwkv5.parse(["--out", "F", "--rate", "0.002"])
    assert str(out) == "F"
    assert plan.max_steps * plan.step_bytes == 10_745_856
    kind = train_rwkv5.kind_of(plan)
    card = model_card(kind, split, measured, plan, Progress(7, 4.0, 99, 0.1, 2.0))
    line = "python -m quant.training.train_rwkv5 --out FOLDER --rate 0.002"
    assert f"{line} --minutes 240 --seed 1 --steps 3498\n" in card
    assert "peak rate 0.002 " in card
    assert "It loads in `quant.models.load_model`." in card
    assert "transformers" not in card


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--steps", "0"], "--minutes and --steps: each must be above 0"),
        ([], "it holds a model already"),
    ],
)
def test_bad_arguments_are_one_sentence(tmp_path, monkeypatch, capsys, arguments, sentence):
    (tmp_path / "model.safetensors").write_bytes(b"precious")
    monkeypatch.setattr(command, "standard_library_files", lambda: pytest.fail("it began"))
    monkeypatch.setattr("sys.argv", ["train_rwkv5", "--out", str(tmp_path), *arguments])
    assert command.status_of(train_rwkv5.main) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert "Traceback" not in error


def test_a_run_leaves_a_folder_with_its_card(tmp_path, monkeypatch):
    files = {"a.py": TEXT + bytes(range(97, 123)) * 90, "64.py": b"held out\n" * 9 + TEXT[:300]}
    monkeypatch.setattr(command, "standard_library_files", lambda: files)
    monkeypatch.setattr(train_rwkv5, "Rwkv5", lambda: Rwkv5(TINY))
    train_rwkv5.main(["--out", str(tmp_path), "--steps", "2"])
    names = {p.name for p in tmp_path.iterdir()}
    assert {"README.md", "config.json", "model.safetensors", "training_log.csv"} <= names
    assert (
        "\n2 steps of 8 windows of 384 bytes: 6,144 bytes\n" in (tmp_path / "README.md").read_text()
    )

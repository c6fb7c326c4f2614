"""The Llama that is trained here: against transformers, its window, its budget, its command."""

import dataclasses

import pytest
import torch

from cosim.ir.errors import UserError
from cosim.ops.hadamard import hadamard_matrix
from quant.models import llama as runner
from quant.models.checkpoint import read_checkpoint
from quant.training import command, train_llama
from quant.training.evaluate import windowed_bits_per_byte
from quant.training.folder import load_llama, save_folder
from quant.training.llama import Llama, LlamaShape
from quant.training.loop import Plan, batches, train
from quant.training.measure import WINDOW_BYTES

TINY = LlamaShape(
    hidden_size=32, layers=2, query_heads=4, key_heads=2, head_dim=8, inner_size=48, window=7
)
TEXT = b"the quick brown fox jumps over the lazy dog and runs away from it. " * 40


def tiny_model(shape: LlamaShape = TINY) -> Llama:
    torch.manual_seed(0)
    model = Llama(shape)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return model


def test_the_shipped_shape_has_the_size_of_the_shipped_mamba2_and_widths_to_rotate():
    shape = LlamaShape()
    parameters = sum(p.numel() for p in Llama(shape).parameters())
    assert abs(parameters / 1_003_856 - 1) < 0.02
    for width in (shape.hidden_size, shape.query_heads * shape.head_dim, shape.inner_size):
        assert hadamard_matrix(width).shape == (width, width)


@pytest.mark.parametrize("window", [None, 7, 1, 40])
def test_logits_equal_transformers_and_our_own_runner(tmp_path, window):
    transformers = pytest.importorskip("transformers", reason="the yardstick of this test")
    model = tiny_model(dataclasses.replace(TINY, window=window))
    save_folder(model, tmp_path)
    loader = transformers.LlamaForCausalLM if window is None else transformers.MistralForCausalLM
    theirs, report = loader.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(report.values()), report
    tokens = torch.randint(256, (2, 29))
    with torch.no_grad():
        expected, logits = theirs(tokens, use_cache=False).logits, model.predict(tokens)
    assert expected.std() > 0.05
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-4)
    ours = runner.read_model(read_checkpoint(tmp_path))
    torch.testing.assert_close(runner.sequence(ours, tokens), expected, rtol=0, atol=1e-4)
    again = load_llama(tmp_path)
    assert again.shape == model.shape
    assert torch.equal(again.predict(tokens), model.predict(tokens))


def test_a_window_hides_what_is_farther_back():
    model = tiny_model(dataclasses.replace(TINY, layers=1))
    tokens = torch.randint(256, (1, 20))
    other = tokens.clone()
    other[0, 4] = (other[0, 4] + 1) % 256
    before, after = (model.predict(t)[0] for t in (tokens, other))
    same = [torch.equal(a, b) for a, b in zip(before, after, strict=True)]
    assert same == [True] * 4 + [False] * 7 + [True] * 9


def test_windows_take_turns_with_as_many_bytes_a_step():
    plan = Plan(batch=4, window_bytes=32, window_turns=(32, 64, 128))
    source = batches(TEXT, plan)
    assert [tuple(next(source).shape) for _ in range(4)] == [(4, 33), (2, 65), (1, 129), (4, 33)]
    with pytest.raises(UserError, match="windows of 48 bytes do not fill the 128 bytes of a step"):
        Plan(batch=4, window_bytes=32, window_turns=(48,))


def test_training_lowers_the_loss():
    plan = Plan(
        minutes=5, max_steps=30, batch=4, window_bytes=32, warmup_steps=5, report_every_steps=10
    )
    lines = []
    torch.manual_seed(1)
    last = train(Llama(TINY), TEXT, plan, lines.append, lambda: None)
    assert lines[2].bits_per_byte < 0.8 * lines[0].bits_per_byte
    assert last.train_bytes == 30 * 4 * 32


@torch.no_grad()
def test_windowed_bits_count_every_byte_once():
    model, text = tiny_model(), TEXT[:45]
    logs = model.predict(torch.tensor([list(text)]))[0].log_softmax(-1) / -torch.log(
        torch.tensor(2.0)
    )
    whole = [float(logs[k, text[k + 1]]) for k in range(44)]
    assert windowed_bits_per_byte(model, text, 100) == pytest.approx(sum(whole) / 44, abs=1e-5)
    parts = [windowed_bits_per_byte(model, text[a : a + 17], 16) for a in (0, 16)]
    ragged = windowed_bits_per_byte(model, text[32:], 16)
    mean = (16 * parts[0] + 16 * parts[1] + 12 * ragged) / 44
    assert windowed_bits_per_byte(model, text, 16) == pytest.approx(mean, abs=1e-5)
    # Two layers of a window of 7 see 13 bytes: windows that overlap by 20 lose nothing.
    overlapped = windowed_bits_per_byte(model, text, 30, 10)
    assert overlapped == pytest.approx(sum(whole) / 44, abs=1e-5)
    with pytest.raises(UserError, match="a hop of 9 bytes in windows of 8"):
        windowed_bits_per_byte(model, text, 8, 9)


def test_the_budget_is_that_of_the_shipped_mamba2(monkeypatch, tmp_path):
    seen = {}
    monkeypatch.setattr(train_llama, "train_into", lambda out, plan, *_: seen.update(plan=plan))
    train_llama.main(["--out", str(tmp_path)])
    plan = seen["plan"]
    assert plan.max_steps * plan.step_bytes == 10_745_856
    assert train_llama.WINDOW_BYTES == WINDOW_BYTES


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--steps", "0"], "--minutes and --steps: each must be above 0"),
        (["--window", "-1"], "--window -1: give the bytes that a byte sees"),
        (["--windows", "500"], "windows of 500 bytes do not fill the 3072 bytes of a step"),
        ([], "it holds a model already"),
    ],
)
def test_bad_arguments_are_one_sentence(tmp_path, monkeypatch, capsys, arguments, sentence):
    (tmp_path / "model.safetensors").write_bytes(b"precious")
    monkeypatch.setattr(command, "standard_library_files", lambda: pytest.fail("it began"))
    monkeypatch.setattr("sys.argv", ["train_llama", "--out", str(tmp_path), *arguments])
    assert command.status_of(train_llama.main) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert "Traceback" not in error

"""The training code: text split, scan, model against transformers, loop, card, command."""

import math
import re

import pytest
import torch

from cosim.ir.errors import UserError
from quant.training import command, train_mamba2
from quant.training.card import Measured, Score, model_card
from quant.training.evaluate import bits_per_byte, xz_bits_per_byte
from quant.training.folder import load_mamba2, save_folder
from quant.training.loop import Plan, Progress, train, windows
from quant.training.model import Mamba2, Mamba2Shape
from quant.training.ssd import scan_chunked, scan_sequential
from quant.training.text import (
    SHINGLE_BYTES,
    shared_shingle_count,
    split_text,
    standard_library_files,
)

TINY = Mamba2Shape(hidden_size=32, layers=2, head_dim=16, state_size=8, chunk_size=16)
TEXT = b"the quick brown fox jumps over the lazy dog and runs away from it. " * 40


def tiny_model(seed: int = 0, shape: Mamba2Shape = TINY) -> Mamba2:
    torch.manual_seed(seed)
    return Mamba2(shape)


@pytest.fixture(scope="module")
def some_library_files():
    files = standard_library_files()
    wanted = ("asyncio/", "email/", "json/", "http/", "lib2to3/", "curses/")
    return {name: text for name, text in files.items() if name.startswith(wanted)}


def test_library_files_leave_out_tests_and_tables():
    names = standard_library_files().keys()
    assert "json/decoder.py" in names
    assert "pydoc_data/topics.py" in names
    assert not [n for n in names if re.search(r"(^|/)(tests?|idle_test|encodings)/", n)]
    assert not [n for n in names if "site-packages" in n]


def test_real_split_shares_no_run(some_library_files):
    split = split_text(some_library_files, held_out_per_mille=100)
    held_runs = {
        split.held_out[i : i + SHINGLE_BYTES]
        for i in range(len(split.held_out) - SHINGLE_BYTES + 1)
    }
    assert len(held_runs) > 10_000
    assert not any(split.train[i : i + SHINGLE_BYTES] in held_runs for i in range(len(split.train)))
    assert shared_shingle_count(split.train, split.held_out) == 0
    assert not set(split.train_files) & set(split.held_out_files)
    # Held-out text is de-duplicated in itself: as many different runs as positions.
    assert len(held_runs) == len(split.held_out) - SHINGLE_BYTES + 1
    # What was dropped is what is missing.
    sizes = {name: len(text) for name, text in some_library_files.items()}
    assert len(split.train) + split.dropped_train_bytes == sum(sizes[n] for n in split.train_files)
    assert len(split.held_out) + split.dropped_held_out_bytes == sum(
        sizes[n] for n in split.held_out_files
    )


def test_split_is_deterministic_and_a_side_depends_on_the_name_alone(some_library_files):
    split = split_text(some_library_files, held_out_per_mille=100)
    assert split_text(some_library_files, held_out_per_mille=100) == split
    # Pinned: another run of Python, whose hash() differs, must choose the same files.
    names = split_text({f"{i}.py": b"" for i in range(100)}).held_out_files
    assert names == ("64.py", "10.py")
    fewer = dict(list(some_library_files.items())[::2])
    fewer_split = split_text(fewer, held_out_per_mille=100)
    assert set(fewer_split.held_out_files) == set(split.held_out_files) & set(fewer)


def test_split_drops_the_lines_that_repeat_held_out_text():
    shared = b"this very line stands in both of the files and must be dropped in one\n"
    names = [f"file{i}.py" for i in range(200)]
    held = split_text(dict.fromkeys(names, b"x\n")).held_out_files[0]
    other = next(
        n for n in names if n not in split_text(dict.fromkeys(names, b"x\n")).held_out_files
    )
    split = split_text({held: b"a\n" + shared, other: b"b\n" + shared + b"c\n"})
    assert (split.held_out, split.train) == (b"a\n" + shared, b"b\nc\n")
    assert split.dropped_train_bytes == len(shared)


def test_held_out_text_is_cut_at_a_line(some_library_files):
    split = split_text(some_library_files, held_out_per_mille=100, held_out_limit_bytes=5000)
    assert 4000 < len(split.held_out) <= 5000
    assert split.held_out.endswith(b"\n")


@pytest.mark.parametrize("chunk", [1, 4, 24])
def test_chunked_scan_equals_the_recurrence(chunk):
    torch.manual_seed(1)
    batch, length, heads, width, states = 2, 24, 3, 5, 7
    double = {"dtype": torch.float64}
    inputs = (
        torch.randn(batch, length, heads, width, **double),
        torch.rand(batch, length, heads, **double),
        -16 * torch.rand(heads, **double),
        torch.randn(batch, length, states, **double),
        torch.randn(batch, length, states, **double),
        torch.randn(batch, states, heads, width, **double),
    )
    y, state = scan_chunked(*inputs, chunk)
    expected_y, expected_state = scan_sequential(*inputs)
    torch.testing.assert_close(y, expected_y, rtol=0, atol=1e-12)
    torch.testing.assert_close(state, expected_state, rtol=0, atol=1e-12)


def test_logits_equal_transformers_on_a_saved_folder(tmp_path):
    transformers = pytest.importorskip("transformers", reason="the yardstick of this test")
    model = tiny_model()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.05 * torch.randn_like(parameter)
    save_folder(model, tmp_path)
    theirs, report = transformers.Mamba2ForCausalLM.from_pretrained(
        tmp_path, output_loading_info=True
    )
    assert not any(report.values()), report
    tokens = torch.randint(256, (2, 64))
    with torch.no_grad():
        expected = theirs(tokens, use_cache=False).logits
        logits, _ = model(tokens, model.empty_states(2))
    assert expected.std() > 0.05  # a comparison of zeros would prove nothing
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-4)


def test_folder_gives_back_the_model_and_leaves_no_partial_file(tmp_path):
    model = tiny_model()
    save_folder(model, tmp_path)
    save_folder(model, tmp_path)
    again = load_mamba2(tmp_path)
    assert again.shape == model.shape
    assert all(torch.equal(again.state_dict()[n], v) for n, v in model.state_dict().items())
    assert sorted(p.name for p in tmp_path.iterdir()) == ["config.json", "model.safetensors"]


def test_state_carries_over_a_cut():
    model = tiny_model()
    tokens = torch.randint(256, (1, 64))
    with torch.no_grad():
        whole, _ = model(tokens, model.empty_states(1))
        first, states = model(tokens[:, :32], model.empty_states(1))
        second, _ = model(tokens[:, 32:], states)
    torch.testing.assert_close(torch.cat([first, second], 1), whole, rtol=0, atol=1e-5)


def test_windows_cover_an_epoch_once_and_are_seeded():
    plan = Plan(batch=4, window_bytes=8)
    text = bytes(range(256))
    batches = windows(text, 8, 4, plan.seed)
    epoch = torch.cat([next(batches) for _ in range(7)])  # 31 windows make 7 whole batches
    starts = sorted(epoch[:, 0].tolist())
    assert len(set(starts)) == 28
    assert len({start % 8 for start in starts}) == 1
    assert torch.equal(epoch, epoch[:, :1] + torch.arange(9))
    assert torch.equal(next(windows(text, 8, 4, 1)), epoch[:4])
    assert not torch.equal(next(windows(text, 8, 4, 2)), epoch[:4])


def test_training_lowers_the_loss_and_is_reproducible():
    plan = Plan(
        minutes=5, max_steps=20, batch=4, window_bytes=32, warmup_steps=5, report_every_steps=5
    )
    lines, saves, weights = [], [], []
    for _ in range(2):
        model = tiny_model()
        last = train(model, TEXT, plan, lines.append, lambda: saves.append(1))
        weights.append(model.backbone.embeddings.weight.detach().clone())
    assert lines[0].bits_per_byte > 7
    assert lines[3].bits_per_byte < 0.85 * lines[0].bits_per_byte
    assert (last.step, last.train_bytes) == (20, 20 * 4 * 32)
    assert len(saves) == 2  # the end of each run
    assert torch.equal(*weights)


def test_training_ends_when_the_time_is_up():
    plan = Plan(minutes=1e-9, batch=4, window_bytes=32)
    last = train(tiny_model(), TEXT, plan, lambda at: None, lambda: None)
    assert last.step == 0


def test_uniform_model_needs_eight_bits_per_byte():
    model = tiny_model()
    torch.nn.init.zeros_(model.backbone.embeddings.weight)
    assert bits_per_byte(model, TEXT[:100]) == pytest.approx(8, abs=1e-5)


def test_bits_per_byte_is_the_mean_over_single_predictions():
    model = tiny_model()
    text = TEXT[:45]
    bits = []
    with torch.no_grad():
        for end in range(1, len(text)):
            # One chunk per token: the padding of the evaluator is not used here.
            states = model.empty_states(1)
            for byte in text[:end]:
                logits, states = model(torch.tensor([[byte]]), states)
            bits.append(-logits[0, -1].log_softmax(-1)[text[end]].item() / math.log(2))
    assert bits_per_byte(model, text) == pytest.approx(sum(bits) / 44, abs=1e-5)
    parts = [text[0:17], text[16:33], text[32:45]]
    total_bits = sum(bits_per_byte(model, part) * (len(part) - 1) for part in parts)
    assert bits_per_byte(model, text, reset_every_bytes=16) == pytest.approx(total_bits / 44)


def test_a_single_byte_has_nothing_to_predict():
    with pytest.raises(UserError, match="1 byte"):
        bits_per_byte(tiny_model(), b"a")


def test_xz_figure_counts_bits():
    assert xz_bits_per_byte(bytes(100_000)) < 0.02
    assert xz_bits_per_byte(torch.randint(256, (4096,)).numpy().astype("u1").tobytes()) > 8


def test_card_says_how_to_train_again():
    split = split_text({"a.py": b"a = 1\n"})
    measured = Measured(1_003_856, (Score(0, "carried", 1.5), Score(8192, "carried", 1.7)), 0)
    plan = Plan(minutes=3, seed=9, max_steps=7, compile=True)
    card = model_card(train_mamba2.KIND, split, measured, plan, Progress(7, 4.0, 99, 0.1, 2.0))
    line = "python -m quant.training.train_mamba2 --out FOLDER"
    assert f"{line} --minutes 3 --seed 9 --steps 7 --compile\n" in card
    assert "1,003,856 parameters" in card
    assert "| first 8,192 bytes | carried | 1.7000 |" in card


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--minutes", "0"], "--minutes and --steps: each must be above 0"),
        (["--steps", "-1"], "--minutes and --steps: each must be above 0"),
        ([], "it holds a model already"),
    ],
)
def test_bad_arguments_are_one_sentence(tmp_path, monkeypatch, capsys, arguments, sentence):
    (tmp_path / "model.safetensors").write_bytes(b"precious")
    monkeypatch.setattr(command, "standard_library_files", lambda: pytest.fail("it began"))
    monkeypatch.setattr("sys.argv", ["train_mamba2", "--out", str(tmp_path), *arguments])
    assert command.status_of(train_mamba2.main) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert "Traceback" not in error
    assert (tmp_path / "model.safetensors").read_bytes() == b"precious"


def test_short_text_is_refused(tmp_path):
    with pytest.raises(UserError, match="it has 10 bytes"):
        next(windows(b"0123456789", 384, 8, 1))

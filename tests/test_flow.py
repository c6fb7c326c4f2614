"""The walk without its command line: steps that resume, comparison, generation, tokens."""

import json
import shlex
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from cosim.cli.commands import request_of
from cosim.cli.parser import build_parser
from cosim.flow.folder import RunFolder, code_digest
from cosim.flow.generate import as_text, generate, prompt_tokens
from cosim.flow.progress import Progress
from cosim.flow.request import Request, load_request
from cosim.flow.tokens import read_tokens
from cosim.ir.errors import UserError
from tests.counter import counter_model


class Notes(Progress):
    """Remembers what it was told."""

    def __init__(self):
        self.ended = []

    def end(self, task, note):
        self.ended.append((task, "reused" if note == "reused" else "done"))


@dataclass(frozen=True)
class Real:
    value: float


@dataclass(frozen=True)
class Answer:
    value: float
    names: tuple[str, ...]


def ask(folder: Path, inputs: dict, value: float = 1.5, holds=lambda kept: True):
    """Do one step, and return its answer and what was said."""
    notes = Notes()
    run = RunFolder(folder, notes)
    found = run.step("ask w4", inputs, ("cosim.ir",), Answer, lambda: Answer(value, ("a",)), holds)
    return found, notes.ended


def test_a_step_is_reused_while_its_inputs_are_the_same(tmp_path):
    assert ask(tmp_path, {"x": 1}) == (Answer(1.5, ("a",)), [("ask w4", "done")])
    assert ask(tmp_path, {"x": 1}, value=7.0) == (Answer(1.5, ("a",)), [("ask w4", "reused")])
    assert ask(tmp_path, {"x": 2}, value=7.0) == (Answer(7.0, ("a",)), [("ask w4", "done")])


def test_a_step_gives_what_its_file_will_give(tmp_path):
    """A whole number in the place of a real one would be printed as 0 first, as 0.0 when reused."""
    given = [RunFolder(tmp_path).step("ask", {"x": 1}, (), Real, lambda: Real(0)) for _ in range(2)]
    assert [repr(x) for x in given] == ["Real(value=0.0)"] * 2


def test_a_step_that_no_longer_holds_is_done_again(tmp_path):
    ask(tmp_path, {"x": 1})
    assert ask(tmp_path, {"x": 1}, 2.0, lambda kept: kept.value != 1.5)[0].value == 2.0


def test_a_step_is_done_again_when_its_code_changed(tmp_path, monkeypatch):
    ask(tmp_path, {"x": 1})
    monkeypatch.setattr("cosim.flow.folder.code_digest", lambda part: "other")
    assert ask(tmp_path, {"x": 1})[1] == [("ask w4", "done")]


def test_code_digests_tell_packages_apart():
    assert code_digest("cosim.ir") != code_digest("cosim.ops")
    assert code_digest("cosim.compare") != code_digest("cosim.reference")


@pytest.mark.parametrize("damage", ['{"key"', "[]", '{"key": 1, "result": {"value": "x"}}', ""])
def test_a_damaged_step_is_done_again(tmp_path, damage):
    ask(tmp_path, {"x": 1})
    [file] = (tmp_path / "steps").iterdir()
    file.write_text(damage)
    assert ask(tmp_path, {"x": 1}) == (Answer(1.5, ("a",)), [("ask w4", "done")])


def test_a_result_of_another_shape_is_done_again(tmp_path):
    ask(tmp_path, {"x": 1})
    [file] = (tmp_path / "steps").iterdir()
    data = json.loads(file.read_text())
    data["result"] = {"value": "much"}
    file.write_text(json.dumps(data))
    assert ask(tmp_path, {"x": 1})[1] == [("ask w4", "done")]


def test_a_step_that_fails_leaves_nothing_behind(tmp_path):
    def fail():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        RunFolder(tmp_path).step("ask w4", {"x": 1}, (), Answer, fail)
    assert list(tmp_path.rglob("*")) == []


def test_a_file_is_no_run_folder(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="is a file; give a folder"):
        RunFolder(tmp_path / "file")


def test_greedy_tokens_are_the_argmax_of_all_before():
    prompt, counts, expected = [1, 1, 1, 7], [0, 0, 0, 0], []
    for token in prompt:
        counts[(token + 1) % 4] += 1
    for _ in range(12):
        expected.append(counts.index(max(counts)))  # the first one on a tie
        counts[(expected[-1] + 1) % 4] += 1
    assert len(set(expected)) > 1
    assert list(generate(counter_model(), np.array(prompt), 12)) == expected


def test_only_causal_models_write():
    with pytest.raises(UserError, match="labels tokens and writes none"):
        next(generate(counter_model(direction="backward"), np.array([1]), 1))


def test_text_that_is_no_utf8_is_shown_as_such():
    assert "".join(as_text(b"\xe2\x82\xac\xe2\x82!", 256)) == "€\ufffd!"
    assert list(as_text(b"\xc3\xa9", 256)) == ["é", ""]


def test_prompts_are_bytes_or_ids():
    assert prompt_tokens("m", 256, "aé").tolist() == [97, 195, 169]
    assert prompt_tokens("m", 300, "5 17").tolist() == [5, 17]
    for size, prompt, said in (
        (256, "", "the prompt is empty"),
        (300, "def", "give token ids"),
        (300, "300", r"knows the tokens 0..299"),
        (257, "def", "labels bytes and writes none"),
    ):
        with pytest.raises(UserError, match=said):
            prompt_tokens("m", size, prompt)


def test_tokens_are_bytes_or_npy(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"\x00\xff")
    assert read_tokens(tmp_path / "a.txt", 256, 1).tolist() == [0, 255]
    np.save(tmp_path / "a.npy", np.array([5, 700], dtype=np.uint16))
    assert read_tokens(tmp_path / "a.npy", 1000, 2).tolist() == [5, 700]
    assert read_tokens(tmp_path / "a.npy", 1000, 1, 1).tolist() == [5]
    # typeseg's own tokeniser replaces what is no printable ASCII.
    assert read_tokens(tmp_path / "a.txt", 257, 1).tolist() == [0xA4, 0xA4]


def test_tokens_that_will_not_do_are_refused(tmp_path):
    np.save(tmp_path / "float.npy", np.ones(3))
    np.save(tmp_path / "object.npy", np.array([None, {}]), allow_pickle=True)
    np.save(tmp_path / "big.npy", np.array([0, 1000, 1, 2]))
    (tmp_path / "cut.npy").write_bytes((tmp_path / "big.npy").read_bytes()[:100])
    (tmp_path / "empty.txt").touch()
    (tmp_path / "short.txt").write_text("abc")
    for name, vocabulary, said in (
        ("float.npy", 256, "give one axis of integers"),
        ("object.npy", 256, "not an .npy file of plain numbers"),
        ("cut.npy", 256, "not an .npy file of plain numbers"),
        ("big.npy", 1000, r"tokens 0..1000, but the model knows 0..999"),
        ("empty.txt", 256, "is empty"),
        ("short.txt", 256, "holds 3 tokens, shorter than the 4 that the window needs"),
        ("short.txt", 300, "300 tokens, not 256"),
        ("missing.txt", 256, "No such file"),
        (".", 256, "Is a directory"),
    ):
        with pytest.raises(UserError, match=said):
            read_tokens(tmp_path / name, vocabulary, 4)


def test_a_request_survives_its_file_and_its_command(tmp_path):
    request = Request(
        "some/model", ("w8a8", "w4a4-rtn"), None, "/a text", None, 32, 64, 2, 48, (1, 3),
        "def x\n", 9,
    )  # fmt: skip
    request.save(tmp_path)
    assert load_request(tmp_path) == request
    words = shlex.split(request.command(tmp_path))
    args = build_parser().parse_args(words[1:])
    assert request_of(args) == request
    assert args.out == tmp_path
    short = shlex.split(Request("m", ("w8a8",)).command(tmp_path))
    assert request_of(build_parser().parse_args(short[1:])) == Request("m", ("w8a8",))


def test_requests_that_no_run_answers_are_refused(tmp_path):
    with pytest.raises(UserError, match="name each once"):
        Request("m", ("w8a8", "w8a8"))
    with pytest.raises(UserError, match="at least 2"):
        Request("m", window=1)
    with pytest.raises(UserError, match="is no run folder"):
        load_request(tmp_path)
    (tmp_path / "run.json").write_text('{"model": 3')
    with pytest.raises(UserError, match="is damaged"):
        load_request(tmp_path)

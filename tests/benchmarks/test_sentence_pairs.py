"""The benchmark's rows of calibration are whole, and bad input is one sentence."""

import importlib.util

import pytest

from cosim.ir.errors import UserError
from quant.models.minilm import PACKAGE
from quant.sentence_text import Sentence
from tests.benchmarks import sentence_pairs


@pytest.mark.skipif(
    importlib.util.find_spec(PACKAGE) is None, reason="the extra `minilm` carries the words"
)
def test_calibration_rows_are_joined_sentences_between_their_ends():
    rows = sentence_pairs.calibration_rows([Sentence("a", "one two three four five. " * 30)] * 2)
    assert rows.shape[1] == sentence_pairs.CALIBRATION_TOKENS
    assert set(rows[:, 0].tolist()) == {101}
    assert set(rows[:, -1].tolist()) == {102}
    assert rows[0, 1:7].tolist() == [2028, 2048, 2093, 2176, 2274, 1012]


def test_a_missing_package_is_one_sentence(monkeypatch, capsys):
    def missing():
        raise UserError("it is not installed")

    monkeypatch.setattr(sentence_pairs, "docstring_sentences", missing)
    monkeypatch.setattr("sys.argv", ["sentence_pairs"])
    assert sentence_pairs.run() == 2
    assert capsys.readouterr().err == "error: it is not installed\n"

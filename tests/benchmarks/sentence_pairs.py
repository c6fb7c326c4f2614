"""Score integer MiniLM on pairs of sentences: `python -m tests.benchmarks.sentence_pairs`.

Sentences are pinned docstrings (quant/sentence_text.py). The float model is this project's own,
which a test holds against transformers; calibration sees other files than the evaluation.
"""

import argparse
import sys
import time

import numpy as np
import torch

from cosim.ir.errors import UserError
from cosim.torch_exec import TorchExecutor
from quant.encoders import (
    RECIPES,
    float_embeddings,
    int_embeddings,
    likeness,
    quantise_encoder,
)
from quant.models.minilm import load_minilm, word_pieces
from quant.sentence_text import Sentence, docstring_sentences, draw_pairs

PAIRS = 250
CALIBRATION_ROWS, CALIBRATION_TOKENS = 96, 48
SEPARATOR = 102  # [SEP] of the vocabulary


def main(arguments: list[str] | None = None) -> None:
    """Print a row per recipe."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipe", action="append", choices=list(RECIPES), help="default: all")
    parser.add_argument("--pairs", type=int, default=PAIRS)
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    evaluation, calibration = docstring_sentences()
    drawn = draw_pairs(evaluation, given.pairs)
    used, pairs = np.unique(drawn, return_inverse=True)
    pairs = pairs.reshape(drawn.shape)
    pieces = word_pieces([evaluation[k].text for k in used])
    model = load_minilm()
    real = float_embeddings(model, pieces)
    print(f"{len(used)} sentences of {sum(map(len, pieces))} tokens, {len(pairs)} pairs")
    print("recipe  mean cosine  least  rank correlation  largest difference  seconds (measured)")
    for name in given.recipe or RECIPES:
        draft = quantise_encoder("minilm", model, RECIPES[name], calibration_rows(calibration))
        assert draft.integer is not None
        executor = TorchExecutor(draft.integer)
        started = time.perf_counter()
        got = int_embeddings(executor, pieces)
        seconds = time.perf_counter() - started
        found = likeness(real, got, pairs)
        print(
            f"{name:7} {found.mean_cosine:11.5f} {found.least_cosine:7.4f}"
            f" {found.rank_correlation:12.5f} {found.largest_difference:15.4f} {seconds:14.1f}",
            flush=True,
        )


def calibration_rows(sentences: list[Sentence]) -> torch.Tensor:
    """Return rows of tokens [B, T]: sentences joined and cut, so that nothing is padded."""
    inner = torch.cat([p[1:-1] for p in word_pieces([s.text for s in sentences])])
    size = CALIBRATION_TOKENS - 2
    count = min(CALIBRATION_ROWS, len(inner) // size)
    rows = inner[: count * size].reshape(count, size)
    first = word_pieces([""])[0][:1].expand(count, 1)
    return torch.cat([first, rows, torch.full((count, 1), SEPARATOR)], dim=1)


def run() -> int:
    """Run `main`; bad input prints one sentence and returns 2."""
    try:
        main()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(run())

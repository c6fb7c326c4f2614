"""Train the shipped byte-level Mamba-2: `python -m quant.training.train_mamba2 --out FOLDER`."""

import argparse
import sys
from pathlib import Path

from quant.training.card import Kind, write_model_card
from quant.training.command import check_budget, common_options, status_of, train_into
from quant.training.folder import load_mamba2
from quant.training.loop import Plan, Progress
from quant.training.measure import LENGTHS, measure_recurrent
from quant.training.model import Mamba2, Mamba2Shape
from quant.training.text import TextSplit

KIND = Kind(
    name="mamba2-py-1m",
    family="Mamba-2",
    loader="transformers.Mamba2ForCausalLM.from_pretrained",
    tags="mamba2",
    command="quant.training.train_mamba2",
    lengths=LENGTHS,
    trained="the state starts empty in every window.",
)


def main(arguments: list[str] | None = None) -> None:
    """Train, measure on the held-out text, and write the Hugging Face folder with its card."""
    out, plan = _parse(arguments)

    def finish(split: TextSplit, last: Progress) -> None:
        measured = measure_recurrent(load_mamba2(out), split)
        write_model_card(out, KIND, split, measured, plan, last)
        print(measured)

    train_into(out, plan, lambda: Mamba2(Mamba2Shape()), finish)


def _parse(arguments: list[str] | None) -> tuple[Path, Plan]:
    given: argparse.Namespace = common_options(__doc__).parse_args(arguments)
    check_budget(given)
    return given.out, Plan(
        minutes=given.minutes, max_steps=given.steps, seed=given.seed, compile=given.compile
    )


if __name__ == "__main__":
    sys.exit(status_of(main))

"""Train the shipped byte-level Mamba-2: `python -m quant.training.train_mamba2 --out FOLDER`."""

import argparse
import sys
from pathlib import Path

from quant.training.card import Kind, Measured, Score, write_model_card
from quant.training.command import check_budget, common_options, status_of, train_into
from quant.training.evaluate import bits_per_byte, xz_bits_per_byte
from quant.training.folder import load_mamba2
from quant.training.loop import Plan, Progress
from quant.training.model import Mamba2, Mamba2Shape
from quant.training.text import TextSplit, shared_shingle_count

SLICE_BYTES = 8192
WINDOW_BYTES = 2048
KIND = Kind(
    name="mamba2-py-1m",
    family="Mamba-2",
    loader="Mamba2ForCausalLM",
    tags="mamba2",
    command="quant.training.train_mamba2",
    lengths=f"""\
Carried: one pass, each byte
given all bytes before it. Windowed: the state starts empty every {WINDOW_BYTES:,} bytes.""",
    trained="the state starts empty in every window.",
)


def main(arguments: list[str] | None = None) -> None:
    """Train, measure on the held-out text, and write the Hugging Face folder with its card."""
    out, plan = _parse(arguments)

    def finish(split: TextSplit, last: Progress) -> None:
        measured = measure(out, split)
        write_model_card(out, KIND, split, measured, plan, last)
        print(measured)

    train_into(out, plan, lambda: Mamba2(Mamba2Shape()), finish)


def measure(folder: Path, split: TextSplit) -> Measured:
    """Return the figures of the saved model on the held-out side of the split."""
    model, held_out = load_mamba2(folder), split.held_out
    windowed = bits_per_byte(model, held_out, reset_every_bytes=WINDOW_BYTES)
    return Measured(
        parameters=sum(p.numel() for p in model.parameters()),
        scores=(
            Score(0, "carried", bits_per_byte(model, held_out)),
            Score(0, "windowed", windowed),
            Score(SLICE_BYTES, "carried", bits_per_byte(model, held_out[:SLICE_BYTES])),
            Score(0, "`xz -9e`", xz_bits_per_byte(held_out)),
        ),
        shared_shingles=shared_shingle_count(split.train, held_out),
    )


def _parse(arguments: list[str] | None) -> tuple[Path, Plan]:
    given: argparse.Namespace = common_options(__doc__).parse_args(arguments)
    check_budget(given)
    return given.out, Plan(
        minutes=given.minutes, max_steps=given.steps, seed=given.seed, compile=given.compile
    )


if __name__ == "__main__":
    sys.exit(status_of(main))

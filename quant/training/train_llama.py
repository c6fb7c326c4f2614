"""Train the shipped byte-level Llama: `python -m quant.training.train_llama --out FOLDER`."""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from cosim.ir.errors import UserError
from quant.training.card import write_model_card
from quant.training.command import check_budget, common_options, status_of, train_into
from quant.training.evaluate import (
    windowed_bits_per_byte,
    xz_bits_per_byte,
)
from quant.training.folder import load_folder
from quant.training.llama import Llama, LlamaShape
from quant.training.loop import Plan, Progress
from quant.training.text import TextSplit, shared_shingle_count

WINDOW_BYTES = 2048
SLICE_BYTES = 8192
# Distances up to 3,071 are trained, so that no position of a context of 2,048 is new.
TURNS = (384, 384, 384, 384, 384, 384, 3072)
# As many bytes as the shipped Mamba-2 saw: 3,498 steps of 8 x 384.
STEPS = 3498


def main(arguments: list[str] | None = None) -> None:
    """Train, measure on the held-out text, and write the Hugging Face folder with its card."""
    out, plan, shape = _parse(arguments)

    def finish(split: TextSplit, last: Progress) -> None:
        print(f"{last.step} steps, {last.train_bytes:,} bytes, {last.seconds:.0f} s")

    train_into(out, plan, lambda: Llama(shape), finish)


def _parse(arguments: list[str] | None) -> tuple[Path, Plan, LlamaShape]:
    parser = common_options(__doc__, minutes=180.0)
    parser.set_defaults(steps=STEPS)
    parser.add_argument("--rate", type=float, default=Plan.peak_rate, help="peak learning rate")
    parser.add_argument(
        "--windows",
        type=lambda text: tuple(int(part) for part in text.split(",")),
        default=TURNS,
        help="lengths of windows that the steps take turns in, such as 384,768",
    )
    parser.add_argument("--window", type=int, help="bytes that a byte sees; left out: all")
    given = parser.parse_args(arguments)
    check_budget(given)
    if given.window is not None and given.window < 1:
        raise UserError(f"--window {given.window}: a byte sees itself at least; give 1 or more")
    plan = Plan(
        minutes=given.minutes,
        max_steps=given.steps,
        seed=given.seed,
        compile=given.compile,
        peak_rate=given.rate,
        window_turns=given.windows,
    )
    return given.out, plan, replace(LlamaShape(), window=given.window)


if __name__ == "__main__":
    sys.exit(status_of(main))

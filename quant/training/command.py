"""Train a byte-level model by the command line: split, loop, log, measure, card."""

import argparse
import csv
import sys
from collections.abc import Callable
from pathlib import Path

import torch

from cosim.ir.errors import UserError
from quant.training.byte_model import ByteModel
from quant.training.folder import save_folder
from quant.training.loop import Plan, Progress, train
from quant.training.text import TextSplit, split_text, standard_library_files


def train_into(
    out: Path,
    plan: Plan,
    make: Callable[[], ByteModel],
    finish: Callable[[TextSplit, Progress], None],
) -> None:
    """Train what `make` returns into the folder `out`, with its log, and `finish` it.

    Raises UserError where the folder holds a model.
    """
    if (out / "model.safetensors").exists():
        raise UserError(f"{out}: it holds a model already; give an empty folder with --out")
    # Several processes often share few cores, and idle torch threads spin.
    torch.set_num_threads(1)
    torch.manual_seed(plan.seed)
    out.mkdir(parents=True, exist_ok=True)
    split = split_text(standard_library_files())
    print(f"train {len(split.train):,} bytes, held out {len(split.held_out):,} bytes", flush=True)
    (out / "held_out.txt").write_bytes(split.held_out)
    model = make()
    with (out / "training_log.csv").open("w", newline="") as log:
        writer = csv.writer(log, lineterminator="\n")
        writer.writerow(["step", "seconds", "train_bytes", "learning_rate", "bits_per_byte"])

        def report(at: Progress) -> None:
            row = [at.step, f"{at.seconds:.0f}", at.train_bytes, f"{at.rate:.2e}"]
            writer.writerow([*row, f"{at.bits_per_byte:.4f}"])
            log.flush()
            left = 60 * plan.minutes - at.seconds
            print(*row, f"{at.bits_per_byte:.4f} bits per byte, {left:.0f} s left", flush=True)

        last = train(model, split.train, plan, report, lambda: save_folder(model, out))
    finish(split, last)


def common_options(
    description: str | None, minutes: float = Plan.minutes
) -> argparse.ArgumentParser:
    """Return a parser of the options that all families share."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--minutes", type=float, default=minutes, help="time budget")
    parser.add_argument("--steps", type=int, help="end after so many steps; the rate follows them")
    parser.add_argument("--seed", type=int, default=Plan.seed)
    parser.add_argument("--compile", action="store_true", help="faster, needs g++")
    return parser


def check_budget(given: argparse.Namespace) -> None:
    """Raise UserError for a budget of no time or no steps."""
    if given.minutes <= 0 or (given.steps is not None and given.steps <= 0):
        raise UserError("--minutes and --steps: each must be above 0; leave --steps out for none")


def status_of(main: Callable[[], None]) -> int:
    """Run `main` and return the exit status; bad input prints one sentence and returns 2."""
    try:
        main()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted: the last checkpoint stays in the folder", file=sys.stderr)
        return 130
    return 0

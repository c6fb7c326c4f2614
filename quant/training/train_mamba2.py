"""Train the shipped byte-level Mamba-2: `python -m quant.training.train_mamba2 --out FOLDER`."""

import argparse
import csv
import sys
from pathlib import Path

import torch

from cosim.ir.errors import UserError
from quant.training.card import Measured, write_model_card
from quant.training.evaluate import bits_per_byte, xz_bits_per_byte
from quant.training.folder import load_folder, save_folder
from quant.training.loop import Plan, Progress, train
from quant.training.model import Mamba2, Mamba2Shape
from quant.training.text import (
    TextSplit,
    shared_shingle_count,
    split_text,
    standard_library_files,
)

SLICE_BYTES = 8192
WINDOW_BYTES = 2048


def main(arguments: list[str] | None = None) -> None:
    """Train, measure on the held-out text, and write the Hugging Face folder with its card."""
    out, plan = _parse(arguments)
    if (out / "model.safetensors").exists():
        raise UserError(f"{out}: it holds a model already; give an empty folder with --out")
    # Several processes often share few cores, and idle torch threads spin.
    torch.set_num_threads(1)
    torch.manual_seed(plan.seed)
    out.mkdir(parents=True, exist_ok=True)
    split = split_text(standard_library_files())
    print(f"train {len(split.train):,} bytes, held out {len(split.held_out):,} bytes", flush=True)
    (out / "held_out.txt").write_bytes(split.held_out)
    model = Mamba2(Mamba2Shape())
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
    measured = measure(out, split)
    write_model_card(out, split, measured, plan, last)
    print(measured)


def measure(folder: Path, split: TextSplit) -> Measured:
    """Return the figures of the saved model on the held-out side of the split."""
    model, held_out = load_folder(folder), split.held_out
    return Measured(
        parameters=sum(p.numel() for p in model.parameters()),
        held_out_bits_per_byte=bits_per_byte(model, held_out),
        windowed_bits_per_byte=bits_per_byte(model, held_out, reset_every_bytes=WINDOW_BYTES),
        window_bytes=WINDOW_BYTES,
        slice_bits_per_byte=bits_per_byte(model, held_out[:SLICE_BYTES]),
        slice_bytes=SLICE_BYTES,
        xz_bits_per_byte=xz_bits_per_byte(held_out),
        shared_shingles=shared_shingle_count(split.train, held_out),
    )


def _parse(arguments: list[str] | None) -> tuple[Path, Plan]:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--minutes", type=float, default=Plan.minutes, help="time budget")
    parser.add_argument("--steps", type=int, help="end after so many steps; the rate follows them")
    parser.add_argument("--seed", type=int, default=Plan.seed)
    parser.add_argument("--compile", action="store_true", help="1.5 times faster, needs g++")
    given = parser.parse_args(arguments)
    if given.minutes <= 0 or (given.steps is not None and given.steps <= 0):
        raise UserError("--minutes and --steps: each must be above 0; leave --steps out for none")
    return given.out, Plan(
        minutes=given.minutes, max_steps=given.steps, seed=given.seed, compile=given.compile
    )


def run() -> int:
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


if __name__ == "__main__":
    sys.exit(run())

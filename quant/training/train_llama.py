"""Train the shipped byte-level Llama: `python -m quant.training.train_llama --out FOLDER`."""

import sys
from dataclasses import replace
from pathlib import Path

from cosim.ir.errors import UserError
from quant.training.card import Kind, Measured, Score, write_model_card
from quant.training.command import check_budget, common_options, status_of, train_into
from quant.training.evaluate import windowed_bits_per_byte, xz_bits_per_byte
from quant.training.folder import load_llama
from quant.training.llama import Llama, LlamaShape
from quant.training.loop import Plan, Progress
from quant.training.text import TextSplit, shared_shingle_count

WINDOW_BYTES = 2048
HOP_BYTES = 1024
SLICE_BYTES = 8192
# As many bytes as the shipped Mamba-2 saw: 3,498 steps of 8 x 384.
STEPS = 3498


def main(arguments: list[str] | None = None) -> None:
    """Train, measure on the held-out text, and write the Hugging Face folder with its card."""
    out, plan, shape = _parse(arguments)

    def finish(split: TextSplit, last: Progress) -> None:
        measured = measure(out, split)
        write_model_card(out, kind_of(shape), split, measured, plan, last)
        print(measured)

    train_into(out, plan, lambda: Llama(shape), finish)


def kind_of(shape: LlamaShape) -> Kind:
    """Return what the card says of a shape."""
    loader = "LlamaForCausalLM" if shape.window is None else "MistralForCausalLM"
    sees = "all bytes before it in its window"
    if shape.window is not None:
        sees = f"the {shape.window} bytes up to itself"
    return Kind(
        name="llama-py-1m",
        family=f"Llama ({shape.query_heads} query heads, {shape.key_heads} key heads; a layer's"
        f"\nattention sees {sees})",
        loader=f"transformers.{loader}.from_pretrained",
        tags=loader.removesuffix("ForCausalLM").lower(),
        command="quant.training.train_llama",
        lengths=f"""\
Windowed: the text is read
anew every {WINDOW_BYTES:,} bytes. Overlapped: in windows of {WINDOW_BYTES:,} bytes that start \
every {HOP_BYTES:,}; what both see is
counted once, so that a byte is given {WINDOW_BYTES - HOP_BYTES:,} bytes before it or more.""",
        trained="no byte sees past its window's start.",
    )


def measure(folder: Path, split: TextSplit) -> Measured:
    """Return the figures of the saved model on the held-out side of the split."""
    model, held_out = load_llama(folder), split.held_out
    windowed = windowed_bits_per_byte(model, held_out, WINDOW_BYTES)
    overlapped = windowed_bits_per_byte(model, held_out, WINDOW_BYTES, HOP_BYTES)
    first = windowed_bits_per_byte(model, held_out[:SLICE_BYTES], WINDOW_BYTES)
    return Measured(
        parameters=sum(p.numel() for p in model.parameters()),
        scores=(
            Score(0, "overlapped", overlapped),
            Score(0, "windowed", windowed),
            Score(SLICE_BYTES, "windowed", first),
            Score(0, "`xz -9e`", xz_bits_per_byte(held_out)),
        ),
        shared_shingles=shared_shingle_count(split.train, held_out),
    )


def _parse(arguments: list[str] | None) -> tuple[Path, Plan, LlamaShape]:
    parser = common_options(__doc__, minutes=180.0)
    parser.set_defaults(steps=STEPS)
    parser.add_argument("--rate", type=float, default=Plan.peak_rate, help="peak learning rate")
    parser.add_argument(
        "--windows",
        type=lambda text: tuple(int(part) for part in text.split(",")),
        default=(),
        help="lengths of windows that the steps take turns in, such as 384,768",
    )
    parser.add_argument(
        "--window", type=int, default=LlamaShape.window, help="bytes that a byte sees; 0: all"
    )
    given = parser.parse_args(arguments)
    check_budget(given)
    if given.window < 0:
        raise UserError(f"--window {given.window}: give the bytes that a byte sees, or 0 for all")
    plan = Plan(
        minutes=given.minutes,
        max_steps=given.steps,
        seed=given.seed,
        compile=given.compile,
        peak_rate=given.rate,
        window_turns=given.windows,
    )
    return given.out, plan, replace(LlamaShape(), window=given.window or None)


if __name__ == "__main__":
    sys.exit(status_of(main))

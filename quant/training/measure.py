"""Measure what the card of a recurrent model says."""

from quant.training.byte_model import RecurrentModel, State
from quant.training.card import Measured, Score
from quant.training.evaluate import bits_per_byte, xz_bits_per_byte
from quant.training.text import TextSplit, shared_shingle_count

SLICE_BYTES = 8192
WINDOW_BYTES = 2048
LENGTHS = f"""\
Carried: one pass, each byte
given all bytes before it. Windowed: the state starts empty every {WINDOW_BYTES:,} bytes."""


def measure_recurrent(model: RecurrentModel[State], split: TextSplit) -> Measured:
    """Return the figures of a model on the held-out side of the split."""
    held_out = split.held_out
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

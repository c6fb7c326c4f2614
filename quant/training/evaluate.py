"""Measure bits per byte on a text."""

import lzma
import math

import numpy as np
import torch
from torch.nn import functional

from cosim.ir.errors import UserError
from quant.training.model import Mamba2

_PIECE_BYTES = 2048


@torch.no_grad()
def bits_per_byte(model: Mamba2, text: bytes, reset_every_bytes: int | None = None) -> float:
    """Return the mean bits of bytes 1 .. n-1, each given all bytes before it.

    The state is carried through the whole text in one pass; with `reset_every_bytes` it starts
    empty again after that many bytes, so that no byte sees further back. Raises UserError on a text
    without a byte to predict.
    """
    if len(text) < 2:
        raise UserError(f"text to measure: it has {len(text)} byte(s), give at least 2")
    data = torch.from_numpy(np.frombuffer(text, dtype=np.uint8).astype(np.int64))[None]
    piece = reset_every_bytes or _PIECE_BYTES
    chunk = model.shape.chunk_size
    total_nats, states = 0.0, model.empty_states(1)
    for first in range(0, data.shape[1] - 1, piece):
        if reset_every_bytes:
            states = model.empty_states(1)
        inputs = data[:, first : first + piece][:, : data.shape[1] - 1 - first]
        count = inputs.shape[1]
        # Only the last piece may be ragged, and nothing reads its state.
        logits, states = model(functional.pad(inputs, (0, -count % chunk)), states)
        targets = data[0, first + 1 : first + 1 + count]
        total_nats += float(functional.cross_entropy(logits[0, :count], targets, reduction="sum"))
    return total_nats / math.log(2) / (data.shape[1] - 1)


def xz_bits_per_byte(text: bytes) -> float:
    """Return the bits per byte of `xz -9e` on the text."""
    return 8 * len(lzma.compress(text, preset=9 | lzma.PRESET_EXTREME)) / len(text)

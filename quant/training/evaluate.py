"""Measure bits per byte on a text."""

import lzma
import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from cosim.ir.errors import UserError
from quant.training.byte_model import ByteModel, RecurrentModel, State

_PIECE_BYTES = 2048


@torch.no_grad()
def bits_per_byte(
    model: RecurrentModel[State], text: bytes, reset_every_bytes: int | None = None
) -> float:
    """Return the mean bits of bytes 1 .. n-1, each given all bytes before it.

    The state is carried through the whole text in one pass; with `reset_every_bytes` it starts
    empty again after that many bytes, so that no byte sees further back. Raises UserError on a text
    without a byte to predict.
    """
    data = _bytes_of(text)[None]
    piece = reset_every_bytes or _PIECE_BYTES
    chunk = model.chunk_bytes
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


@torch.no_grad()
def windowed_bits_per_byte(
    model: ByteModel, text: bytes, window_bytes: int, hop_bytes: int | None = None
) -> float:
    """Return the mean bits of bytes 1 .. n-1, the text read anew in every window.

    A window starts each `hop_bytes` (as many as it is long, if not given), and counts those of its
    bytes that no window before it saw: with a shorter hop, a byte is given at least window - hop
    bytes before it where the text has them. Raises UserError on a text without a byte to predict,
    and for a hop of 0 or longer than the window.
    """
    data = _bytes_of(text)
    hop = hop_bytes or window_bytes
    if not 0 < hop <= window_bytes:
        raise UserError(f"a hop of {hop} bytes in windows of {window_bytes}: give 1 to the window")
    total_nats = 0.0
    for first, count, known in _spans(len(data) - 1, window_bytes, hop):
        logits = model.predict(data[None, first : first + count])
        targets = data[first + known + 1 : first + count + 1]
        total_nats += float(functional.cross_entropy(logits[0, known:], targets, reduction="sum"))
    return total_nats / math.log(2) / (len(data) - 1)


def xz_bits_per_byte(text: bytes) -> float:
    """Return the bits per byte of `xz -9e` on the text."""
    return 8 * len(lzma.compress(text, preset=9 | lzma.PRESET_EXTREME)) / len(text)


def _bytes_of(text: bytes) -> Tensor:
    if len(text) < 2:
        raise UserError(f"text to measure: it has {len(text)} byte(s), give at least 2")
    return torch.from_numpy(np.frombuffer(text, dtype=np.uint8).astype(np.int64))


def _spans(length: int, window: int, hop: int) -> Iterator[tuple[int, int, int]]:
    """Yield (first, count, how many of them an earlier window counted) over `length` inputs.

    >>> list(_spans(10, 4, 2))
    [(0, 4, 0), (2, 4, 2), (4, 4, 2), (6, 4, 2)]
    >>> list(_spans(5, 4, 4))
    [(0, 4, 0), (4, 1, 0)]
    """
    done = first = 0
    while done < length:
        count = min(window, length - first)
        yield first, count, done - first
        done = first + count
        first += hop

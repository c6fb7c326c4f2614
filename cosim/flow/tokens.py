"""Read the tokens of a text file (its bytes) or of an `.npy` file, and check that they will do."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cosim.ir.errors import UserError

BYTE_VALUES = 256
PADDED_BYTE_VALUES = 257  # typeseg: bytes, some of them replaced, and a padding mark
BYTE_VOCABULARIES = {BYTE_VALUES, PADDED_BYTE_VALUES}


def read_tokens(path: Path, vocabulary: int, least: int, most: int | None = None) -> np.ndarray:
    """Return at least `least` tokens [T] int64, the first `most` of them.

    Raise UserError for a file that is missing, empty, too short, or not of this vocabulary.
    """
    path = Path(path)
    tokens = _read_npy(path) if path.suffix == ".npy" else _read_bytes(path, vocabulary)
    if tokens.size == 0:
        raise UserError(f"{path} is empty; give a text of at least {least} tokens")
    if tokens.size < least:
        raise UserError(
            f"{path} holds {tokens.size} tokens, shorter than the {least} that the window needs; "
            "give a longer text or a shorter --window"
        )
    low, high = int(tokens.min()), int(tokens.max())
    if low < 0 or high >= vocabulary:
        raise UserError(
            f"{path} holds tokens {low}..{high}, but the model knows 0..{vocabulary - 1}; make the "
            "tokens with the model's own tokenizer"
        )
    return tokens[:most]


def _read_bytes(path: Path, vocabulary: int) -> np.ndarray:
    if vocabulary not in BYTE_VOCABULARIES:
        raise UserError(
            f"{path} is read as bytes, but the model has {vocabulary} tokens, not {BYTE_VALUES}; "
            "make the tokens with its tokenizer and give them as an .npy file of integers"
        )
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}; give a text file") from None
    if vocabulary == PADDED_BYTE_VALUES:
        from quant.models.bimamba import encode

        return encode(raw)[0].numpy()
    return np.frombuffer(raw, dtype=np.uint8).astype(np.int64)


def _read_npy(path: Path) -> np.ndarray:
    try:
        array = np.load(path, allow_pickle=False)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from None
    except (ValueError, EOFError) as error:
        raise UserError(f"{path} is not an .npy file of plain numbers ({error})") from None
    if not isinstance(array, np.ndarray):  # an archive of several
        raise UserError(f"{path} is an archive of arrays; save the token ids alone with numpy.save")
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise UserError(
            f"{path} holds {array.dtype} {array.shape}; give one axis of integers, the token ids"
        )
    return array.astype(np.int64)

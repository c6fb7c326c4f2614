"""Let an integer graph write by itself: its own arg-max is the next token."""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Iterator

import numpy as np

from cosim.flow.tokens import BYTE_VALUES, PADDED_BYTE_VALUES
from cosim.ir.errors import UserError
from cosim.ir.model import Model
from cosim.reference import context_of
from cosim.torch_exec import TorchExecutor

NEXT = "next"


def vocabulary(model: Model) -> int:
    """Return how many tokens a model knows."""
    return next(iter(model.inputs.values())).hi + 1


def prompt_tokens(name: str, size: int, prompt: str) -> np.ndarray:
    """Return the tokens of a prompt: its bytes, or the ids in it where tokens are no bytes.

    Raise UserError for a prompt that the model of this name, with `size` tokens, cannot read.
    """
    if size == PADDED_BYTE_VALUES:
        raise UserError(f"model {name} labels bytes and writes none; leave --prompt out")
    if size == BYTE_VALUES:
        try:
            raw = prompt.encode()
        except UnicodeEncodeError:  # how Python hands on bytes of the command line that are no text
            raise UserError(f"prompt {prompt!a} is not UTF-8 text; give text") from None
        tokens = np.frombuffer(raw, dtype=np.uint8).astype(np.int64)
    else:
        try:
            tokens = np.array([int(word) for word in prompt.split()], dtype=np.int64)
        except (ValueError, OverflowError):
            raise UserError(
                f"prompt {prompt!a}: model {name} has {size} tokens, which are no bytes; "
                "give token ids, such as --prompt '5 17 3'"
            ) from None
    if tokens.size == 0:
        raise UserError("the prompt is empty; give at least one character, such as --prompt 'def '")
    if int(tokens.min()) < 0 or int(tokens.max()) >= size:
        raise UserError(f"prompt {prompt!r}: model {name} knows the tokens 0..{size - 1}")
    return tokens


def fitting(model: Model, prompt: np.ndarray, count: int) -> int:
    """Return how many of `count` tokens a model can write: its last one is not read again."""
    context = context_of(model)
    return count if context is None else min(count, context - prompt.size + 1)


def generate(model: Model, prompt: np.ndarray, count: int, device: str = "cpu") -> Iterator[int]:
    """Yield `count` tokens, each the most likely after all before it; prompt [T], T > 0.

    Raise UserError for a model that does not predict a next token.
    """
    if not model.is_causal or NEXT not in model.outputs:
        raise UserError(
            f"model {model.name} labels tokens and writes none; generate with a causal model"
        )
    if count < 1:
        raise UserError(f"{count} tokens to generate; ask for at least 1")
    most = fitting(model, prompt, count)
    if count > most:
        raise UserError(
            f"model {model.name} reads at most {context_of(model)} tokens: after a prompt of "
            f"{prompt.size} it writes at most {max(most, 0)}, not {count}; ask for fewer"
        )
    executor = TorchExecutor(model, device)
    name = next(iter(model.inputs))
    window, states = prompt, None
    for _ in range(count):
        ran = executor.run({name: window}, states, count=False)
        token = int(ran.outputs[NEXT][-1])
        window, states = np.array([token]), ran.states
        yield token


def as_text(tokens: Iterable[int], size: int) -> Iterator[str]:
    """Yield text for tokens as they come: UTF-8 where tokens are bytes, else the ids.

    >>> "".join(as_text(b"a\\xc3\\xa9\\xff!", 256)), "".join(as_text([5, 17], 300))
    ('aé�!', '5 17 ')
    """
    if size != BYTE_VALUES:
        yield from (f"{token} " for token in tokens)
        return
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    for token in tokens:
        piece = decoder.decode(bytes([token]))
        if piece:
            yield piece
    yield decoder.decode(b"", final=True)

"""Say who reads and writes a model's residual stream, and where a rotation may stand online.

Matrices and norms are weight names without `.weight`.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Stream:
    """Name the embedding, who reads the residual through which norm, and who writes it.

    `inner` are (norm, matrix) pairs off the residual whose norm weight can be folded likewise;
    `turned` are the matrices whose input the pass `rotate_out` rotates online; `heads` are (value
    matrix, output matrix, channels per head) of attention, where any rotation of a head's channels
    passes through the mean of values. `rotates` is False where something reads the residual channel
    by channel, such as RWKV's token shift, so that it must keep its basis.
    """

    embedding: str
    readers: tuple[tuple[str, str], ...]
    writers: tuple[str, ...]
    turned: tuple[str, ...]
    inner: tuple[tuple[str, str], ...] = ()
    heads: tuple[tuple[str, str, int], ...] = ()
    rotates: bool = True


def mixer_stream(layers: int, has_norm: bool = False) -> Stream:
    """Return the stream of the Mamba families; `has_norm`: a norm stands before out_proj."""
    blocks = [f"backbone.layers.{k}" for k in range(layers)]
    out = tuple(f"{b}.mixer.out_proj" for b in blocks)
    return Stream(
        embedding="backbone.embeddings",
        readers=(
            *((f"{b}.norm", f"{b}.mixer.in_proj") for b in blocks),
            ("backbone.norm_f", "lm_head"),
        ),
        writers=out,
        turned=out,
        inner=tuple((f"{b}.mixer.norm", o) for b, o in zip(blocks, out, strict=True))
        if has_norm
        else (),
    )

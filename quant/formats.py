"""Name the integer formats that a recipe chooses, apart from the weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from cosim.ir.errors import UserError

ROOMY_BITS = 16
MOST_DIVISOR = 64.0
StateFormat = Literal["int8 group", "int16", "int24"]


@dataclass(frozen=True)
class ActFormat:
    """Say how the inputs of linear layers are quantised.

    `dynamic`: a scale per token and group of `group` channels (0: the whole token), a power of
    two, or with `mantissa_bits` of mantissa; else one static scale from calibration. `clip` in
    sixteenths shrinks the range below the group's maximum (dynamic only). `threshold_divisor`
    k > 0 gives one scale a token instead, the power of two nearest to mean|x| / k, as spiking
    neurons adapt their threshold (SpikingBrain, arXiv 2509.05276, equation 19).
    """

    bits: int
    dynamic: bool = True
    group: int = 0
    mantissa_bits: int = 0
    clip: int = 16
    threshold_divisor: float = 0.0

    def __post_init__(self) -> None:
        """Refuse widths that no unit multiplies."""
        if not 2 <= self.bits <= 16:
            raise UserError(f"activations of {self.bits} bits: choose 2 to 16")
        if not 0 <= self.threshold_divisor <= MOST_DIVISOR:
            raise UserError(
                f"threshold: the divisor of mean|x| is {self.threshold_divisor}; choose a number "
                f"up to {MOST_DIVISOR:.0f}, such as 3"
            )


@dataclass(frozen=True)
class AttentionFormat:
    """Say how attention is quantised: bits of queries, of cached keys and values, and the tile.

    Queries and keys have one binary point a head, values one a channel, from calibration. `tile`
    keys are visited at once; that order is part of the graph's meaning. `context` tokens, at most
    the model's own, fit into the cache of a model without a window (None: as many as the model's).
    """

    query_bits: int = 8
    key_bits: int = 8
    value_bits: int = 8
    tile: int = 32
    context: int | None = None


@dataclass(frozen=True)
class SsmFormat:
    """Say how the recurrent part is quantised; every re-quantisation there is a shift.

    The defaults give the operands of its multipliers 18 bits: a DSP multiplies 27 x 18, so that
    fewer would save nothing there on an FPGA, and they cost accuracy.

    Bits of the convolution's input (which its window stores) and taps, of x, B and C, of what
    enters and leaves the tables (convolution's output, gate, dt before softplus), of dt and of the
    fraction of the decay's complement; the state's format; bits of the embedding. `headroom` is
    the room that values of 16 bits and more keep above their calibrated maximum, so that other
    text than the calibration's does not clip. A state per channel (Mamba-1 and its bidirectional
    sister) and the convolution before it have widths of their own: no norm follows them, and they
    span more decades.
    """

    conv_bits: int = 12
    channel_conv_bits: int = 18
    tap_bits: int = 18
    operand_bits: int = 18
    value_bits: int = 18
    state: StateFormat = "int16"
    channel_state: StateFormat = "int24"
    dt_bits: int = 24
    decay_bits: int = 20
    embed_bits: int = 16
    headroom: float = 4.0

    def room(self, bits: int) -> float:
        """Return how many times the calibrated maximum an operand of so many bits must hold."""
        return self.headroom if bits >= ROOMY_BITS else 1.0

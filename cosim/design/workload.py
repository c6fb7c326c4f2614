"""Say what a design is to do: read prompts or generate, how many sequences, how much before."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, get_args

from cosim.ir.errors import UserError

Phase = Literal["decode", "prefill"]
MOST = 1 << 20  # tokens and sequences; far past any model's context


@dataclass(frozen=True)
class Workload:
    """Hold a workload; raise UserError where it is none.

    phase
        `decode`: every sequence generates a token, again and again. `prefill`: a prompt of each
        sequence is read into its states; nothing stands after the layers then, for nobody asks
        what follows a token of a prompt.
    tokens
        The length of a prompt; 1 where tokens are generated.
    batch
        Sequences that have states of their own. Decoding, they share fetches of weights; prompts
        are read one after another.
    context
        Tokens that a sequence has seen before. A recurrent state is as large after any number of
        them; a cache of keys and values grows with it.
    """

    phase: Phase = "decode"
    tokens: int = 1
    batch: int = 1
    context: int = 0

    def __post_init__(self) -> None:
        """Check the counts."""
        if self.phase not in get_args(Phase):
            raise UserError(
                f"workload: phase {self.phase!r} is unknown; choose one of "
                f"{', '.join(get_args(Phase))}"
            )
        for name, least in (("tokens", 1), ("batch", 1), ("context", 0)):
            value = getattr(self, name)
            if not least <= value <= MOST:
                raise UserError(f"workload: {name} {value} must be {least} to {MOST:,}")
        if self.phase == "decode" and self.tokens != 1:
            raise UserError(
                f"workload: tokens {self.tokens} are the length of a prompt, but phase decode "
                "reads none; leave them out, or choose phase prefill"
            )

    @property
    def is_prompt(self) -> bool:
        """Tell whether prompts are read."""
        return self.phase == "prefill"

    def text(self) -> str:
        """Print in a few words.

        >>> Workload("prefill", 512, context=7).text(), Workload(batch=4).text()
        ('prefill of 512 tokens after 7', 'decode, batch 4')
        """
        words = f"prefill of {self.tokens:,} tokens" if self.is_prompt else "decode"
        words += f", batch {self.batch}" if self.batch > 1 else ""
        return words + (f" after {self.context:,}" if self.context else "")


@dataclass(frozen=True)
class Turns:
    """Hold what units do for each sequence of a prompt, or for a token of every sequence.

    tiles
        The passes of a turn of a unit, in tiles that share each fetch of weights. A pass is one
        token of one sequence.
    times
        So many of these turns.
    rest
        The tiles of what is left over and done when all else is out; empty: nothing is.
    """

    tiles: tuple[int, ...]
    times: int
    rest: tuple[int, ...] = ()

    @property
    def passes(self) -> int:
        """Count all passes."""
        return sum(self.tiles) * self.times + sum(self.rest)

    @property
    def fetches(self) -> Fraction:
        """Return how often a pass fetches the weights."""
        return Fraction(len(self.tiles) * self.times + len(self.rest), self.passes)

    @property
    def turns(self) -> Fraction:
        """Return the turns that a pass takes: how often it fetches what stays through a turn."""
        return Fraction(self.times + bool(self.rest), self.passes)


def turns_of(workload: Workload, tile: int, tiles: int) -> Turns:
    """Split a workload into turns of at most `tiles` tiles of at most `tile` passes.

    A token of every sequence of a batch is one turn, however many tiles that takes.

    >>> turns_of(Workload("prefill", 21), 4, 2)
    Turns(tiles=(4, 4), times=2, rest=(4, 1))
    >>> turns_of(Workload(batch=5), 2, 1)
    Turns(tiles=(2, 2, 1), times=1, rest=())
    """
    if not workload.is_prompt:
        return Turns(tiles_of(workload.batch, tile), 1)
    whole, rest = divmod(workload.tokens, tile * tiles)
    if not whole:
        return Turns(tiles_of(rest, tile), 1)
    return Turns((tile,) * tiles, whole, tiles_of(rest, tile))


def tiles_of(count: int, tile: int) -> tuple[int, ...]:
    """Split a count into tiles; the last may be smaller.

    >>> tiles_of(5, 2), tiles_of(4, 4), tiles_of(1, 16)
    ((2, 2, 1), (4,), (1,))
    """
    whole, rest = divmod(count, tile)
    return (tile,) * whole + ((rest,) if rest else ())

"""Say how many tokens a turn works on, and which of them share a fetch of weights.

A turn of a unit is one layer (or what stands before or after the layers) for all passes: tokens of
one prompt, or of as many sequences. Every unit takes them one after another, so that FIFOs carry
token after token. Only a matrix unit goes the other way, group of rows by group of rows, and for
each group over a tile of passes: `units/matrix.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hw_models.network import Program


@dataclass(frozen=True)
class Passes:
    """Hold the passes of a turn in tiles; each tile has one fetch of weights.

    `is_prompt`: they are tokens of one sequence, which hand its states on to one another; else
    each belongs to a sequence of its own.
    """

    tiles: tuple[int, ...] = (1,)
    is_prompt: bool = False

    @property
    def count(self) -> int:
        """Count the passes."""
        return sum(self.tiles)

    @property
    def in_tiles(self) -> bool:
        """Tell whether some passes share a fetch, so that results have to be put into order."""
        return max(self.tiles) > 1


ONE = Passes()


def repeated(program: Program, times: int) -> Program:
    """Return a program done several times over; 0: not at all."""
    if times == 1:
        return program
    return Program(program.kinds, np.tile(program.index, times), np.tile(program.times, times))

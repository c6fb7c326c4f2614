"""Write the rows of a task as firings."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from cosim.design.rows import Rows
from cosim.ir.errors import InternalError
from hw_models.network import NOTHING, Firing, Program

MOST_FIFOS = 60


def encode(rows: Rows, latency: int, task: str, last_cycles: int = 1) -> Program:
    """Write rows as a program; the last row holds the unit for `last_cycles`."""
    total = rows.is_step.size
    if total == 0:
        return NOTHING
    pops, pushes = list(rows.pops), list(rows.pushes)
    if len(pops) + len(pushes) >= MOST_FIFOS:
        raise InternalError(f"task {task!r} has {len(pops) + len(pushes)} FIFOs, too many")
    code = np.zeros(total, np.int64)
    for bit, flags in enumerate((*rows.pops.values(), *rows.pushes.values())):
        code |= flags.astype(np.int64) << bit
    code[-1] |= int(last_cycles > 1) << MOST_FIFOS
    cuts = np.concatenate([[0], np.flatnonzero(np.diff(code)) + 1, [total]])
    values, index = np.unique(code[cuts[:-1]], return_inverse=True)
    kinds = tuple(
        Firing(
            tuple(f for b, f in enumerate(pops) if value >> b & 1),
            tuple(f for b, f in enumerate(pushes, len(pops)) if value >> b & 1),
            latency,
            Fraction(last_cycles if value >> MOST_FIFOS else 1),
            task,
        )
        for value in values.tolist()
    )
    return Program(kinds, index.astype(np.int64).reshape(-1), np.diff(cuts).astype(np.int64))

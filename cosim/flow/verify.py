"""Run the reference and the fast executor over the same tokens and compare every node with ==."""

from __future__ import annotations

import time

import numpy as np

from cosim import reference
from cosim.compare import first_difference
from cosim.flow.progress import Progress
from cosim.ir.errors import UserError
from cosim.ir.model import Model
from cosim.torch_exec import TorchExecutor
from reports.exactness import Exactness

MOST_INTEGERS = 1 << 25  # kept at once by each executor: 256 MB
LONGEST_WINDOW = 128


def window_size(model: Model) -> int:
    """Return how many tokens of all values fit into memory at once."""
    per_token = sum(
        seg.graph.types[name].size
        for seg in model.segments
        for name in seg.graph.types
        if name not in seg.graph.consts
    )
    return max(1, min(LONGEST_WINDOW, MOST_INTEGERS // max(per_token, 1)))


def verify(
    recipe: str,
    model: Model,
    tokens: np.ndarray,
    device: str = "cpu",
    progress: Progress | None = None,
) -> Exactness:
    """Compare window by window, states carried on; stop at the first window that differs.

    `tokens` [T]. A model that is not causal starts anew in each window. Raise UserError if empty.
    """
    if tokens.size == 0:
        raise UserError(f"model {model.name}: nothing to verify; give at least one token")
    progress = progress or Progress()
    executor = TorchExecutor(model, device)
    name = next(iter(model.inputs))
    window = window_size(model)
    slow_states = fast_states = None
    nodes = integers = done = differences = 0
    first: str | None = None
    seconds = [0.0, 0.0]
    while done < tokens.size and first is None:
        part = {name: tokens[done : done + window]}
        started = time.perf_counter()
        slow = reference.run(model, part, slow_states, keep=None)
        between = time.perf_counter()
        fast = executor.run(part, fast_states, keep=None)
        seconds[0] += between - started
        seconds[1] += time.perf_counter() - between
        found = first_difference(model, slow.values, fast.values)
        if found is not None:
            first = str(found)
            differences = sum(
                int(np.count_nonzero(slow.values[n] != fast.values[n])) for n in slow.values
            )
        elif slow.clipped != fast.clipped:
            names = sorted(n for n in slow.clipped if slow.clipped[n] != fast.clipped[n])
            first, differences = f"saturation counts differ at {', '.join(names)}", len(names)
        nodes = len(slow.values)
        integers += sum(v.size for v in slow.values.values())
        done += len(part[name])
        if model.is_causal:
            slow_states, fast_states = slow.states, fast.states
        progress.advance(done, int(tokens.size))
    return Exactness(
        recipe, "reference", "torch", nodes, done, integers, differences, first, *seconds
    )

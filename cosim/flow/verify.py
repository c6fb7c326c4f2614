"""Run the reference and the fast executor over the same tokens and compare every node with ==.

The fast executor gives each of its threads some sequences of a batch, so that the text is cut into
as many sequences as there are threads at most; one pass of the reference serves all counts.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch

from cosim import reference
from cosim.compare import first_difference
from cosim.flow.progress import Progress
from cosim.ir.errors import UserError
from cosim.ir.model import Model
from cosim.reference import Run, States
from cosim.torch_exec import TorchExecutor
from reports.exactness import Exactness

# Integers kept at once by each executor. A causal model's states go on from window to window, so
# that 256 MB will do; for the others only what lies in one window is compared as a whole.
MOST_INTEGERS = {"causal": 1 << 25, "windowed": 1 << 26}
LONGEST_WINDOW = 128
THREADS = (1, 2)


@dataclass(frozen=True)
class Window:
    """Hold tokens [sequences, t], from token `start` of each; `is_fresh`: they begin a text."""

    tokens: np.ndarray
    start: int
    is_fresh: bool

    @property
    def place(self) -> str:
        """Say where the window lies."""
        rows, steps = self.tokens.shape
        return f"tokens {self.start}..{self.start + steps - 1} of {rows} sequences"


@dataclass
class Tally:
    """Count what one number of threads gave, and hold the states to go on from."""

    threads: int
    states: States | None = None
    tokens: int = 0
    integers: int = 0
    differences: int = 0
    first: str | None = None
    reference_seconds: float = 0.0
    fast_seconds: float = 0.0


def window_size(model: Model, sequences: int = 1) -> int:
    """Return how many tokens of all values of so many sequences fit into memory at once."""
    per_token = sequences * sum(
        seg.graph.types[name].size
        for seg in model.segments
        for name in seg.graph.types
        if name not in seg.graph.consts
    )
    most = MOST_INTEGERS["causal" if model.is_causal else "windowed"]
    return max(1, min(LONGEST_WINDOW, most // max(per_token, 1)))


def windows(
    tokens: np.ndarray, sequences: int, size: int, context: int | None = None
) -> Iterator[Window]:
    """Cut tokens [T] into sequences of equal length and each into windows; the rest is a last one.

    A window after `context` tokens is fresh again.

    >>> [(w.tokens.tolist(), w.is_fresh) for w in windows(np.arange(7), 2, 2)]
    [([[0, 1], [3, 4]], True), ([[2], [5]], False), ([[6]], True)]
    >>> [(w.tokens.tolist(), w.is_fresh) for w in windows(np.arange(5), 1, 2, context=3)]
    [([[0, 1]], True), ([[2]], False), ([[3, 4]], True)]
    """
    length = tokens.size // sequences
    whole = tokens[: length * sequences].reshape(sequences, length)
    for part in (whole, tokens[None, length * sequences :]):
        for begin in range(0, part.shape[1], context or max(part.shape[1], 1)):
            stop = min(begin + context, part.shape[1]) if context else part.shape[1]
            for start in range(begin, stop, size):
                last = min(start + size, stop)
                yield Window(part[:, start:last], start, start == begin)


def verify(
    recipe: str,
    model: Model,
    tokens: np.ndarray,
    device: str = "cpu",
    progress: Progress | None = None,
    threads: Sequence[int] = THREADS,
) -> tuple[Exactness, ...]:
    """Compare window by window, states carried on, and return a row per number of threads.

    `tokens` [T]. A row stops at the first window that differs. A model that is not causal starts
    anew in each window; a device other than the CPU has no threads of ours, and gives one row.
    Raise UserError if there are no tokens.
    """
    if tokens.size == 0:
        raise UserError(f"model {model.name}: nothing to verify; give at least one token")
    progress = progress or Progress()
    executor = TorchExecutor(model, device)
    counts = threads if executor.use_numba else threads[:1]
    tallies = [Tally(count) for count in counts]
    sequences = max(counts)
    name = next(iter(model.inputs))
    states: States | None = None
    nodes = done = 0
    size, context = window_size(model, sequences), reference.context_of(model)
    for window in windows(tokens, sequences, size, context):
        going = [tally for tally in tallies if tally.first is None]
        if not going:
            break
        goes_on = model.is_causal and not window.is_fresh
        part = {name: window.tokens}
        started = time.perf_counter()
        slow = reference.run(model, part, states if goes_on else None, keep=None)
        seconds = time.perf_counter() - started
        states, nodes = slow.states, len(slow.values)
        for tally in going:
            with use_threads(tally.threads):
                started = time.perf_counter()
                fast = executor.run(part, tally.states if goes_on else None, keep=None)
                tally.fast_seconds += time.perf_counter() - started
            tally.reference_seconds += seconds
            _compare(model, window, slow, fast, tally)
        done += window.tokens.size
        progress.advance(done, int(tokens.size))
    return tuple(
        Exactness(
            recipe, "reference", "torch", nodes, t.tokens, t.integers, t.differences, t.first,
            t.reference_seconds, t.fast_seconds, t.threads,
        )
        for t in tallies
    )  # fmt: skip


def _compare(model: Model, window: Window, slow: Run, fast: Run, tally: Tally) -> None:
    """Add the comparison of one window: values, then what leaves it, then saturation counts."""
    found = first_difference(model, slow.values, fast.values)
    left: dict[str, np.ndarray | int] = {**slow.outputs, **slow.states, **slow.clipped}
    right: dict[str, np.ndarray | int] = {**fast.outputs, **fast.states, **fast.clipped}
    unequal = sorted(n for n in left if not np.array_equal(left[n], right[n]))
    if found is not None:
        tally.first = f"{window.place}: {found}"
        tally.differences = sum(
            int(np.count_nonzero(slow.values[n] != fast.values[n])) for n in slow.values
        )
    elif unequal:
        kind = "saturation counts" if unequal[0] in slow.clipped else "outputs or last states"
        tally.first = f"{window.place}: {kind} differ at {', '.join(unequal)}"
        tally.differences = len(unequal)
    tally.states = fast.states
    tally.tokens += window.tokens.size
    tally.integers += sum(v.size for v in slow.values.values())


@contextmanager
def use_threads(count: int) -> Iterator[None]:
    """Let torch, and with it the fast executor, use so many threads inside the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)

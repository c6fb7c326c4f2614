"""Time the fast executor on integer graphs against the float models as their own packages run them.

`python -m tests.benchmarks.executor_speed [--json]` runs the same text through all in one process,
by turns, each with the same number of threads. The first round warms up and is not counted, and
shows how many of the labels agree. A load average above the number of busy threads means that the
machine was doing other things as well; the turns make that fall on all alike.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from reports.table import Table
    from tests.benchmarks.yardsticks import Contender

MAMBA2, TYPESEG = "mamba2-py-1m", "typeseg"
RECIPES = ("w8a8", "w4a4")
SHAPES = ((1, 4096), (8, 512))
PLACEHOLDER, QUESTION_MARK = 0xA4, ord("?")


@dataclass(frozen=True)
class Timing:
    """Hold the times of one contender on one shape; `agrees` compares its labels with the float's.

    `is_yardstick`: it is not ours, and the fastest of those.
    """

    model: str
    shape: tuple[int, int]
    threads: int
    contender: str
    is_ours: bool
    seconds: tuple[float, ...]
    agrees: float
    load: tuple[float, float]

    @property
    def tokens(self) -> int:
        """Return how many tokens one round takes."""
        return self.shape[0] * self.shape[1]

    @property
    def best(self) -> float:
        """Return the tokens per second of the fastest round."""
        return self.tokens / min(self.seconds)

    @property
    def median(self) -> float:
        """Return the tokens per second of the middle round."""
        ordered = sorted(self.seconds)
        middle = (ordered[len(ordered) // 2] + ordered[(len(ordered) - 1) // 2]) / 2
        return self.tokens / middle


def time_in_turns(
    model: str,
    contenders: Sequence[Contender],
    tokens: np.ndarray,
    threads: int,
    repeats: int,
) -> list[Timing]:
    """Run every contender once per round on tokens [sequences, t]; the first labels are float's."""
    labels = [c.label(tokens) for c in contenders]
    seconds: list[list[float]] = [[] for _ in contenders]
    before = os.getloadavg()[0]
    for _ in range(repeats):
        for contender, took in zip(contenders, seconds, strict=True):
            started = time.perf_counter()
            contender.label(tokens)
            took.append(time.perf_counter() - started)
    load = (before, os.getloadavg()[0])
    rows, steps = tokens.shape
    return [
        Timing(
            model, (rows, steps), threads, c.name, c.is_ours, tuple(took),
            float((own == labels[0]).mean()), load,
        )
        for c, took, own in zip(contenders, seconds, labels, strict=True)
    ]  # fmt: skip


def fastest_yardstick(of: Timing, timings: Sequence[Timing]) -> Timing:
    """Return the fastest contender on the same model and shape that is not ours."""
    others = [t for t in timings if not t.is_ours and (t.model, t.shape) == (of.model, of.shape)]
    return min(others, key=lambda t: t.seconds and min(t.seconds))


def table(timings: Sequence[Timing]) -> Table:
    """Print a row per contender; ratios are to the fastest yardstick, best to best."""
    from reports.table import Column, Table

    rows = []
    for t in timings:
        yard = fastest_yardstick(t, timings)
        rows.append(
            (
                t.model,
                f"{t.shape[0]} x {t.shape[1]}",
                t.threads,
                t.contender,
                len(t.seconds),
                t.best,
                t.median,
                t.best / yard.best,
                t.median / yard.median,
                t.agrees,
                *t.load,
            )
        )
    columns = (
        Column("model", "model"),
        Column("shape", "tokens"),
        Column("threads", "threads", "given"),
        Column("contender", "contender"),
        Column("rounds", "rounds", "given"),
        Column("best_tokens_per_s", "best, tokens/s", "measured"),
        Column("median_tokens_per_s", "median", "measured"),
        Column("best_ratio", "best/yardstick", "measured", ".2f"),
        Column("median_ratio", "median/its", "measured", ".2f"),
        Column("agreement", "labels agree", "measured", ".4f"),
        Column("load_before", "load before", "measured", ".2f"),
        Column("load_after", "after", "measured", ".2f"),
    )
    return Table("executor_speed", "Fast executor against float", columns, tuple(rows))


def our_contenders(bench: object, recipes: Sequence[str]) -> list[Contender]:
    """Quantise what is not there, and return the fast executor on each graph."""
    from cosim.flow.bench import Bench
    from cosim.flow.steps import quantise_step
    from cosim.torch_exec import TorchExecutor
    from tests.benchmarks.yardsticks import Contender

    assert isinstance(bench, Bench)

    def contender(recipe: str) -> Contender:
        quantise_step(bench, recipe)
        executor = TorchExecutor(bench.graph(recipe))

        def label(tokens: np.ndarray) -> np.ndarray:
            run = executor.run({"token": tokens}, count=False)
            return run.outputs["logits"].argmax(-1)

        return Contender(f"cosim, integers, {recipe}", label, is_ours=True)

    return [contender(recipe) for recipe in recipes]


def measure(args: argparse.Namespace) -> list[Timing]:
    """Time all shapes of one or both models."""
    import torch

    from cosim.flow.bench import Bench
    from cosim.flow.folder import RunFolder
    from cosim.flow.request import Request
    from tests.benchmarks.yardsticks import transformers_contenders, typeseg_contenders

    torch.set_num_threads(args.threads)
    timings: list[Timing] = []
    for name in args.model or (MAMBA2, TYPESEG):
        request = Request(name, tuple(args.recipe or RECIPES), machine=None)
        bench = Bench(request, RunFolder(args.work / Path(name).name))
        theirs = (
            typeseg_contenders()
            if name == TYPESEG
            else transformers_contenders(Path(bench.source.where))
        )
        contenders = [*theirs, *our_contenders(bench, request.recipes)]
        text = bench.split.scored
        if name == TYPESEG:  # one byte per character, so that the public call sees the same
            text = text.copy()
            text[text == PLACEHOLDER] = QUESTION_MARK
        for rows, steps in args.shape or SHAPES:
            tokens = text[: rows * steps].reshape(rows, steps)
            timings += time_in_turns(name, contenders, tokens, args.threads, args.repeats)
            print(f"{name}: {rows} x {steps} done", file=sys.stderr, flush=True)
    return timings


def _shape(text: str) -> tuple[int, int]:
    rows, steps = map(int, text.split("x"))
    return rows, steps


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; 1 where an integer graph is slower than the fastest float."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", maxsplit=1)[0])
    parser.add_argument("--model", action="append", help="default: mamba2-py-1m and typeseg")
    parser.add_argument("--recipe", action="append", help="default: w8a8 and w4a4")
    parser.add_argument("--shape", action="append", type=_shape, help="default: 1x4096 and 8x512")
    parser.add_argument("--threads", type=int, default=1, help="for all alike; default: 1")
    parser.add_argument("--repeats", type=int, default=7, help="counted rounds; default: 7")
    parser.add_argument("--work", type=Path, default=Path("cosim-benchmark"), help="run folders")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    args = parser.parse_args(argv)
    # Before numpy and torch load: their libraries read these once.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(args.threads)
    timings = measure(args)
    found = table(timings)
    print(json.dumps({"executor_speed": found.records()}) if args.json else found.text())
    slower = [t for t in timings if t.is_ours and t.best < fastest_yardstick(t, timings).best]
    for t in slower:
        print(f"slower than float: {t.model}, {t.shape}, {t.contender}", file=sys.stderr)
    return 1 if slower else 0


if __name__ == "__main__":
    sys.exit(main())

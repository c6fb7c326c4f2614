"""Measure how many points a second a sweep keeps, with one worker process and with two.

Run with `python -m tests.benchmarks.sweep_points` on a quiet machine. Times are wall-clock times
after the workers have started and compiled, from the first point asked to the last one kept in
the store, over random widths that fit a U280; the load before each run is printed beside.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cosim.machine import load_machine
from cosim.sweep.evaluate import Bench, Result, Task
from cosim.sweep.executor import Workers
from cosim.sweep.processes import Processes
from cosim.sweep.store import Store
from tests.benchmarks.design_points import models, widths

WARM = 64


@dataclass(frozen=True)
class Run:
    """Hold points a second, and the CPU milliseconds a point of the workers and of their owner."""

    rate: float
    worker_ms: float
    owner_ms: float


def main() -> None:
    """Print a row per number of workers, three times in turn, and the best of each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=2000)
    points = parser.parse_args().points
    bench = Bench((models()[0],), (load_machine("u280"),))
    tasks = [
        Task(0, 0, (("rows", w.rows), ("columns", w.columns), ("state_lanes", w.state),
                    ("chain_lanes", w.chain), ("prefetch_beats", w.prefetch)))
        for w in widths(64, 2048, points + WARM)
    ]  # fmt: skip
    print(f"{points:,} points of {bench.models[0].name}")
    best: dict[int, float] = {}
    # Folders go at the end: ext4 makes files slowly for seconds after others were removed.
    with tempfile.TemporaryDirectory() as folder:
        for number, size in enumerate((1, 2) * 3):
            load = os.getloadavg()[0]
            run = measure(bench, tasks, size, Path(folder) / str(number))
            best[size] = max(best.get(size, 0.0), run.rate)
            cores = 1e3 / (run.worker_ms + run.owner_ms)
            print(
                f"{size} workers: {run.rate:6.0f} points/s; CPU ms a point: {run.worker_ms:.2f} of "
                f"workers, {run.owner_ms:.2f} of their owner: {cores:.0f} a second and core; "
                f"load {load:.2f} before"
            )
    print(f"best of three: {best[1]:.0f} and {best[2]:.0f}, ratio {best[2] / best[1]:.2f}")


def measure(bench: Bench, tasks: list[Task], size: int, folder: Path) -> Run:
    """Time one run."""
    crew: Processes[Task, Result] = Processes(bench, size)
    with (
        Store(folder) as store,
        Workers(crew) as pool,
    ):
        list(pool.submit(tasks[:WARM]))
        timed = tasks[WARM:]
        pids = [process.pid for process, _ in crew.running.values()]
        began, owner, workers = time.perf_counter(), time.process_time(), cpu_seconds(pids)
        for place, answer in pool.submit(timed):
            assert isinstance(answer, Result)
            assert not answer.reason
            inputs: dict[str, object] = {"place": place, "knobs": dict(timed[place].knobs)}
            key = store.key(inputs)
            assert store.get(key) is None
            store.put(key, inputs, answer)
        count = len(timed)
        return Run(
            count / (time.perf_counter() - began),
            1e3 * (cpu_seconds(pids) - workers) / count,
            1e3 * (time.process_time() - owner) / count,
        )


def cpu_seconds(pids: Iterable[int | None]) -> float:
    """Return the CPU time of processes, in user and system mode: fields 14 and 15, man 5 proc."""
    ticks = 0
    for pid in pids:
        after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(after_name[11]) + int(after_name[12])
    return ticks / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()

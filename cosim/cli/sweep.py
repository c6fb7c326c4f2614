"""Do what `cosim sweep` says."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from cosim.cli.printing import print_tables

if TYPE_CHECKING:
    from collections.abc import Callable

    from cosim.sweep.evaluate import Bench, Result, Task
    from cosim.sweep.executor import Executor

EXECUTORS = ("pool", "serial", "ray")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Describe the options."""
    parser.add_argument("study", type=Path, help="a study in YAML; see docs/examples/study.yaml")
    parser.add_argument(
        "-o", "--out", type=Path, required=True, help="folder of the sweep; what is there goes on"
    )
    parser.add_argument(
        "--workers", type=int, help="processes, or Ray's actors (default: one per core)"
    )
    parser.add_argument(
        "--executor", choices=EXECUTORS, default="pool", help="who works (default: %(default)s)"
    )
    parser.add_argument(
        "--ray", metavar="ADDRESS", default="local",
        help="of a running Ray cluster, such as auto (default: start one here)",
    )  # fmt: skip


def sweep(args: argparse.Namespace) -> int:
    """Try the points of a study and write what came of them."""
    from cosim.cli.progress import make_progress
    from cosim.sweep.inputs import find_inputs
    from cosim.sweep.outputs import design_space, write_outputs
    from cosim.sweep.run import run_study
    from cosim.sweep.store import Store
    from cosim.sweep.study import load_study
    from reports.pareto import counts_table, front_table

    study = load_study(args.study)
    inputs = find_inputs(study, args.study.parent)
    with make_progress(args.quiet) as progress, Store(args.out) as store:
        found = run_study(study, inputs, store, executor_of(args, progress.note), progress)
        space = design_space(found)
        with progress.task("write tables, figures and report"):
            left_out = write_outputs(space, args.study, args.out)
    for sentence in left_out:
        progress.note(sentence)
    tables = (counts_table(space), front_table(space))
    return print_tables(args, tables, {"report": str(args.out / "report.html")})


def executor_of(
    args: argparse.Namespace, say: Callable[[str], None]
) -> Callable[[Bench], Executor[Task, Result]]:
    """Return what makes the executor that is asked for."""
    from cosim.ir.errors import UserError
    from cosim.sweep.executor import Serial, Workers

    workers = len(os.sched_getaffinity(0)) if args.workers is None else args.workers
    if workers < 1:
        raise UserError(f"--workers {workers} must be at least 1")

    def make(bench: Bench) -> Executor[Task, Result]:
        if args.executor == "serial":
            return Serial(bench)
        if args.executor == "ray":
            from cosim.sweep.ray_workers import RayWorkers

            return Workers(RayWorkers(bench, workers, args.ray), say)
        from cosim.sweep.processes import Processes

        return Workers(Processes(bench, workers), say)

    return make

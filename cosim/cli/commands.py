"""Do what the commands that fill a run folder say: demo, walk, quantize, report."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cosim.cli.printing import print_json, print_tables

if TYPE_CHECKING:
    from cosim.flow.request import Request


def demo(args: argparse.Namespace) -> int:
    """Take the shipped model all the way."""
    from cosim.flow.demo import demo_request

    return _walk(args, demo_request(), args.out)


def walk(args: argparse.Namespace) -> int:
    """Answer all questions on one model."""
    return _walk(args, request_of(args), args.out)


def request_of(args: argparse.Namespace) -> Request:
    """Turn the options of `cosim walk` into a request."""
    from cosim.flow.request import Request

    given = {
        "recipes": tuple(args.recipe) if args.recipe else None,
        "score_tokens": args.score_tokens,
        "verify_tokens": args.verify_tokens,
        "verify_threads": args.threads,
        "prompt": args.prompt,
        "write_tokens": args.tokens,
    }
    return Request(
        model=args.model,
        machine=None if args.machine == "none" else args.machine,
        device=args.device,
        sweep=_absolute(args.sweep),
        validation=args.validation,
        **_text_options(args),
        **{key: value for key, value in given.items() if value is not None},
    )


def report(args: argparse.Namespace) -> int:
    """Write the report of a run folder again, doing only what is missing."""
    from cosim.flow.request import load_request

    request = load_request(args.run)
    asked = replace(
        request,
        sweep=_absolute(args.sweep) or request.sweep,
        validation=args.validation or request.validation,
    )
    return _walk(args, asked, args.run)


def _walk(args: argparse.Namespace, request: Request, out: Path) -> int:
    from cosim.cli.progress import make_progress
    from cosim.flow.folder import RunFolder
    from cosim.flow.walk import walk as do_walk
    from reports.lints import lints_table

    space = None
    if request.sweep:
        from cosim.sweep.stored import stored_space

        space = stored_space(Path(request.sweep))
    with make_progress(args.quiet) as progress:
        run = do_walk(request, RunFolder(out, progress), space)
    if args.json:
        print_json({**run.to_json(), "folder": str(out)})
    else:
        names = {"coverage", "accuracy", "exactness", "wires", "wire_units", "resources", "speed"}
        shown = [t for t in run.tables() if t.name in names]
        shown.append(lints_table(run.lints, all_of_them=False))
        print("\n".join(t.text() for t in shown))
        for sample in run.samples:
            print(f"{sample.recipe} writes:\n{sample.prompt}{sample.text}\n")
        print(f"report: {out / 'report.html'}")
    for sentence in run.mismatches:
        print(f"cosim: {sentence}", file=sys.stderr)
    return 1 if run.mismatches else 0


def quantize(args: argparse.Namespace) -> int:
    """Write the integer graph of one recipe into a run folder."""
    from cosim.cli.progress import make_progress
    from cosim.flow.bench import Bench
    from cosim.flow.folder import RunFolder
    from cosim.flow.request import REQUEST_FILE, Request
    from cosim.flow.steps import quantise_step
    from reports.lints import heads_records, lints_table, steps_table

    request = Request(args.model, (args.recipe,), machine=None, **_text_options(args))
    with make_progress(args.quiet) as progress:
        bench = Bench(request, RunFolder(args.out, progress))
        done = quantise_step(bench, args.recipe)
        if not (args.out / REQUEST_FILE).exists():
            request.save(args.out)  # so that `cosim verify` finds the text
    facts: dict[str, object] = {"graph": str(bench.graph_path(args.recipe)), "hash": done.hash}
    if args.json:
        facts["lint_heads"] = heads_records(done.lints)
    return print_tables(args, (steps_table(done.steps), lints_table(done.lints)), facts)


def _text_options(args: argparse.Namespace) -> dict[str, Any]:
    given = {
        "text": _absolute(args.text),
        "calibration": _absolute(args.calibration),
        "window": args.window,
        "calibration_windows": args.calibration_windows,
    }
    return {key: value for key, value in given.items() if value is not None}


def _absolute(path: Path | None) -> str | None:
    return None if path is None else str(path.resolve())

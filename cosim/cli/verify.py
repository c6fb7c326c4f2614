"""Do what `cosim verify` says: compare the executors on one graph, or on all of a run folder."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from cosim.cli import wires
from cosim.cli.graphs import graphs_of, refuse_label
from cosim.cli.printing import print_tables
from cosim.ir.errors import UserError

if TYPE_CHECKING:
    import numpy as np

    from cosim.ir.model import Model


TOKENS = 512


def verify(args: argparse.Namespace) -> int:
    """Compare the executors node by node, or the wires with the reference; 1 if a bit differs."""
    from cosim.cli.progress import make_progress
    from cosim.flow.bench import check_device
    from cosim.flow.generate import vocabulary
    from cosim.flow.verify import THREADS
    from cosim.flow.verify import verify as compare
    from cosim.ir.file import load_model
    from cosim.ops import OPS
    from reports.exactness import Exactness, table

    if args.level:
        return wires.verify(args, _labelled(args))
    check_device(args.device)
    found: list[Exactness] = []
    with make_progress(args.quiet) as progress:
        for recipe, folder in _graph_folders(args):
            model = load_model(folder, OPS)
            tokens = _tokens(args, vocabulary(model))
            label = recipe or model.name
            with progress.task(f"verify {label}"):
                found += compare(
                    label, model, tokens, args.device, progress, args.threads or THREADS
                )
    print_tables(args, (table(found),))
    wrong = [check for check in found if not check.is_exact]
    for check in wrong:
        print(f"cosim: {check.sentence}", file=sys.stderr)
    return 1 if wrong else 0


def _graph_folders(args: argparse.Namespace) -> list[tuple[str | None, Path]]:
    """Return the graphs asked for with their recipes; a graph folder's own name is its model's."""
    folder: Path = args.graph
    asked: list[str] = args.recipe or []
    there = graphs_of(folder)
    if there is None:
        for name in asked:
            refuse_label(folder, name)
        return [(asked[0] if asked else None, folder)]
    strange = [name for name in asked if name not in there]
    if strange or not there:
        raise UserError(
            f"{folder} is a run folder with the graphs {', '.join(there) or 'none'}; "
            + (f"{strange[0]!r} is not among them" if strange else "make one with `cosim quantize`")
        )
    return [(name, folder / "graph" / name) for name in asked or there]


def _labelled(args: argparse.Namespace) -> list[tuple[str, Model]]:
    """Load the graphs, each under its recipe's name, or its own where it is in no run folder."""
    from cosim.flow.progress import Progress
    from cosim.flow.records import run_folder_of
    from cosim.ir.file import load_model
    from cosim.ops import OPS

    kept = run_folder_of(args.graph, Progress())
    found = []
    for recipe, folder in _graph_folders(args):
        model = load_model(folder, OPS)
        found.append((recipe or (folder.resolve().name if kept else model.name), model))
    return found


def _tokens(args: argparse.Namespace, size: int) -> np.ndarray:
    """Return the first tokens of the text asked for, or of that which the run folder scores."""
    from cosim.flow.request import load_request
    from cosim.flow.sources import TYPESEG, find_source
    from cosim.flow.tokens import read_tokens
    from quant.pinned_text import pinned_windows

    text = args.text
    if not text:
        try:
            request = load_request(args.graph)
        except UserError:
            raise UserError(f"{args.graph} names no text; give one with --text FILE") from None
        source = find_source(request.model)
        if source.where == TYPESEG and not request.text:
            return pinned_windows("evaluate").numpy().reshape(-1)[: args.tokens or TOKENS]
        text = request.text or source.text
    if text is None:
        raise UserError(f"{args.graph} names no text; give one with --text FILE")
    return read_tokens(Path(text), size, 1, args.tokens or TOKENS)

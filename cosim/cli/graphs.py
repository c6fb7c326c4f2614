"""Do what the commands on one integer graph say: run, verify, simulate."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from cosim.cli.printing import print_tables
from cosim.ir.errors import UserError

if TYPE_CHECKING:
    from cosim.ir.model import Model


def run(args: argparse.Namespace) -> int:
    """Stream the text that a graph writes."""
    from cosim.flow.bench import check_device
    from cosim.flow.generate import as_text, generate, prompt_tokens, vocabulary

    check_device(args.device)
    model = _load_graph(args)
    size = vocabulary(model)
    tokens = generate(model, prompt_tokens(model.name, size, args.prompt), args.tokens, args.device)
    if args.json:
        ids = list(tokens)
        print(
            json.dumps({"prompt": args.prompt, "text": "".join(as_text(ids, size)), "tokens": ids})
        )
        return 0
    sys.stdout.write(args.prompt)
    for piece in as_text(tokens, size):
        sys.stdout.write(piece)
        sys.stdout.flush()
    sys.stdout.write("\n")
    return 0


def verify(args: argparse.Namespace) -> int:
    """Compare the executors node by node; 1 if a bit differs."""
    from cosim.cli.progress import make_progress
    from cosim.flow.bench import check_device
    from cosim.flow.generate import vocabulary
    from cosim.flow.tokens import read_tokens
    from cosim.flow.verify import verify as compare
    from reports.exactness import table

    check_device(args.device)
    _use_threads(args.threads)
    model = _load_graph(args)
    tokens = read_tokens(_text_of(args), vocabulary(model), 1, args.tokens)
    with make_progress(args.quiet) as progress, progress.task(f"verify {model.name}"):
        found = compare(args.recipe or model.name, model, tokens, args.device, progress)
    print_tables(args, (table((found,)),))
    if found.first is not None:
        print(f"cosim: {found.first}", file=sys.stderr)
    return 0 if found.is_exact else 1


def _use_threads(count: int | None) -> None:
    if count is None:
        return
    import numba
    import torch

    torch.set_num_threads(count)
    most: int = numba.config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]
    numba.set_num_threads(min(count, most))


def simulate(args: argparse.Namespace) -> int:
    """Model cycles and energy of one token."""
    from cosim.flow.simulate import simulate_graph
    from cosim.ir.write import write_file
    from cosim.machine import load_machine

    machine = load_machine(args.machine)
    model = _published(args) or _load_graph(args)
    found, trace = simulate_graph(args.recipe or model.name, model, machine)
    if args.trace:
        from cosim.flow.outputs import trace_document

        write_file(args.trace, json.dumps(trace_document({found.speed.recipe: trace})) + "\n")
    return print_tables(args, found.tables(), {"design": found.costs.design})


def _published(args: argparse.Namespace) -> Model | None:
    """Lower a published size without its weights, or return None where a folder is meant."""
    from quant.configs import CONFIGS
    from quant.from_config import lower_config
    from quant.recipes import find_recipe

    name = str(args.graph)
    if name not in CONFIGS or args.graph.exists():
        return None
    args.recipe = args.recipe or "w4a4"
    return lower_config(name, CONFIGS[name], find_recipe(args.recipe))


def _load_graph(args: argparse.Namespace) -> Model:
    from cosim.ir.file import GRAPH_FILE, load_model
    from cosim.ops import OPS

    folder: Path = args.graph
    if not (folder / GRAPH_FILE).is_file() and (folder / "graph").is_dir():
        there = sorted(p.name for p in (folder / "graph").iterdir() if (p / GRAPH_FILE).is_file())
        recipe = args.recipe or (there[0] if len(there) == 1 else None)
        if recipe not in there:
            raise UserError(
                f"{folder} is a run folder with the graphs {', '.join(there) or 'none'}; choose "
                f"one with --recipe{f', {recipe!r} is not among them' if recipe else ''}"
            )
        args.recipe, folder = recipe, folder / "graph" / recipe
    return load_model(folder, OPS)


def _text_of(args: argparse.Namespace) -> Path:
    """Return the text asked for, or that of the run folder or model which the graph is of."""
    from cosim.flow.request import load_request
    from cosim.flow.sources import find_source

    if args.text:
        return Path(args.text)
    try:
        request = load_request(args.graph)
    except UserError:
        raise UserError(f"{args.graph} names no text; give one with --text FILE") from None
    text = request.text or find_source(request.model).text
    if text is None:
        raise UserError(f"{args.graph} names no text; give one with --text FILE")
    return Path(text)

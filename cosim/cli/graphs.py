"""Do what the commands on one integer graph say: run, simulate."""

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
    model = load_graph(args)
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


def simulate(args: argparse.Namespace) -> int:
    """Model cycles and energy of a token of a workload."""
    from cosim.design import Workload
    from cosim.design.workload import Phase
    from cosim.flow.simulate import simulate_graph
    from cosim.ir.write import write_file
    from cosim.machine import load_machine

    machine = load_machine(args.machine)
    model = _published(args) or load_graph(args)
    phase: Phase = "prefill" if args.prefill else "decode"
    load = Workload(phase, args.prefill or 1, args.batch, args.context)
    name = args.recipe or model.name
    found, trace = simulate_graph(name, model, machine, load, args.slack, args.objective)
    if args.trace:
        from cosim.flow.outputs import trace_document

        write_file(args.trace, json.dumps(trace_document({found.speed.recipe: trace})) + "\n")
    facts = {"design": found.costs.design}
    if found.mapping:
        facts["mapper"] = found.mapping
    facts["published_note"] = found.published_note
    return print_tables(args, found.tables(), facts)


def _published(args: argparse.Namespace) -> Model | None:
    """Lower a published size without its weights, or return None where a folder is meant."""
    from quant.configs import CONFIGS
    from quant.from_config import lower_config
    from quant.recipes import find_recipe

    name = str(args.graph)
    if args.graph.exists():
        return None
    if name not in CONFIGS:
        raise UserError(
            f"there is no graph or run folder {name}, and no published size of that name; give a "
            f"folder that `cosim quantize` wrote, or one of {', '.join(CONFIGS)}"
        )
    args.recipe = args.recipe or "w4a4"
    return lower_config(name, CONFIGS[name], find_recipe(args.recipe))


def graphs_of(folder: Path) -> list[str] | None:
    """List the graphs of a run folder; None for anything else, a graph folder among them."""
    from cosim.ir.file import GRAPH_FILE

    if (folder / GRAPH_FILE).is_file() or not (folder / "graph").is_dir():
        return None
    return sorted(p.name for p in (folder / "graph").iterdir() if (p / GRAPH_FILE).is_file())


def load_graph(args: argparse.Namespace) -> Model:
    """Load the graph that is asked for, of a run folder or alone."""
    from cosim.ir.file import load_model
    from cosim.ops import OPS

    folder: Path = args.graph
    there = graphs_of(folder)
    if there is not None:
        recipe = args.recipe or (there[0] if len(there) == 1 else None)
        if recipe not in there:
            raise UserError(
                f"{folder} is a run folder with the graphs {', '.join(there) or 'none'}; choose "
                f"one with --recipe{f', {recipe!r} is not among them' if recipe else ''}"
            )
        args.recipe, folder = recipe, folder / "graph" / recipe
    else:
        refuse_label(folder, args.recipe)
    return load_model(folder, OPS)


def refuse_label(folder: Path, recipe: str | None) -> None:
    """Raise UserError where a recipe is named beside one graph that is not in its folder."""
    if recipe is not None and recipe != folder.resolve().name:
        raise UserError(
            f"{folder} is no run folder, so that --recipe {recipe} has nothing to choose from; "
            "leave it out"
        )

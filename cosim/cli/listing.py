"""List what there is: models, recipes, machines, the version."""

from __future__ import annotations

import argparse
import json
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from cosim.cli.printing import print_json, print_tables

if TYPE_CHECKING:
    from cosim.machine import Machine


def version_text() -> str:
    """Return what `cosim --version` prints."""
    try:
        return f"cosim {version('cosim-toolkit')}"
    except PackageNotFoundError:
        return "cosim (not installed: run from its folder)"


def models(args: argparse.Namespace) -> int:
    """List the models that have a name, and the recipes."""
    from cosim.flow.sources import list_sources
    from quant.configs import CONFIGS
    from quant.options import OPTIONS
    from quant.recipes import RECIPES
    from reports.table import Column, Table

    found = Table(
        "models",
        "Models (a Hugging Face folder of Mamba, Mamba-2, Llama, Mistral or RWKV will do as well)",
        (Column("name", "name"), Column("about", "about"), Column("where", "where")),
        tuple((s.name, s.about, s.where) for s in list_sources()),
    )
    recipes = Table(
        "recipes",
        "Recipes",
        (Column("name", "name"), Column("about", "about")),
        tuple((r.name, r.about) for r in RECIPES.values()),
    )
    options = Table(
        "options",
        "Options behind a recipe's name, such as w4a4+rotate-bc+qronos",
        (Column("name", "name"), Column("about", "about"), Column("chooses", "chooses")),
        tuple((n, about, what) for n, (about, _, what) in OPTIONS.items()),
    )
    sizes = Table(
        "sizes",
        "Published sizes, for `cosim simulate` without their weights",
        (
            Column("name", "name"),
            Column("hidden", "width", "given"),
            Column("layers", "layers", "given"),
        ),
        tuple((n, c.hidden_size, c.num_hidden_layers) for n, c in CONFIGS.items()),
    )
    return print_tables(args, (found, recipes, options, sizes))


def machine_options(parser: argparse.ArgumentParser) -> None:
    """Add what `cosim machines` takes."""
    which = parser.add_mutually_exclusive_group()
    which.add_argument("machine", nargs="?", help="show this one in full: a name or a YAML file")
    which.add_argument("--check", metavar="FILE", type=Path, help="say whether a YAML file is one")
    which.add_argument("--schema", action="store_true", help="print the JSON Schema of such files")


def machines(args: argparse.Namespace) -> int:
    """List the machine presets with what decides their speed, or look at one."""
    from cosim.machine import list_machines, load_machine

    if args.schema:
        from cosim.machine.schema import machine_schema

        print(json.dumps(machine_schema(), indent=1))
        return 0
    if args.check is not None:
        return _check(args)
    if args.machine is not None:
        return _show(args, load_machine(args.machine))
    rows = []
    for name in list_machines():
        m = load_machine(name)
        memory = m.fastest_memory
        rows.append(
            (name, m.title, m.clock.frequency_mhz, m.logic.luts, m.logic.dsps, m.logic.brams,
             m.logic.urams, memory.name, memory.effective_gb_s)
        )  # fmt: skip
    from reports.table import Column, Table

    columns = (
        Column("name", "name"),
        Column("title", "board"),
        Column("clock_mhz", "clock, MHz", "given"),
        Column("luts", "LUTs", "given"),
        Column("dsps", "DSPs", "given"),
        Column("brams", "BRAM36", "given"),
        Column("urams", "URAM", "given"),
        Column("memory", "memory"),
        Column("bandwidth_gb_s", "effective GB/s", "derived"),
    )
    return print_tables(args, (Table("machines", "Machines", columns, tuple(rows)),))


def _check(args: argparse.Namespace) -> int:
    """Read a file as a machine; a fault in it is raised as a sentence."""
    from cosim.machine import load_machine

    found = load_machine(args.check)
    numbers = len(found.sources)
    if args.json:
        print_json({"machine": found.name, "file": str(args.check), "numbers": numbers})
    else:
        print(f"{args.check}: machine {found.name}, {numbers} numbers, each with its source")
    return 0


def _show(args: argparse.Namespace, machine: Machine) -> int:
    """Print one machine with the source of each number."""
    if not args.json:
        print(machine.text(with_sources=True), end="")
        return 0
    shown: dict[str, object] = {
        "name": machine.name, "title": machine.title, "boundary": machine.power.boundary,
        "usable": machine.usable(),
    }  # fmt: skip
    for group, part in machine.parts():
        for key, value in vars(part).items():
            path = f"{group}.{key}"
            if isinstance(value, str):
                shown[path] = value
            else:
                source = machine.source(path)
                shown[path] = {"value": value, "kind": source.kind, "source": source.text}
    print_json(shown)
    return 0

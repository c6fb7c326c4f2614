"""List what there is: models, recipes, machines, the version."""

from __future__ import annotations

import argparse
from importlib.metadata import PackageNotFoundError, version

from cosim.cli.printing import print_tables


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
    from quant.recipes import RECIPES
    from reports.table import Column, Table

    found = Table(
        "models",
        "Models (a Hugging Face folder of Mamba or Mamba-2 will do as well)",
        (Column("name", "name"), Column("about", "about"), Column("where", "where")),
        tuple((s.name, s.about, s.where) for s in list_sources()),
    )
    recipes = Table(
        "recipes",
        "Recipes",
        (Column("name", "name"), Column("about", "about")),
        tuple((r.name, r.about) for r in RECIPES.values()),
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
    return print_tables(args, (found, recipes, sizes))


def machines(args: argparse.Namespace) -> int:
    """List the machine presets with what decides their speed."""
    from cosim.machine import list_machines, load_machine
    from reports.table import Column, Table

    rows = []
    for name in list_machines():
        m = load_machine(name)
        memory = m.fastest_memory
        rows.append(
            (name, m.title, m.clock.frequency_mhz, m.logic.luts, m.logic.dsps, memory.name,
             memory.effective_gb_s)
        )  # fmt: skip
    columns = (
        Column("name", "name"),
        Column("title", "board"),
        Column("clock_mhz", "clock, MHz", "given"),
        Column("luts", "LUTs", "given"),
        Column("dsps", "DSPs", "given"),
        Column("memory", "memory"),
        Column("bandwidth_gb_s", "effective GB/s", "derived"),
    )
    return print_tables(args, (Table("machines", "Machines", columns, tuple(rows)),))

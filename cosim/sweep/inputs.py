"""Find the models and machines that a study names, before anything is tried."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cosim.flow.folder import digest
from cosim.flow.sources import find_source
from cosim.ir.errors import UserError
from cosim.ir.file import GRAPH_FILE, content_hash
from cosim.ir.file import load_model as load_graph
from cosim.ir.model import Model
from cosim.machine import Machine, load_machine
from cosim.ops import OPS
from cosim.sweep.evaluate import Bench, Task
from cosim.sweep.space import Point
from cosim.sweep.study import Study
from quant.configs import CONFIGS
from quant.from_config import lower_config
from quant.recipes import find_recipe


@dataclass(frozen=True)
class Inputs:
    """Hold what a study names: graphs by (model, recipe), machines by name, each with its hash."""

    graphs: dict[tuple[str, str], Model]
    machines: dict[str, Machine]
    graph_hashes: dict[tuple[str, str], str]
    machine_hashes: dict[str, str]

    def bench(self, study: Study) -> Bench:
        """Return what works points out."""
        load = study.workload.of_design()
        return Bench(tuple(self.graphs.values()), tuple(self.machines.values()), load)

    def task(self, point: Point) -> Task:
        """Return what the bench is asked for a point."""
        return Task(
            list(self.graphs).index((point.model, point.recipe)),
            list(self.machines).index(point.machine),
            tuple(sorted(point.knobs)),
        )

    def of(self, point: Point, study: Study) -> dict[str, object]:
        """Return all that the figures of a point depend on, apart from the code."""
        return {
            "graph": self.graph_hashes[point.model, point.recipe],
            "machine": self.machine_hashes[point.machine],
            "knobs": dict(sorted(point.knobs)),
            "workload": study.workload.model_dump(),
        }


def find_inputs(study: Study, folder: Path) -> Inputs:
    """Load all graphs and machines; paths in a study start at its own folder.

    Raise UserError for a name that nothing has.
    """
    machines = {name: _machine(name, folder) for name in study.machines}
    graphs = {
        (model, recipe): _graph(model, recipe, folder).without_weights()
        for model in study.models
        for recipe in study.recipes
    }
    return Inputs(
        graphs,
        machines,
        {name: content_hash(graph) for name, graph in graphs.items()},
        # Where a number comes from changes nothing: sources are not part of the text.
        {name: digest(repr(machine)) for name, machine in machines.items()},
    )


def _machine(name: str, folder: Path) -> Machine:
    is_file = "/" in name or name.endswith((".yaml", ".yml"))
    return load_machine(folder / name if is_file else name)


def _graph(name: str, recipe: str, folder: Path) -> Model:
    if name in CONFIGS:
        return lower_config(name, CONFIGS[name], find_recipe(recipe))
    path = folder / name
    if (path / "graph").is_dir():
        there = sorted(p.parent.name for p in path.glob(f"graph/*/{GRAPH_FILE}"))
        if recipe not in there:
            raise UserError(
                f"run folder {path} has no graph of recipe {recipe!r}; it has "
                f"{', '.join(there) or 'none'}"
            )
        return load_graph(path / "graph" / recipe, OPS)
    found = find_recipe(recipe)
    try:
        source = find_source(str(path) if path.is_dir() else name)
    except UserError as error:
        raise UserError(f"{error}; or one of the sizes {', '.join(CONFIGS)}") from None
    from quant.models import load_model  # loads torch, which published sizes do without

    # Its weights are not looked at: widths and bounds are those of the config.
    return lower_config(source.name, load_model(source.where).config, found)

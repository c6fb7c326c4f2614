"""Do all steps of a run in order, and write its files."""

from __future__ import annotations

from cosim.flow.bench import Bench
from cosim.flow.folder import RunFolder
from cosim.flow.generate import prompt_tokens
from cosim.flow.lengths import lengths_step
from cosim.flow.outputs import write_outputs
from cosim.flow.records import found_in
from cosim.flow.request import Request
from cosim.flow.simulate import Simulated, read_trace, simulate_step
from cosim.flow.steps import (
    QuantisedGraph,
    quantise_step,
    score_float_step,
    score_step,
    verify_step,
    write_step,
)
from cosim.flow.validate import validate_step
from cosim.flow.version import version_text
from cosim.machine import load_machine
from quant.recipes import find_recipe
from reports.accuracy import Accuracy
from reports.exactness import Exactness
from reports.lengths import LengthRow
from reports.pareto import DesignSpace
from reports.summary import Sample, Summary


def walk(request: Request, folder: RunFolder, space: DesignSpace | None = None) -> Summary:
    """Answer a request from the run folder, doing what is not done; write the files and return all.

    `space` is a sweep for the page to show beside.
    Bits that differ are in the summary, not raised. Raise UserError for bad input, before any work
    where it can be seen then.
    """
    recipes = [find_recipe(recipe) for recipe in request.recipes]
    machine = load_machine(request.machine) if request.machine else None
    bench = Bench(request, folder)
    bench.split  # noqa: B018 - a text that will not do is said before minutes of work
    if request.prompt:
        prompt_tokens(bench.source.name, bench.vocabulary, request.prompt)  # and the prompt
    for chosen in recipes:
        bench.check_recipe(chosen)
    graphs: dict[str, QuantisedGraph] = {}
    scores: list[Accuracy] = [score_float_step(bench)]
    request.save(folder.path)  # not before a step has found the model to be good
    checks: list[Exactness] = []
    samples: list[Sample] = []
    simulated: dict[str, Simulated] = {}
    lengths: list[LengthRow] = []
    for recipe in request.recipes:
        graphs[recipe] = quantise_step(bench, recipe)
        digest = graphs[recipe].hash
        scores.append(score_step(bench, recipe, digest))
        checks += verify_step(bench, recipe, digest).rows
        if machine is not None:
            simulated[recipe] = simulate_step(bench, recipe, digest, machine)
            lengths += lengths_step(bench, recipe, digest, machine).rows
        if request.prompt:
            samples.append(write_step(bench, recipe, digest))
    first = next(iter(simulated.values()), None)
    hashes = {recipe: g.hash for recipe, g in graphs.items()}
    found = found_in(folder, hashes)
    run = Summary(
        model=bench.source.name,
        machine=machine.name if machine else "",
        command=request.command(folder.path),
        version=version_text(),
        accuracy=tuple(scores),
        exactness=tuple(checks),
        wires=found.whole,
        wire_units=found.units,
        resources=found.resources,
        stale=found.stale,
        coverage=tuple(s.coverage for s in simulated.values()),
        operators=first.operators if first else (),
        speeds=tuple(s.speed for s in simulated.values()),
        units=tuple(u for s in simulated.values() for u in s.units),
        spans=tuple(x for s in simulated.values() for x in s.spans),
        stalls=tuple(x for s in simulated.values() for x in s.stalls),
        storage=tuple(x for s in simulated.values() for x in s.storage),
        budget=tuple(x for s in simulated.values() for x in s.budget),
        gpus=tuple(x for s in simulated.values() for x in s.gpus),
        published=tuple(x for s in simulated.values() for x in s.published),
        costs=tuple(s.costs for s in simulated.values()),
        energy=tuple(e for s in simulated.values() for e in s.energy),
        machine_constants=first.machine_constants if first else (),
        energy_constants=first.energy_constants if first else (),
        energy_rules=first.energy_rules if first else (),
        notes=first.notes if first else (),
        steps=tuple(step for g in graphs.values() for step in g.steps),
        lints=tuple(lint for g in graphs.values() for lint in g.lints),
        lengths=tuple(lengths),
        space=space,
        validation=validate_step(bench) if request.validation else None,
        samples=tuple(samples),
        hashes=tuple(hashes.items()),
    )
    traces = {recipe: read_trace(bench, recipe) for recipe in simulated}
    with folder.progress.task("report"):
        write_outputs(run, traces, folder.path)
    return run

"""The steps of a run, one function each; every one is answered from the run folder if it can be."""

from __future__ import annotations

import json
from dataclasses import dataclass

from cosim.flow.bench import Bench
from cosim.flow.generate import as_text, fitting, generate, prompt_tokens, vocabulary
from cosim.flow.verify import verify
from cosim.ir.file import GRAPH_FILE, save_model
from quant.quantise import quantise
from quant.recipes import find_recipe
from reports.accuracy import FLOAT, Accuracy
from reports.exactness import Exactness
from reports.lints import LintRow, StepRow
from reports.summary import Sample

GRAPH_CODE = ("cosim.ir", "cosim.ops")
RUN_CODE = (*GRAPH_CODE, "cosim.reference", "cosim.torch_exec", "cosim.kernels")


@dataclass(frozen=True)
class QuantisedGraph:
    """Say which graph a recipe gave (its content hash), by which steps, and what the lints say."""

    hash: str
    steps: tuple[StepRow, ...]
    lints: tuple[LintRow, ...]


def quantise_step(bench: Bench, recipe: str) -> QuantisedGraph:
    """Quantise the model and write `graph/<recipe>`."""
    chosen = find_recipe(recipe)
    progress = bench.folder.progress

    def compute() -> QuantisedGraph:
        done = quantise(
            bench.source.name,
            bench.model,
            chosen,
            bench.calibration,
            lambda _, k, total: progress.advance(k, total),
        )
        digest = save_model(done.model, bench.graph_path(recipe))
        return QuantisedGraph(
            digest,
            tuple(
                StepRow(recipe, s.name, s.keeps_function, s.error, s.seconds) for s in done.steps
            ),
            tuple(
                LintRow(recipe, x.kind, x.where, x.value, x.limit, x.warns, x.sentence, x.heads)
                for x in done.lints
            ),
        )

    return bench.folder.step(
        f"quantise {recipe}",
        {
            "model": bench.model_digest,
            "name": bench.source.name,
            "recipe": str(chosen),
            "calibration": bench.split.calibration.tolist(),
        },
        (*RUN_CODE, "quant"),
        QuantisedGraph,
        compute,
        lambda kept: stored_hash(bench, recipe) == kept.hash,
    )


def stored_hash(bench: Bench, recipe: str) -> str | None:
    """Return the hash that a graph folder claims, or None where there is no such folder."""
    try:
        text = (bench.graph_path(recipe) / GRAPH_FILE).read_text(encoding="utf-8")
        return str(json.loads(text)["hash"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def score_float_step(bench: Bench) -> Accuracy:
    """Score the float model."""
    return bench.folder.step(
        f"score {FLOAT}",
        {"model": bench.model_digest, **_scored(bench)},
        ("quant.models", "quant.evaluate", "cosim.flow.score"),
        Accuracy,
        lambda: bench.scorer.score_float(bench.folder.progress),
    )


def score_step(bench: Bench, recipe: str, graph_hash: str) -> Accuracy:
    """Score the graph of a recipe."""
    return bench.folder.step(
        f"score {recipe}",
        {"model": bench.model_digest, "graph": graph_hash, **_scored(bench)},
        (*RUN_CODE, "quant.models", "quant.evaluate", "cosim.flow.score"),
        Accuracy,
        lambda: bench.scorer.score_graph(
            recipe, bench.graph(recipe), bench.request.device, bench.folder.progress
        ),
    )


def _scored(bench: Bench) -> dict[str, object]:
    ask = bench.request
    return {"text": bench.split.digest(), "window": ask.window, "device": ask.device}


@dataclass(frozen=True)
class Checks:
    """Hold the comparisons of one recipe, one per number of threads."""

    rows: tuple[Exactness, ...]


def verify_step(bench: Bench, recipe: str, graph_hash: str) -> Checks:
    """Compare the executors on the graph of a recipe."""
    ask, progress = bench.request, bench.folder.progress
    tokens = bench.split.scored[: ask.verify_tokens]
    return bench.folder.step(
        f"verify {recipe}",
        {
            "graph": graph_hash,
            "tokens": tokens.tolist(),
            "device": ask.device,
            "threads": list(ask.verify_threads),
        },
        (*RUN_CODE, "cosim.compare", "cosim.flow.verify"),
        Checks,
        lambda: Checks(
            verify(recipe, bench.graph(recipe), tokens, ask.device, progress, ask.verify_threads)
        ),
    )


def write_step(bench: Bench, recipe: str, graph_hash: str) -> Sample:
    """Let the graph of a recipe write on from the prompt."""
    ask = bench.request

    def compute() -> Sample:
        model = bench.graph(recipe)
        size = vocabulary(model)
        prompt = prompt_tokens(model.name, size, ask.prompt)
        count = max(fitting(model, prompt, ask.write_tokens), 1)
        tokens = generate(model, prompt, count, ask.device)
        pieces = []
        for k, piece in enumerate(as_text(tokens, size), 1):
            pieces.append(piece)
            bench.folder.progress.advance(min(k, count), count)
        return Sample(recipe, ask.prompt, "".join(pieces))

    return bench.folder.step(
        f"write {recipe}",
        {
            "graph": graph_hash,
            "prompt": ask.prompt,
            "tokens": ask.write_tokens,
            "device": ask.device,
        },
        (*RUN_CODE, "cosim.flow.generate"),
        Sample,
        compute,
    )

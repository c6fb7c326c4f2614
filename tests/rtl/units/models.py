"""Quantise small random Mamba-2 models for the tests of units, odd sizes included."""

from dataclasses import replace
from functools import cache

import numpy as np

from cosim.ir.model import Model
from quant.formats import SsmFormat
from quant.passes.draft import Draft
from quant.passes.lower_graph import LowerGraph
from quant.recipes import find_recipe
from tests.quant.random_models import random_model, random_tokens

# Sizes that lanes of powers of two divide, and sizes that they do not.
SIZES = {
    "even": {
        "hidden_size": 32, "intermediate_size": 64, "state_size": 8, "num_heads": 4, "head_dim": 16,
    },
    "odd": {
        "hidden_size": 20, "intermediate_size": 40, "state_size": 10, "num_heads": 5, "head_dim": 8,
    },
}  # fmt: skip


@cache
def small(
    recipe: str = "w4a4", sizes: str = "even", state: str = "int16", layers: int = 2, seed: int = 0
) -> Model:
    """Return a quantised model with weights: a recipe, sizes, a state format, some layers."""
    model = random_model("mamba2", seed, num_hidden_layers=layers, vocab_size=53, **SIZES[sizes])
    tokens = random_tokens(model, 2, 12, seed)
    draft = Draft(f"{recipe}-{sizes}", model)
    for step in find_recipe(recipe).passes:
        if isinstance(step, LowerGraph):
            step = replace(step, ssm=SsmFormat(state=state))
        draft = step.apply(draft, tokens)
    assert draft.integer is not None
    return draft.integer


def with_initial_states(model: Model, seed: int = 0) -> Model:
    """Let every state start from drawn values instead of zeros."""
    rng = np.random.default_rng(seed)
    (segment,) = model.segments
    graph = segment.graph
    states, types, tensors = dict(graph.states), dict(graph.types), dict(graph.tensors)
    for name, state in graph.states.items():
        first = f"{name}.first"
        states[name] = replace(state, init=first)
        types[first] = state.type
        kind = state.type
        tensors[first] = rng.integers(kind.lo, kind.hi, kind.shape, endpoint=True)
    consts = (*graph.consts, *(f"{n}.first" for n in graph.states))
    changed = replace(graph, states=states, types=types, tensors=tensors, consts=consts)
    return replace(model, segments=(replace(segment, graph=changed),))

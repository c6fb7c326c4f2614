"""The comparison of the executors finds every wrong kernel, and nothing where there is none."""

import threading
from collections import Counter

import numpy as np
import pytest
import torch

from cosim import reference, torch_exec
from cosim.flow import verify as verify_file
from cosim.flow.verify import verify
from cosim.ir.errors import UserError
from cosim.kernels.runner import GraphRunner
from cosim.torch_exec import TorchExecutor
from quant.quantise import quantise
from quant.recipes import RECIPES
from tests.counter import counter_model
from tests.quant.random_models import random_model, random_tokens

FAMILIES = ("mamba", "mamba2", "bimamba")


@pytest.fixture
def short_windows(monkeypatch):
    monkeypatch.setattr(verify_file, "LONGEST_WINDOW", 16)


@pytest.mark.usefixtures("short_windows")
@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_equal_executors_differ_nowhere(direction):
    model, tokens = counter_model(direction=direction), np.arange(50) % 7
    found = verify("w4", model, tokens, threads=(1, 4, 3))
    assert [check.threads for check in found] == [1, 4, 3]
    for check in found:
        assert check.is_exact
        assert (check.nodes, check.tokens) == (5, 50)  # token, seen, row, total, next
        assert check.integers == 50 * (1 + 4 + 4 + 4 + 1)


@pytest.mark.usefixtures("short_windows")
@pytest.mark.parametrize("threads", [(1,), (1, 2), (3, 1)])
def test_verify_carries_states_over_windows(monkeypatch, threads):
    """Without them both executors would agree on the wrong thing, and nothing would show it."""
    ran = []
    original = reference.run
    monkeypatch.setattr(
        verify_file.reference, "run", lambda *a, **k: ran.append(original(*a, **k)) or ran[-1]
    )
    tokens = np.arange(50) % 7
    verify("w4", counter_model(), tokens, threads=threads)
    rows = max(threads)
    length = 50 // rows
    assert len(ran) == -(-length // 16) + (50 % rows > 0)
    whole = ran[-1] if rows == 1 or 50 % rows == 0 else ran[-2]
    for row in range(rows):
        counts = Counter(((tokens[row * length : (row + 1) * length] + 1) % 4).tolist())
        assert whole.states["step/seen"][row].tolist() == [counts[k] for k in range(4)]


@pytest.mark.usefixtures("short_windows")
def test_one_wrong_bit_is_found_and_placed(monkeypatch):
    class Wrong(TorchExecutor):
        windows = 0

        def run(self, *args, **kwargs):
            ran = super().run(*args, **kwargs)
            self.windows += 1
            if self.windows == 2:
                ran.values["step/total"][0, 3, 1] ^= 1
            return ran

    monkeypatch.setattr(verify_file, "TorchExecutor", Wrong)
    [found] = verify("w4", counter_model(), np.arange(50) % 7, threads=(1,))
    assert not found.is_exact
    assert found.differences == 1
    assert "tokens 16..31 of 1 sequences: " in found.first
    assert "step/total[0, 3, 1]" in found.first
    assert found.tokens == 32, "it stops at the window that differs"


@pytest.mark.parametrize("part", ["clipped", "states", "outputs"])
def test_what_leaves_a_window_is_compared_too(monkeypatch, part):
    class Wrong(TorchExecutor):
        def run(self, *args, **kwargs):
            ran = super().run(*args, **kwargs)
            for name in getattr(ran, part):
                getattr(ran, part)[name] = getattr(ran, part)[name] + 1
            return ran

    monkeypatch.setattr(verify_file, "TorchExecutor", Wrong)
    expected = {
        "clipped": "saturation counts differ at step/total",
        "states": "outputs or last states differ at step/seen",
        "outputs": "outputs or last states differ at next",
    }
    [found] = verify("w4", counter_model(), np.arange(9), threads=(1,))
    assert found.first == f"tokens 0..8 of 1 sequences: {expected[part]}"


def test_nothing_to_verify_is_refused():
    with pytest.raises(UserError, match="nothing to verify"):
        verify("w4", counter_model(), np.zeros(0, dtype=np.int64))


def test_the_number_of_threads_is_put_back():
    before = torch.get_num_threads()
    verify("w4", counter_model(), np.arange(9), threads=(3, 2))
    assert torch.get_num_threads() == before


@pytest.fixture(scope="module")
def quantised():
    """Return a function that quantises each random family once per recipe."""
    done = {}

    def get(family, recipe):
        if (family, recipe) not in done:
            model = random_model(family, 6)
            tokens = random_tokens(model, 4, 48)
            done[family, recipe] = quantise(family, model, RECIPES[recipe], tokens).model
        return done[family, recipe]

    return get


def spoil(monkeypatch, operator: str, when=lambda: True) -> list[str]:
    """Make the fast executor add 1 to one element of every node of an operator; list the nodes."""
    spoilt = []

    class Wrong(GraphRunner):
        def evaluate(self, node, values, clipped, count):
            right = super().evaluate(node, values, clipped, count)
            if node.op.name != operator or not when():
                return right
            spoilt.append(node.name)
            wrong = right.clone()
            wrong.view(-1)[-1] += 1
            return wrong

        def _recur(self, step, values, *rest):
            super()._recur(step, values, *rest)
            for node in step.all_nodes:
                if node.op.name == operator and node.name in values and when():
                    spoilt.append(node.name)
                    values[node.name] = values[node.name].clone()
                    values[node.name].view(-1)[-1] += 1

    monkeypatch.setattr(torch_exec, "GraphRunner", Wrong)
    return spoilt


@pytest.mark.parametrize("family", FAMILIES)
def test_a_wrong_kernel_is_caught_whichever_it_is(quantised, monkeypatch, family):
    """One LSB in one element of the last sequence, for each kind of operator in turn."""
    model = quantised(family, "w4a4")
    operators = sorted({n.op.name for s in model.segments for n in s.graph.nodes})
    assert len(operators) > 12
    tokens = np.arange(9) * 5 % 53
    for operator in operators:
        with monkeypatch.context() as patch:
            spoilt = spoil(patch, operator)
            found = verify("w4a4", model, tokens, threads=(1, 2))
        assert spoilt
        for check in found:
            assert not check.is_exact, operator
            assert any(f"/{name}[" in check.first for name in spoilt), check.first
    assert all(check.is_exact for check in verify("w4a4", model, tokens, threads=(1, 2)))


def test_a_kernel_that_is_wrong_in_threads_only_is_caught(quantised, monkeypatch):
    model = quantised("mamba2", "w4a4")
    main = threading.get_ident()
    spoil(monkeypatch, "linear", lambda: threading.get_ident() != main)
    one, two = verify("w4a4", model, np.arange(9), threads=(1, 2))
    assert one.is_exact
    assert not two.is_exact


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_all_recipes_are_exact_in_one_and_in_many_threads(quantised, monkeypatch, family):
    monkeypatch.setattr(verify_file, "LONGEST_WINDOW", 24)
    tokens = random_tokens(random_model(family, 6), 1, 203, 5)[0].numpy()
    # LightMamba's released graph is one of Mamba-2 and refuses the others.
    recipes = [r for r in RECIPES if family == "mamba2" or not r.startswith("lightmamba")]
    for recipe in recipes:
        for check in verify(recipe, quantised(family, recipe), tokens, threads=(1, 2, 3)):
            assert check.is_exact, check.first
            assert check.tokens == 203

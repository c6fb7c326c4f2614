"""Sized FIFOs never deadlock, cost no more time than they may, and are the smallest that do so."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cosim.design import Choices, Lanes, Workload, default_design
from cosim.ir.errors import UserError
from cosim.machine import load_machine
from hw_models.build import build_network
from hw_models.depths import depths_of, smallest_depths, with_depth
from hw_models.evaluate import Evaluator
from hw_models.network import Pattern
from hw_models.pace import pace_of
from quant.configs import find_config
from quant.from_config import lower_config
from quant.recipes import find_recipe
from tests.hw_models import graphs
from tests.hw_models.oracle import play

VCK190, U280 = load_machine("vck190"), load_machine("u280")
OFF_CHIP = (("weights", "memory"), ("states", "memory"), ("embedding", "memory"))


def ends(evaluator, choices):
    """Return when the first and the second token are out; None: never."""
    design = evaluator.design(choices)
    try:
        pace = pace_of(evaluator.model, evaluator.kinds(choices), design, evaluator.machine)
    except UserError:
        return None
    return pace.latency_cycles, pace.latency_cycles + pace.cycles_per_token


@settings(max_examples=8)
@given(
    st.builds(
        Lanes, st.integers(1, 9), st.integers(1, 30), st.integers(1, 40), st.integers(1, 9),
        st.sampled_from([8, 64]),
    ),
    st.sampled_from(["graph", "waited", "heads"]),
    st.sampled_from([0.0, 0.01, 0.2]),
    st.sampled_from([None, OFF_CHIP]),
    st.text("01", min_size=1, max_size=9).filter(lambda t: "1" in t),
)  # fmt: skip
def test_sized_fifos_are_the_smallest_that_keep_the_slack(lanes, order, slack, places, stalls):
    model = graphs.small_mamba2(layers=2)
    evaluator = Evaluator(model, VCK190)
    choices = Choices(lanes, order=order, places=places)
    latency, second = ends(evaluator, choices)
    found = smallest_depths(evaluator, choices, slack)
    limits = latency * (1 + slack), latency + (second - latency) * (1 + slack)
    assert all(a <= b for a, b in zip(ends(evaluator, found.choices), limits, strict=True))
    assert found.cycles_before == second - latency
    assert found.cycles_after <= found.limit_cycles
    design = evaluator.design(found.choices)
    for name, depth in depths_of(evaluator, design).items():
        if depth > 1:
            less = ends(evaluator, with_depth(found.choices, name, depth - 1))
            late = less is None or any(a > b for a, b in zip(less, limits, strict=True))
            assert late, f"{name} could be {depth - 1} deep"
    # No stall of a sink makes it deadlock, says a simulation that was written apart.
    (kind,) = evaluator.kinds(choices)
    patterns = {"sink.logits": Pattern.of(stalls), "source.token": Pattern.of(stalls[::-1])}
    network = build_network(kind.skeleton, design.layouts[0], design, VCK190, 2, patterns=patterns)
    assert play(network, 2, patience=4000) is not None


def held_to_the_beat(model, machine, workload, slack):
    """Size the FIFOs of the rules' design, and take one place from each of them in turn.

    Returns what was said, and which FIFOs could be shallower after all.
    """
    evaluator = Evaluator(model, machine)
    choices = default_design(model, machine, workload=workload).choices
    latency, second = ends(evaluator, choices)
    limits = latency * (1 + slack), latency + (second - latency) * (1 + slack)
    found = smallest_depths(evaluator, choices, slack)
    assert all(a <= b for a, b in zip(ends(evaluator, found.choices), limits, strict=True))
    could = []
    for name, depth in depths_of(evaluator, evaluator.design(found.choices)).items():
        if depth > 1:
            less = ends(evaluator, with_depth(found.choices, name, depth - 1))
            if less is not None and all(a <= b for a, b in zip(less, limits, strict=True)):
                could.append((name, depth))
    return found, could


LOADS = [
    pytest.param(machine, load, id=f"{machine.name} {load.text()}", marks=marks)
    for machine, load, marks in (
        (U280, Workload(), ()),
        (U280, Workload("prefill", 24), ()),
        (U280, Workload(batch=3), pytest.mark.slow),
        (VCK190, Workload(), pytest.mark.slow),
        (VCK190, Workload("prefill", 24), pytest.mark.slow),
        (VCK190, Workload(batch=3), pytest.mark.slow),
    )
]


@pytest.mark.parametrize(("machine", "load"), LOADS)
def test_no_fifo_of_a_real_design_could_be_one_place_shallower(machine, load):
    """Mamba2-130m's widths, four layers of it: every FIFO of the whole design, one by one."""
    config = replace(find_config("mamba2-130m"), num_hidden_layers=4)
    model = lower_config("mamba2-130m", config, find_recipe("w4a4"))
    found, could = held_to_the_beat(model, machine, load, 0.01)
    assert not could
    assert found.fifos > 5
    assert f"any of the {found.fifos} deeper than 1 would be slower" in found.text()


@pytest.mark.slow
@pytest.mark.parametrize("machine", [U280, VCK190], ids=["u280", "vck190"])
@pytest.mark.parametrize("slack", [0.0, 0.01])
def test_no_fifo_of_the_large_model_could_be_one_place_shallower(machine, slack):
    _, could = held_to_the_beat(graphs.mamba2_27b(), machine, Workload(), slack)
    assert not could


def test_the_large_model_keeps_its_cycles_and_saves_blocks():
    """Without slack a token takes the same cycles; with 1 %, the states need far fewer blocks."""
    model = graphs.mamba2_27b()
    evaluator = Evaluator(model, U280)
    choices = default_design(model, U280).choices
    before = evaluator.point(choices)
    found = smallest_depths(evaluator, choices, 0.01)
    after = evaluator.point(found.choices)
    assert after.cycles_per_token <= 1.01 * before.cycles_per_token
    assert after.resources["uram"] < 0.6 * before.resources["uram"]
    assert after.resources["bram"] < 0.8 * before.resources["bram"]


def test_a_design_that_deadlocks_and_a_slack_below_zero_are_refused():
    evaluator = Evaluator(graphs.small_mamba2(), VCK190)
    choices = Choices(Lanes(4, 8, 8, 8, 64))
    (name,) = (
        f.name for f in evaluator.design(choices).layouts[0].fifos
        if f.value == "carry.residual_out" and f.taker.endswith("residual_out")
    )  # fmt: skip
    with pytest.raises(UserError, match="deadlocks as it is; give deeper FIFOs first"):
        smallest_depths(evaluator, replace(choices, depths=((name, 1),)))
    with pytest.raises(UserError, match=r"a slack of -0\.1 asks for a faster design"):
        smallest_depths(evaluator, choices, -0.1)

"""Every preset prices what it can hold, and says in one sentence what it cannot."""

import json
import re
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from cosim.design import Workload, default_design
from cosim.ir.errors import UserError
from cosim.machine import list_machines, load_machine
from hw_models.simulate import simulate
from hw_models.storage import account
from quant.configs import find_config
from quant.from_config import lower_config
from quant.models import mamba2
from quant.recipes import find_recipe

ZOO = Path(__file__).resolve().parents[2] / "quant" / "zoo"
# What Mamba2-2.7B keeps of constants and windows of 64 layers is more than these boards have beside
# the smallest units: some of it lives off chip.
SPILLS_FOR_27B = {"kv260", "zcu102", "zcu104", "fastmamba-vc709"}
# No room for a layer's states ahead: shallow FIFOs, and a port that idles in between.
SHALLOW_FOR_27B = {"asic-45nm"}
WORKLOADS = {
    "decode": Workload(),
    "prefill 128": Workload("prefill", 128),
    "batch 4": Workload(batch=4),
}
REASON = re.compile(
    r"(constants|windows|, | and )+ off chip, for with them on chip the smallest design needs "
    r"[\d,]+ (BRAM|URAM), [\d,]+ more than the [\d,]+ it may use"
)


@cache
def shipped():
    values = json.loads((ZOO / "mamba2-py-1m" / "config.json").read_text())
    return lower_config("mamba2-py-1m", mamba2.read_config(values), find_recipe("w4a4"))


@cache
def published(name, recipe="w4a4"):
    return lower_config(name, find_config(name), find_recipe(recipe))


@pytest.mark.parametrize("name", list_machines())
@pytest.mark.parametrize("model", [shipped, lambda: published("mamba2-130m")], ids=["1m", "130m"])
def test_every_preset_prices_the_shipped_model_and_a_small_published_one(name, model):
    machine = load_machine(name)
    found = simulate(model(), machine)
    assert found.tokens_per_second > 0
    assert all(found.design.resources[r] <= found.design.budget[r] for r in found.design.budget)
    assert all(pj >= 0 for pj in found.energy_pj.values())
    moved = sum(r.offchip_bytes for r in found.operators)
    if moved:
        bound = found.ceilings.memory_bytes_per_s / moved
        assert found.tokens_per_second <= bound


@pytest.mark.parametrize("name", list_machines())
def test_the_largest_published_one_fits_and_says_what_went_off_chip_and_why(name):
    machine, model = load_machine(name), published("mamba2-2.7b")
    design = default_design(model, machine)
    assert all(design.resources[r] <= design.budget[r] for r in design.budget)
    moved = {n for n in ("constants", "windows") if design.places[n] == "memory"}
    assert bool(moved) == (name in SPILLS_FOR_27B)
    assert len(design.reasons) == bool(moved)
    for reason in design.reasons:
        assert REASON.fullmatch(reason)
        assert all(what in reason for what in moved)
        assert reason in design.text()
        assert reason in simulate(model, machine, design).notes
    if not moved:
        assert (dict(design.choices.depths) != {}) == (name in SHALLOW_FOR_27B)


@pytest.mark.slow
@pytest.mark.parametrize("load", WORKLOADS.values(), ids=WORKLOADS)
@pytest.mark.parametrize("recipe", ["w4a4", "w8a8"])
@pytest.mark.parametrize("size", ["mamba2-130m", "mamba2-2.7b"])
@pytest.mark.parametrize("name", list_machines())
def test_every_machine_prices_every_model_recipe_and_workload(name, size, recipe, load):
    """All of it from the config alone; every byte off chip is one of an operator."""
    machine, model = load_machine(name), published(size, recipe)
    found = simulate(model, machine, workload=load)
    design = found.design
    assert all(design.resources[r] <= design.budget[r] for r in design.budget)
    moved = sum(r.offchip_bytes for r in found.operators)
    assert 0 < found.tokens_per_second <= found.ceilings.memory_bytes_per_s / moved
    kept = account(model, design)
    told = sum(s.read_bytes + s.written_bytes for s in kept if s.place == "memory")
    assert told == pytest.approx(moved, rel=1e-12)


def test_where_that_is_not_enough_fifos_spill():
    """A kv260 of 60 BRAM and 2 URAM: what two units hand on goes through the memory."""
    machine, model = load_machine("kv260"), published("mamba2-2.7b")
    small = replace(machine, logic=replace(machine.logic, brams=60, urams=2))
    found = simulate(model, small)
    spilt = len(found.design.choices.spills)
    assert spilt > 1
    assert f"constants, windows and {spilt} FIFOs off chip, for with" in found.design.reasons[0]
    (row,) = (s for s in account(model, found.design) if s.purpose == "spills")
    assert row.read_bytes == row.written_bytes > 0
    assert found.tokens_per_second < simulate(model, machine).tokens_per_second


def test_a_machine_that_is_truly_too_small_is_refused_in_a_sentence():
    machine = load_machine("kv260")
    logic = replace(machine.logic, brams=40, urams=0)
    with pytest.raises(UserError) as caught:
        default_design(published("mamba2-2.7b"), replace(machine, logic=logic))
    assert re.fullmatch(
        r"machine kv260 is too small for mamba2-2\.7b: the smallest design needs [\d,]+ "
        r"(BRAM|URAM|LUT), [\d,]+ more than the -?[\d,]+ it may use( \([\d,]+ for what no choice "
        r"takes off the chip\))?; choose a larger machine or a smaller model",
        str(caught.value),
    )


@pytest.mark.parametrize("name", sorted(SHALLOW_FOR_27B))
def test_shallow_fifos_of_states_cost_a_fifth_of_the_pace_at_most(name):
    machine, model = load_machine(name), published("mamba2-2.7b")
    found = simulate(model, machine)
    bound = found.ceilings.memory_bytes_per_s / sum(r.offchip_bytes for r in found.operators)
    assert 0.8 * bound < found.tokens_per_second < bound


@pytest.mark.parametrize("mhz", [1e-6, 0.3, 3.0, 70.0, 1e6])
def test_odd_clocks_are_priced_or_a_sentence_says_why_not(mhz):
    """A clock in GHz by mistake, or far too fast: the memory then brings many beats, or few."""
    machine = load_machine("u280")
    odd = replace(machine, clock=replace(machine.clock, frequency_mhz=mhz))
    try:
        found = simulate(shipped(), odd)
    except UserError as error:
        assert "machine u280 is too small for mamba2-py-1m" in str(error)  # noqa: PT017
    else:
        assert found.tokens_per_second > 0

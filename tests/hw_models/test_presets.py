"""Every preset prices what it can hold, and says in one sentence what it cannot."""

import json
import re
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from cosim.design import default_design
from cosim.ir.errors import UserError
from cosim.machine import list_machines, load_machine
from hw_models.simulate import simulate
from quant.configs import find_config
from quant.from_config import lower_config
from quant.models import mamba2
from quant.recipes import find_recipe

ZOO = Path(__file__).resolve().parents[2] / "quant" / "zoo"
# What Mamba2-2.7B keeps on chip in any design (windows, taps and biases of 64 layers) is more than
# these boards have.
TOO_SMALL_FOR_27B = {"kv260", "zcu102", "zcu104"}
# Here it fits alone, but not with the smallest units beside it.
CROWDED_BY_27B = {"fastmamba-vc709"}
# No room for a layer's states ahead: shallow FIFOs, and a port that idles in between.
SHALLOW_FOR_27B = {"asic-45nm"}
SENTENCE = re.compile(
    r"machine \S+ is too small for mamba2-2\.7b: the smallest design needs [\d,]+ (BRAM|URAM), "
    r"[\d,]+ more than the ([\d,]+) it may use \(([\d,]+) for windows, tables and constants alone\)"
    r"; choose a larger machine or a smaller model"
)


@cache
def shipped():
    values = json.loads((ZOO / "mamba2-py-1m" / "config.json").read_text())
    return lower_config("mamba2-py-1m", mamba2.read_config(values), find_recipe("w4a4"))


@cache
def published(name):
    return lower_config(name, find_config(name), find_recipe("w4a4"))


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
def test_the_largest_published_one_fits_or_a_sentence_says_why_not(name):
    machine, model = load_machine(name), published("mamba2-2.7b")
    if name in TOO_SMALL_FOR_27B | CROWDED_BY_27B:
        with pytest.raises(UserError) as caught:
            default_design(model, machine)
        told = SENTENCE.fullmatch(str(caught.value))
        assert told
        room, alone = (int(told[k].replace(",", "")) for k in (2, 3))
        # Above the room, no arrangement of the rest would fit.
        assert (alone > room) == (name in TOO_SMALL_FOR_27B)
    else:
        design = default_design(model, machine)
        assert all(design.resources[r] <= design.budget[r] for r in design.budget)
        assert (dict(design.choices.depths) != {}) == (name in SHALLOW_FOR_27B)


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

"""Energy has a source for every picojoule, and nothing is priced by what is not there."""

from dataclasses import replace

import pytest

from cosim.ir.errors import UserError
from cosim.ir.work import Work
from cosim.machine import load_machine
from hw_models.energy import PriceList, Traffic, price_list, static_pj
from hw_models.energy_constants import HOROWITZ_45NM, OFF_CHIP, TABLES, Constant

U280 = load_machine("u280")
PLAIN = PriceList({c.name: c for c in TABLES["horowitz-45nm"]}, 1.0, "hbm2")


def test_the_usual_constants_come_out():
    """Horowitz's int8 MAC of 0.23 pJ, int32 add of 0.1; HBM2 at 3.9 pJ/bit."""
    assert PLAIN.work_pj(Work(macs={(8, 8): 1})) == {"mac 8x8": pytest.approx(0.23)}
    assert PLAIN.work_pj(Work(adds={8: 1, 32: 1}))["add"] == pytest.approx(0.13)
    assert PLAIN.traffic_pj(Traffic(off_chip_bits=10)) == {"off chip": pytest.approx(39.0)}
    assert PLAIN.traffic_pj(Traffic(stream_bits=64))["on chip"] == pytest.approx(10.0)


def test_the_product_rule_finds_the_32_bit_product_again():
    """The rule from 8 bits gives 3.2 where Horowitz has 3.1: within 4 %."""
    found = PLAIN.work_pj(Work(muls={(32, 32): 1}))["mul"]
    assert found == pytest.approx(PLAIN.constants["mul.32"].value, rel=0.04)


def test_a_narrow_product_costs_less_in_both_widths():
    mac = {w: PLAIN.work_pj(Work(macs={w: 1})) for w in ((4, 4), (8, 4), (8, 8))}
    costs = [next(iter(m.values())) for m in mac.values()]
    assert costs == sorted(costs)
    assert costs[0] < costs[2] / 3


def test_arithmetic_and_memories_on_chip_are_carried_to_the_machines_node_but_dram_is_not():
    listed = price_list(U280)
    assert listed.factor == 2.9
    assert listed.work_pj(Work(macs={(8, 8): 1}))["mac 8x8"] == pytest.approx(0.23 * 2.9)
    assert listed.traffic_pj(Traffic(off_chip_bits=1))["off chip"] == pytest.approx(3.9)


def test_nodes_are_never_mixed():
    other = Constant("add.8", 0.007, "pJ", 7, 0.75, "somewhere", "assumed")
    mixed = (*HOROWITZ_45NM[1:], other, *OFF_CHIP)
    with pytest.raises(UserError, match=r"constants of 7 nm at 0\.75 V and 45 nm at 0\.9 V cannot"):
        price_list(U280, mixed)


def test_a_node_is_left_only_by_a_factor_with_a_source():
    bare = replace(U280, sources={})
    with pytest.raises(UserError, match="constants of 45 nm do not price 16 nm; give"):
        price_list(bare)
    old = replace(U280, energy=replace(U280.energy, node_nm=45))
    with pytest.raises(UserError, match="both of 45 nm; make it 1"):
        price_list(old)


def test_what_has_no_constant_is_an_error():
    with pytest.raises(UserError, match="energy table 'mine' is unknown; choose one of horowitz"):
        price_list(replace(U280, energy=replace(U280.energy, table="mine")))
    memory = replace(U280.memories[0], technology="hbm9")
    listed = price_list(replace(U280, memories=(memory,)))
    with pytest.raises(UserError, match=r"there is no constant 'dram\.hbm9'"):
        listed.traffic_pj(Traffic(off_chip_bits=1))
    empty = PriceList({}, 1.0, "hbm2")
    with pytest.raises(UserError, match=r"there is no constant 'mul\.8'"):
        empty.work_pj(Work(macs={(8, 8): 1}))


def test_every_constant_says_where_it_is_from():
    for constant in TABLES["horowitz-45nm"]:
        assert constant.source
        assert constant.unit in {"pJ", "pJ/bit"}
        assert (constant.node_nm == 45) == (constant.domain == "logic")


def test_static_power_takes_time():
    assert static_pj(U280, 0.5) == pytest.approx(10 * 0.5 * 1e12)

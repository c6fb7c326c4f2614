"""Energy has a source for every picojoule, and nothing is priced by what is not there."""

from dataclasses import replace

import pytest

from cosim.ir.errors import UserError
from cosim.ir.work import Work
from cosim.machine import list_machines, load_machine
from hw_models.energy import PriceList, Traffic, price_list, static_pj
from hw_models.energy_constants import HOROWITZ_45NM, JOUPPI_7NM, OFF_CHIP, TABLES, Constant

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
    assert price_list(old).factor == 2.9, "on an FPGA of the same node it stands for the fabric"
    die = replace(old, logic=replace(old.logic, family="asic"))
    with pytest.raises(UserError, match="both of 45 nm; make it 1"):
        price_list(die)
    assert price_list(load_machine("asic-45nm")).factor == 1


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


@pytest.mark.parametrize(("table", "node"), [("horowitz-45nm", 45), ("jouppi-7nm", 7)])
def test_every_constant_says_where_it_is_from(table, node):
    for constant in TABLES[table]:
        assert constant.source
        assert constant.unit in {"pJ", "pJ/bit", "pJ/bit/cycle"}
        assert (constant.node_nm == node) == (constant.domain == "logic")
        assert constant.value > 0
    assert len({c.name for c in TABLES[table]}) == len(TABLES[table])


def test_both_tables_price_all_components_of_every_memory_technology():
    """A machine of any preset, on either table, lacks no constant."""
    every = Work(
        macs={(8, 4): 1}, muls={(16, 8): 1}, adds={24: 1}, shifts={32: 1}, compares={8: 1},
        lookups={16: 1},
    )  # fmt: skip
    for name in list_machines():
        machine = load_machine(name)
        for table in TABLES:
            listed = price_list(replace(machine, energy=replace(machine.energy, table=table)))
            spent = listed.work_pj(every) | listed.traffic_pj(Traffic(1, 1, 1, 1))
            assert len(spent) == 8
            assert all(pj > 0 for pj in spent.values())


def test_seven_nanometres_take_less_than_forty_five():
    """Mark Horowitz's and Jouppi's columns against each other: memory shrinks least."""
    old, new = ({c.name: c.value for c in TABLES[t]} for t in ("horowitz-45nm", "jouppi-7nm"))
    assert all(new[k] < old[k] for k in new if not k.startswith("dram"))
    assert old["mul.8"] / new["mul.8"] > 2 > old["sram.8KB"] / new["sram.8KB"]


def test_two_tables_are_never_mixed():
    with pytest.raises(UserError, match=r"constants of 7 nm at 0\.0 V and 45 nm at 0\.9 V cannot"):
        price_list(U280, (*TABLES["horowitz-45nm"], *JOUPPI_7NM))


def test_clocks_take_what_all_flip_flops_take():
    """A thousand flip-flops over ten cycles at 45 nm: 0.063 / 16 pJ x 45 / 32 each."""
    assert PLAIN.clock_pj(1000, 10) == pytest.approx(10_000 * 0.063 / 16 * 45 / 32)
    assert price_list(U280).clock_pj(1, 1) == pytest.approx(2.9 * PLAIN.clock_pj(1, 1))


def test_static_power_takes_time():
    assert static_pj(U280, 0.5) == pytest.approx(10 * 0.5 * 1e12)

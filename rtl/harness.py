"""Write what else runs an exported design: a Verilator harness, a cocotb test, a Makefile."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rtl.elaborate import TOP
from rtl.export import ACCEPTED_LINT
from rtl.golden import PATIENCE_CYCLES, Sink, Source, Vectors

TEMPLATES = Path(__file__).parent / "templates"
TEST = f"test_{TOP}.py"


def harness(found: Vectors) -> str:
    """Return the harness in C++ that plays and checks the vectors in Verilator."""
    made = [_source(s) for s in found.sources] + [_sink(s) for s in found.sinks]
    before = [
        f"    dut.{s.name}_valid = {s.name}.valid(now);\n"
        f"    put(dut.{s.name}_data, {s.name}.beats[{s.name}.taken % {s.beats}]);"
        for s in found.sources
    ] + [f"    dut.{s.name}_ready = {s.name}.ready();" for s in found.sinks]
    after = [
        f"    if (dut.{s.name}_valid && {s.name}.ready()) {{\n"
        f"      {s.name}.take(now, get(dut.{s.name}_data, {s.bits}));\n      last = now;\n    }}"
        for s in found.sinks
    ]
    after += [
        f"    {s.name}.end(now, {s.name}.valid(now) && dut.{s.name}_ready);" for s in found.sources
    ]
    return _filled(
        "harness.cpp.in", TOP=TOP, MADE="\n".join(made), BEFORE="\n".join(before),
        AFTER="\n".join(after), LEFT=" || ".join(f"{s.name}.ready()" for s in found.sinks),
        PATIENCE=str(PATIENCE_CYCLES),
    )  # fmt: skip


def cocotb_test(found: Vectors, modules: Sequence[str]) -> str:
    """Return a cocotb test of the vectors, which is also what runs it."""
    sources = [(s.name, s.total, s.paced, s.depth, s.latency) for s in found.sources]
    sinks = [(s.name, s.timed) for s in found.sinks]
    return _filled(
        "cocotb.py.in", SOURCES=repr(sources), SINKS=repr(sinks), MODULES=repr(list(modules)),
        TOP=TOP,
    )  # fmt: skip


def makefile(modules: Sequence[str]) -> str:
    """Return the Makefile of an exported folder."""
    accepted = " ".join(f"-Wno-{name}" for name in ACCEPTED_LINT)
    return _filled("Makefile.in", MODULES=" ".join(modules), TOP=TOP, ACCEPTED=accepted)


def _source(s: Source) -> str:
    gaps = f', read("{s.name}.gaps", 32)' if s.paced else ", {}"
    return (
        f'  Source {s.name}{{read("{s.name}.beats", {s.bits}){gaps}, {s.total}, {s.depth}, '
        f"{s.latency}, std::vector<int64_t>({max(s.depth, 1)})}};"
    )


def _sink(s: Sink) -> str:
    cycles = f'read("{s.name}.cycles", 32)' if s.timed else "{}"
    return (
        f'  Sink {s.name}{{"{s.name}", {s.bits}, read("{s.name}.beats", {s.bits}), '
        f'read("{s.name}.mask", {s.bits}), {cycles}}};'
    )


def _filled(template: str, **fields: str) -> str:
    text = (TEMPLATES / template).read_text(encoding="utf-8")
    for name, value in fields.items():
        text = text.replace(f"@{name}@", value)
    return text

"""Write what else runs an exported design: a Verilator harness, a cocotb test, a Makefile."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rtl.elaborate import TOP
from rtl.export import ACCEPTED_LINT
from rtl.golden import PATIENCE_CYCLES, Sink, Source, Vectors
from rtl.simulate import Turns

TEMPLATES = Path(__file__).parent / "templates"
TEST = f"test_{TOP}.py"


def harness(found: Vectors) -> str:
    """Return the harness in C++ that plays and checks the vectors in Verilator."""
    made = [_port(k, turns) for k, turns in enumerate(found.turns)]
    made += [_sink(s, found) for s in found.sinks] + [_source(s, found) for s in found.sources]
    before = [
        f"    dut.{s.name}_valid = {s.name}.valid(now);\n"
        f"    put(dut.{s.name}_data, {s.name}.word(now));"
        for s in found.sources
    ] + [f"    dut.{s.name}_ready = {s.name}.ready(now);" for s in found.sinks]
    after = [
        f"    if (dut.{s.name}_valid && dut.{s.name}_ready) {{\n"
        f"      {s.name}.take(now, get(dut.{s.name}_data, {s.bits}));\n      last = now;\n    }}"
        for s in found.sinks
    ]
    after += [
        f"    {s.name}.end(now, {s.name}.valid(now) && dut.{s.name}_ready);" for s in found.sources
    ]
    return _filled(
        "harness.cpp.in", TOP=TOP, MADE="\n".join(made), BEFORE="\n".join(before),
        AFTER="\n".join(after), LEFT=" || ".join(f"{s.name}.left()" for s in found.sinks),
        PATIENCE=str(PATIENCE_CYCLES),
    )  # fmt: skip


def cocotb_test(found: Vectors, modules: Sequence[str]) -> str:
    """Return a cocotb test of the vectors, which is also what runs it."""
    sources = [
        (s.name, s.total, s.paced, s.depth, s.latency, s.follows, s.block, s.looks_up)
        for s in found.sources
    ]
    sinks = [(s.name, s.total, s.per_token, s.timed, s.paced, s.checked) for s in found.sinks]
    return _filled(
        "cocotb.py.in", SOURCES=repr(sources), SINKS=repr(sinks), MODULES=repr(list(modules)),
        TOP=TOP, TURNS=repr([t.pairs for t in found.turns]),
    )  # fmt: skip


def makefile(modules: Sequence[str]) -> str:
    """Return the Makefile of an exported folder."""
    accepted = " ".join(f"-Wno-{name}" for name in ACCEPTED_LINT)
    return _filled("Makefile.in", MODULES=" ".join(modules), TOP=TOP, ACCEPTED=accepted)


def _port(number: int, turns: Turns) -> str:
    pairs = ", ".join(
        f"{{{turns.streams.index(name)}, {beats}}}" for name, beats in turns.pairs
    )  # fmt: skip
    return f"  Port port{number}{{{{{pairs}}}}};"


def _turn(name: str, found: Vectors) -> str:
    """Return the port of a stream, and its number there."""
    for number, turns in enumerate(found.turns):
        if name in turns.streams:
            return f"&port{number}, {turns.streams.index(name)}"
    return "nullptr, 0"


def _source(s: Source, found: Vectors) -> str:
    gaps = f'read("{s.name}.gaps", 32)' if s.paced else "{}"
    follows = f"&{s.follows}" if s.follows else "nullptr"
    return (
        f'  Source {s.name}{{read("{s.name}.beats", {s.bits}), {gaps}, {s.total}, {s.depth}, '
        f"{s.latency}, std::vector<int64_t>({max(s.depth, 1)}), {follows}, {s.block}, "
        f"{int(s.looks_up)}, {_turn(s.name, found)}}};"
    )


def _sink(s: Sink, found: Vectors) -> str:
    cycles = f'read("{s.name}.cycles", 32)' if s.timed else "{}"
    gaps = f'read("{s.name}.gaps", 32)' if s.paced else "{}"
    beats, mask = (f'read("{s.name}.{w}", {s.bits})' for w in ("beats", "mask"))
    golden = f"{beats}, {mask}" if s.checked else "{}, {}"
    return (
        f'  Sink {s.name}{{"{s.name}", {s.bits}, {s.total}, {golden}, {cycles}, {gaps}, '
        f"{_turn(s.name, found)}}};"
    )


def _filled(template: str, **fields: str) -> str:
    text = (TEMPLATES / template).read_text(encoding="utf-8")
    for name, value in fields.items():
        text = text.replace(f"@{name}@", value)
    return text

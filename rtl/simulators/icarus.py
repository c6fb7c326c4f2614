"""Run exported Verilog in Icarus: a test bench in Verilog plays the feeds and drains."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from cosim.ir.errors import InternalError, UserError
from rtl.export import Verilog
from rtl.simulators.port import is_free, shared_port
from rtl.simulators.setup import Feed, Setup, Trace, spread

FEED = """
  reg [{top}:0] {n}_beats [0:{last}];
  reg [31:0] {n}_gaps [0:{gaps_last}];
  reg [31:0] {n}_offered [0:{total_last}];
  integer {n}_k, {n}_started = {initial}, {n}_taken = 0, {n}_free = {first};
  reg [{allow}-1:0] {n}_allowed = {allow}'h{allowed:x};
  wire {n}_ready;
  wire {n}_valid = {n}_taken < {n}_started && {n}_offered[{n}_taken] <= now;
  wire [{top}:0] {n}_data = {n}_valid ? {word} : 0;
  wire {n}_there = {n}_started < {own} || {follows};
  wire {n}_moves = {n}_there && {free} && {n}_allowed[now % {allow}]
      && {n}_started - {n}_taken < {depth};
  wire [31:0] {n}_gap = {n}_gaps[{n}_started % {period}];
  initial begin
    $readmemh("{n}.beats", {n}_beats);
    $readmemh("{n}.gaps", {n}_gaps);
    for ({n}_k = 0; {n}_k < {initial}; {n}_k = {n}_k + 1) {n}_offered[{n}_k] = 0;
  end
  always @(posedge clk) if (!rst) begin
    if ({n}_moves) begin
      {n}_offered[{n}_started] <= now + {latency};
      {n}_free <= now + {n}_gap;
      {n}_started <= {n}_started + 1;
    end
    if ({n}_valid && {n}_ready) begin
      $display("beat {n} %0d -", now);
      {n}_taken <= {n}_taken + 1;
    end
  end
"""
DRAIN = """
  reg [31:0] {n}_gaps [0:{last}];
  reg [{top}:0] {n}_got [0:{last}];
  integer {n}_taken = 0, {n}_free = {first};
  reg [{allow}-1:0] {n}_allowed = {allow}'h{allowed:x};
  wire [{top}:0] {n}_data;
  wire {n}_valid;
  wire {n}_ready = {n}_taken < {count} && {free} && {n}_allowed[now % {allow}];
  wire {n}_moves = {n}_valid && {n}_ready;
  wire [31:0] {n}_gap = {n}_gaps[{n}_taken];
  initial $readmemh("{n}.gaps", {n}_gaps);
  always @(posedge clk) if (!rst && {n}_moves) begin
    $display("beat {n} %0d %h", now, {n}_data);
    {n}_got[{n}_taken] <= {n}_data;
    {n}_free <= now + {n}_gap;
    {n}_taken <= {n}_taken + 1;
  end
"""
BENCH = """`timescale 1ns/1ps
module bench;
  reg clk = 0, rst = 1;
  integer now = 0;
{streams}
  {name} dut ({ports});
  always #1 clk = ~clk;
  always @(posedge clk) if (!rst) now <= now + 1;
  always @(negedge clk) if (!rst) begin
    if ({done}) begin $display("done %0d", now); $finish; end
    else if (now == {limit}) $finish;
  end
  initial begin @(posedge clk); #0.5 rst = 0; end
endmodule
"""


def run(verilog: Verilog, setup: Setup) -> Trace:
    """Return the trace of a module; raise UserError without Icarus, or where a drain starves."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "dut.v").write_text(verilog.text, encoding="utf-8")
        for name, content in verilog.files.items():
            (folder / name).write_text(content, encoding="utf-8")
        (folder / "bench.v").write_text(_bench(verilog, setup, folder), encoding="utf-8")
        _call("iverilog", ["-g2005", "-s", "bench", "-o", "bench.vvp", "bench.v", "dut.v"], folder)
        said = _call("vvp", ["-n", "bench.vvp"], folder)
    return _read(said, setup)


@cache
def version_text() -> str:
    """Say which Icarus this is; raise UserError where there is none."""
    path = _tool("iverilog")
    ran = subprocess.run([path, "-V"], capture_output=True, text=True, check=False)
    words = (ran.stdout.splitlines() or ["Icarus Verilog"])[0].split()
    return f"Icarus {words[3]}" if len(words) > 3 else "Icarus"


def lint(verilog: Verilog) -> list[str]:
    """Return what Icarus says of a module under -Wall."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "dut.v").write_text(verilog.text, encoding="utf-8")
        for name, content in verilog.files.items():
            (folder / name).write_text(content, encoding="utf-8")
        said = _call("iverilog", ["-g2005", "-Wall", "-o", "dut.vvp", "dut.v"], folder, errors=True)
    # A module alone has no time scale; the test bench gives one.
    return [line for line in said.splitlines() if "timescale" not in line]


def _call(tool: str, arguments: Sequence[str], folder: Path, errors: bool = False) -> str:
    ran = subprocess.run(
        [_tool(tool), *arguments], cwd=folder, capture_output=True, text=True, check=False
    )
    if ran.returncode:
        raise InternalError(f"{tool} refuses the module: {(ran.stderr + ran.stdout)[-2000:]}")
    return ran.stderr if errors else ran.stdout


def _tool(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise UserError(f"Icarus needs {name}, which is not installed; install iverilog (Debian)")
    return path


def _bench(verilog: Verilog, setup: Setup, folder: Path) -> str:
    streams, ports = [], []
    if verilog.has_clock:
        ports.append(".clk(clk)")
    if verilog.has_reset:
        ports.append(".rst(rst)")
    for name, feed in setup.feeds.items():
        count, gaps = setup.total(name), setup.gaps(name)
        _memory(folder / f"{name}.beats", feed.beats)
        _memory(folder / f"{name}.gaps", gaps)
        streams.append(FEED.format(
            n=name, top=setup.widths[f"{name}_data"] - 1, last=max(len(feed.beats), 1) - 1,
            own=feed.own, depth=feed.depth or max(count, 1), latency=feed.latency,
            first=feed.first, initial=feed.initial, period=max(len(gaps), 1),
            gaps_last=max(len(gaps), 1) - 1, total_last=max(count, 1) - 1,
            free=_free(setup, name), **_source(name, feed, count), **_pattern(feed.allowed),
        ))  # fmt: skip
    for name, drain in setup.drains.items():
        _memory(folder / f"{name}.gaps", spread(name, drain.intervals, drain.count))
        streams.append(DRAIN.format(
            n=name, top=setup.widths[f"{name}_data"] - 1, last=max(drain.count, 1) - 1,
            count=drain.count, first=drain.first, free=_free(setup, name),
            **_pattern(drain.allowed),
        ))  # fmt: skip
    shared = [shared_port(k, t.pairs) for k, t in enumerate(setup.turns)]
    streams = [*(s[0] for s in shared), *streams, *(s[1] for s in shared)]
    ports += [f".{n}_{p}({n}_{p})" for n in _streams(setup) for p in ("data", "valid", "ready")]
    ports += [f".{n}({setup.widths[n]}'h{v:x})" for n, v in setup.held.items()]
    done = [f"{n}_taken == {d.count}" for n, d in setup.drains.items()]
    return BENCH.format(
        streams="".join(streams), name=verilog.name, ports=", ".join(ports),
        limit=setup.limit_cycles, done=" && ".join(done) or "1",
    )  # fmt: skip


def _source(name: str, feed: Feed, total: int) -> dict[str, str]:
    """Return where a feed's next beat comes from, and when there is one besides its own."""
    own = f"{name}_beats[{name}_taken % {max(len(feed.beats), 1)}]"
    if not feed.follows:
        return {"word": own, "follows": "0"}
    other = feed.follows
    # What the drain takes in this very cycle counts, unless it is to be later.
    taken = f"{other}_taken" if feed.later else f"{other}_taken + ({other}_valid && {other}_ready)"
    wanted = f"(({name}_started - {feed.lag}) / {feed.block} + 1) * {feed.block}"
    word = f"{other}_got[{name}_taken - {feed.lag}]"
    if feed.looks_up:
        word = f"({word} < {len(feed.beats)} ? {name}_beats[{word}] : 0)"
    if feed.own:
        word = f"({name}_taken < {feed.own} ? {own} : {word})"
    return {"word": word, "follows": f"({name}_started < {total} && {taken} >= {wanted})"}


def _free(setup: Setup, name: str) -> str:
    """Return the condition that a stream's interval is over, and that it is its turn."""
    port = setup.port(name)
    return f"now >= {name}_free" if port < 0 else is_free(port, setup.turns[port].pairs, name)


def _pattern(allowed: Sequence[bool]) -> dict[str, int]:
    return {"allow": len(allowed), "allowed": sum(bool(a) << k for k, a in enumerate(allowed))}


def _streams(setup: Setup) -> list[str]:
    return [*setup.feeds, *setup.drains]


def _memory(path: Path, values: Sequence[int]) -> None:
    path.write_text("".join(f"{v:x}\n" for v in values) or "0\n", encoding="utf-8")


def _read(said: str, setup: Setup) -> Trace:
    cycles: dict[str, list[int]] = {n: [] for n in _streams(setup)}
    beats: dict[str, list[int]] = {n: [] for n in setup.drains}
    total = -1
    for line in said.splitlines():
        word, *rest = line.split()
        if word == "beat":
            cycles[rest[0]].append(int(rest[1]))
            if rest[0] in beats:
                beats[rest[0]].append(_integer(rest[0], int(rest[1]), rest[2]))
        elif word == "done":
            total = int(rest[0])
    if total < 0:
        raise setup.starved({n: len(b) for n, b in beats.items()})
    return Trace(
        {n: tuple(b) for n, b in beats.items()}, {n: tuple(c) for n, c in cycles.items()}, total
    )


def _integer(stream: str, cycle: int, digits: str) -> int:
    try:
        return int(digits, 16)
    except ValueError:
        raise InternalError(
            f"stream {stream!r} gives {digits} in cycle {cycle}: bits that nobody has set"
        ) from None

"""Write a test bench in Verilog that plays golden vectors and checks what comes out.

It needs no tool of ours: `make icarus` in the exported folder runs it. It says PASS, or names the
first beat that is wrong with both values and ends with an exit status that is not 0.
"""

from __future__ import annotations

from rtl.elaborate import TOP
from rtl.golden import PATIENCE_CYCLES, Sink, Source, Vectors
from rtl.simulators.port import is_free, shared_port

SOURCE = """
  reg [{top}:0] {n}_beats [0:{last}];
  integer {n}_taken = 0;
  wire {n}_ready;
  wire {n}_valid = {n}_taken < {total};
  wire [{top}:0] {n}_data = {n}_beats[{n}_taken % {beats}];
  initial $readmemh("{n}.beats", {n}_beats);
  always @(posedge clk) if (!rst && {n}_valid && {n}_ready) {n}_taken <= {n}_taken + 1;
"""
# A port of the memory: it starts a beat when its gap is over, it is its turn, a place is free and
# the beat is there, and gives it `latency` cycles later.
PACED = """
  reg [{top}:0] {n}_beats [0:{last}];
  reg [31:0] {n}_gaps [0:{gaps}-1];
  reg [31:0] {n}_offered [0:{depth}-1];
  integer {n}_started = 0, {n}_taken = 0, {n}_free = 0;
  wire {n}_ready;
  wire {n}_valid = {n}_taken < {n}_started && {n}_offered[{n}_taken % {depth}] <= now;
  wire [{top}:0] {n}_data = {n}_valid ? {n}_beats[{place}] : 0;
  wire {n}_moves = {n}_started < {total}{there} && {free} && {n}_started - {n}_taken < {depth};
  wire [31:0] {n}_gap = {n}_gaps[{n}_started % {gaps}];
  initial begin $readmemh("{n}.beats", {n}_beats); $readmemh("{n}.gaps", {n}_gaps); end
  always @(posedge clk) if (!rst) begin
    if ({n}_moves) begin
      {n}_offered[{n}_started % {depth}] <= now + {latency};
      {n}_free <= now + {n}_gap;
      {n}_started <= {n}_started + 1;
    end
    if ({n}_valid && {n}_ready) {n}_taken <= {n}_taken + 1;{written}
  end
"""
# What goes back to the memory, or asks it; it is not compared.
TAKEN = """
  reg [31:0] {n}_gaps [0:{per_token}-1];
  integer {n}_taken = 0, {n}_free = 0;
  wire {n}_valid;
  wire {n}_ready = {n}_taken < {total} && {free};
  wire [{top}:0] {n}_data;
  reg [{top}:0] {n}_last [0:{per_token}-1];
  wire {n}_moves = {n}_valid && {n}_ready;
  wire [31:0] {n}_gap = {n}_gaps[{n}_taken % {per_token}];
  initial $readmemh("{n}.gaps", {n}_gaps);
  always @(posedge clk) if (!rst && {n}_moves) begin
    {n}_last[{n}_taken % {per_token}] <= {n}_data;
    {n}_free <= now + {n}_gap;
    {n}_taken <= {n}_taken + 1;
  end
"""
SINK = """
  reg [{top}:0] {n}_beats [0:{last}];
  reg [{top}:0] {n}_mask [0:{per_token}-1];
  integer {n}_taken = 0;
  wire {n}_valid;
  wire {n}_ready = {n}_taken < {total};
  wire [{top}:0] {n}_data;
  wire [{top}:0] {n}_wrong = ({n}_data ^ {n}_beats[{n}_taken]) & {n}_mask[{n}_taken % {per_token}];
  initial begin $readmemh("{n}.beats", {n}_beats); $readmemh("{n}.mask", {n}_mask); end
  always @(posedge clk) if (!rst && {n}_valid && {n}_ready) begin
    last <= now;
    if ({n}_wrong !== 0) begin
      $display("FAIL {n}: beat %0d of token %0d, cycle %0d: got %h, expected %h",
               {n}_taken % {per_token}, {n}_taken / {per_token}, now, {n}_data,
               {n}_beats[{n}_taken]);
      $fatal(1, "a beat differs");
    end{timed}
    {n}_taken <= {n}_taken + 1;
  end
"""
TIMED = """
    if ({n}_cycles[{n}_taken] !== now) begin
      $display("FAIL {n}: beat %0d of token %0d: came in cycle %0d, predicted %0d",
               {n}_taken % {per_token}, {n}_taken / {per_token}, now, {n}_cycles[{n}_taken]);
      $fatal(1, "a cycle differs");
    end"""
CYCLES = """
  reg [31:0] {n}_cycles [0:{last}];
  initial $readmemh("{n}.cycles", {n}_cycles);
"""
BENCH = """`timescale 1ns/1ps
// Plays the golden vectors beside this file, and checks every beat of every output.
module bench;
  reg clk = 0, rst = 1;
  integer now = 0, last = 0;
{streams}
  {top} dut (
    .clk(clk), .rst(rst),
    {ports}
  );
  always #1 clk = ~clk;
  always @(posedge clk) if (!rst) now <= now + 1;
  always @(negedge clk) if (!rst) begin
    if ({done}) begin
      $display("PASS {checked} in %0d cycles", now);
      $finish;
    end
    if (now - last > {patience}) begin
      $display("FAIL: no output moves after cycle %0d", last);
      $fatal(1, "the design stands still");
    end
  end
  initial begin @(posedge clk); #0.5 rst = 0; end
endmodule
"""


def testbench(found: Vectors) -> str:
    """Return the test bench of a design's vectors."""
    shared = [shared_port(k, t.pairs) for k, t in enumerate(found.turns)]
    # Sources look at what sinks have taken.
    streams = [before for before, _ in shared]
    streams += [_sink(s, found) for s in found.sinks] + [_source(s, found) for s in found.sources]
    streams += [after for _, after in shared]
    names = [s.name for s in found.sources] + [s.name for s in found.sinks]
    ports = [f".{n}_{w}({n}_{w})" for n in names for w in ("data", "valid", "ready")]
    checked = ", ".join(
        f"{s.name}: {s.total} beats" + (", all in the predicted cycle" if s.timed else "")
        for s in found.sinks if s.checked
    )  # fmt: skip
    return BENCH.format(
        streams="".join(streams), top=TOP, ports=",\n    ".join(ports), checked=checked,
        done=" && ".join(f"{s.name}_taken == {s.total}" for s in found.sinks),
        patience=PATIENCE_CYCLES,
    )  # fmt: skip


def _source(s: Source, found: Vectors) -> str:
    fields = {"n": s.name, "top": s.bits - 1, "last": s.beats - 1, "beats": s.beats,
              "total": s.total}  # fmt: skip
    if not s.paced:
        return SOURCE.format(**fields)
    n, f, there, written = s.name, s.follows, "", ""
    place = f"{n}_taken % {s.beats}"
    if s.looks_up:
        each = next(k.per_token for k in found.sinks if k.name == f)
        place, there = f"{f}_last[{n}_taken % {each}]", f" && {f}_taken + {f}_moves > {n}_started"
    elif f:
        rest = f"({n}_started - {s.beats}) / {s.block} + 1"
        there = f" && ({n}_started < {s.beats} || {f}_taken >= ({rest}) * {s.block})"
        written = f"\n    if ({f}_moves) {n}_beats[{f}_taken % {s.beats}] <= {f}_data;"
    return PACED.format(
        **fields, depth=s.depth, latency=s.latency, gaps=s.gaps, place=place, there=there,
        written=written, free=_free(n, found),
    )  # fmt: skip


def _free(name: str, found: Vectors) -> str:
    """Return the condition that a stream's interval is over, and that it is its turn."""
    for number, turns in enumerate(found.turns):
        if name in turns.streams:
            return is_free(number, turns.pairs, name)
    return f"now >= {name}_free"


def _sink(s: Sink, found: Vectors) -> str:
    fields = {
        "n": s.name, "top": s.bits - 1, "last": s.total - 1, "per_token": s.per_token,
        "total": s.total,
    }  # fmt: skip
    if not s.checked:
        return TAKEN.format(**fields, free=_free(s.name, found))
    timed = TIMED.format(**fields) if s.timed else ""
    return (CYCLES.format(**fields) if s.timed else "") + SINK.format(**fields, timed=timed)

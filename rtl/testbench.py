"""Write a test bench in Verilog that plays golden vectors and checks what comes out.

It needs no tool of ours: `make icarus` in the exported folder runs it. It says PASS, or names the
first beat that is wrong with both values and ends with an exit status that is not 0.
"""

from __future__ import annotations

from rtl.elaborate import TOP
from rtl.golden import PATIENCE_CYCLES, Sink, Source, Vectors

SOURCE = """
  reg [{top}:0] {n}_beats [0:{last}];
  integer {n}_taken = 0;
  wire {n}_ready;
  wire {n}_valid = {n}_taken < {total};
  wire [{top}:0] {n}_data = {n}_beats[{n}_taken % {beats}];
  initial $readmemh("{n}.beats", {n}_beats);
  always @(posedge clk) if (!rst && {n}_valid && {n}_ready) {n}_taken <= {n}_taken + 1;
"""
# A port of the memory: it starts a beat when its gap is over and a place is free, and gives it
# `latency` cycles later.
PACED = """
  reg [{top}:0] {n}_beats [0:{last}];
  reg [31:0] {n}_gaps [0:{last}];
  reg [31:0] {n}_offered [0:{depth}-1];
  integer {n}_started = 0, {n}_taken = 0, {n}_free = 0;
  wire {n}_ready;
  wire {n}_valid = {n}_taken < {n}_started && {n}_offered[{n}_taken % {depth}] <= now;
  wire [{top}:0] {n}_data = {n}_valid ? {n}_beats[{n}_taken % {beats}] : 0;
  initial begin $readmemh("{n}.beats", {n}_beats); $readmemh("{n}.gaps", {n}_gaps); end
  always @(posedge clk) if (!rst) begin
    if ({n}_started < {total} && now >= {n}_free && {n}_started - {n}_taken < {depth}) begin
      {n}_offered[{n}_started % {depth}] <= now + {latency};
      {n}_free <= now + {n}_gaps[{n}_started % {beats}];
      {n}_started <= {n}_started + 1;
    end
    if ({n}_valid && {n}_ready) {n}_taken <= {n}_taken + 1;
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
    streams = [_source(s) for s in found.sources] + [_sink(s) for s in found.sinks]
    names = [s.name for s in found.sources] + [s.name for s in found.sinks]
    ports = [f".{n}_{w}({n}_{w})" for n in names for w in ("data", "valid", "ready")]
    checked = ", ".join(
        f"{s.name}: {s.total} beats" + (", all in the predicted cycle" if s.timed else "")
        for s in found.sinks
    )
    return BENCH.format(
        streams="".join(streams), top=TOP, ports=",\n    ".join(ports), checked=checked,
        done=" && ".join(f"{s.name}_taken == {s.total}" for s in found.sinks),
        patience=PATIENCE_CYCLES,
    )  # fmt: skip


def _source(s: Source) -> str:
    text = PACED if s.paced else SOURCE
    return text.format(
        n=s.name, top=s.bits - 1, last=s.beats - 1, beats=s.beats, total=s.total, depth=s.depth,
        latency=s.latency,
    )  # fmt: skip


def _sink(s: Sink) -> str:
    fields = {
        "n": s.name, "top": s.bits - 1, "last": s.total - 1, "per_token": s.per_token,
        "total": s.total,
    }  # fmt: skip
    timed = TIMED.format(**fields) if s.timed else ""
    return (CYCLES.format(**fields) if s.timed else "") + SINK.format(**fields, timed=timed)

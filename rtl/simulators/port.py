"""Write in Verilog a port at which streams take turns: so many beats of each, over and over."""

from __future__ import annotations

from collections.abc import Sequence

BEFORE = """
  // {streams} take turns at a port: whose it is, beats that are left of it, when the port is free.
  integer port{k}_at = 0, port{k}_left = {first}, port{k}_free = 0;
  reg [31:0] port{k}_streams [0:{last}], port{k}_counts [0:{last}];
  wire [31:0] port{k}_turn = port{k}_streams[port{k}_at];
  wire [31:0] port{k}_next = port{k}_at == {last} ? 0 : port{k}_at + 1;
  initial begin
{table}
  end
"""
AFTER = """
  wire port{k}_moves = {moves};
  wire [31:0] port{k}_gap = {gap};
  always @(posedge clk) if (!rst && port{k}_moves) begin
    port{k}_free <= now + port{k}_gap;
    port{k}_left <= port{k}_left == 1 ? port{k}_counts[port{k}_next] : port{k}_left - 1;
    if (port{k}_left == 1) port{k}_at <= port{k}_next;
  end
"""


def shared_port(number: int, pairs: Sequence[tuple[str, int]]) -> tuple[str, str]:
    """Return the counters of a port, and what moves them; `pairs` are turns: stream and beats.

    The counters stand before the streams, and give port<number>_turn, the number of the stream in
    order of first turns, and port<number>_free; what moves them stands behind the streams, and
    takes the wires x_moves and x_gap of each.
    """
    streams = list(dict.fromkeys(name for name, _ in pairs))
    table = [
        f"    port{number}_streams[{at}] = {streams.index(name)}; "
        f"port{number}_counts[{at}] = {beats};"
        for at, (name, beats) in enumerate(pairs)
    ]
    before = BEFORE.format(
        k=number, streams=", ".join(streams), first=pairs[0][1], last=len(pairs) - 1,
        table="\n".join(table),
    )  # fmt: skip
    gap = "".join(f"{n}_moves ? {n}_gap : " for n in streams[:-1]) + f"{streams[-1]}_gap"
    return before, AFTER.format(k=number, gap=gap, moves=" || ".join(f"{n}_moves" for n in streams))


def is_free(number: int, pairs: Sequence[tuple[str, int]], stream: str) -> str:
    """Return the condition that a stream's interval is over, and that it is its turn."""
    at = list(dict.fromkeys(name for name, _ in pairs)).index(stream)
    return f"now >= {stream}_free && now >= port{number}_free && port{number}_turn == {at}"

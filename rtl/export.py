"""Write a PyRTL block as a Verilog module: the one place where wires become text.

Every net is one declaration whose operands have exactly the width that its operator has in PyRTL,
so that Verilog's rules of widening never come into play. Only the low bits that someone looks at
are computed; what nobody looks at is left out. The bytes depend on the block alone, not on the
process: unnamed wires are numbered in the order of evaluation.

PyRTL's own exporter (1.0.3) is not used: it inlines `~x` into wider sums, recurses once per net,
leaves memories without their data and keywords as names, and cannot write `n`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

import pyrtl

from rtl.names import Names, is_unnamed
from rtl.netlist import Block, Net, is_rom, memories, nets_of, ports, rom_data

# A table of more words than this is a file of its own.
MOST_INLINE_WORDS = 256
# What `verilator -Wall` may say of a module, and why.
ACCEPTED_LINT: Mapping[str, str] = {
    "UNUSEDSIGNAL": "rounding and shifting drop low bits, and a port is as wide as its type",
}


@dataclass(frozen=True)
class Verilog:
    """Hold a module: its text, its data files by name, and what each port is called in it."""

    name: str
    text: str
    files: Mapping[str, str]
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]
    widths: Mapping[str, int]
    has_clock: bool
    has_reset: bool


def export(block: Block, name: str) -> Verilog:
    """Return a block as a Verilog module; raise UserError for a name that Verilog cannot have.

    Registers with a reset value are set by `rst`, at a clock edge; the others hold data that nobody
    reads before it is written. So do memories: they start with nothing in them.
    """
    return _Writer(block, name).module()


class _Writer:
    def __init__(self, block: Block, name: str) -> None:
        self.block = block
        self.names = Names(name)
        self.into, self.out = ports(block)
        alive = _alive(block)
        self.live = _live_bits(block, alive)
        self.nets = [n for n in alive if n.op == "@" or n.dests[0].name in self.live]
        self.files: dict[str, str] = {}
        for wire in (*self.into, *self.out):
            self.names.port(wire.name)
        registers = [n.dests[0] for n in self.nets if n.op == "r"]
        held = {n.op_param[0] for n in self.nets if n.op in "m@"}
        self.memories = [m for m in memories(block) if m.id in held]
        for memory in self.memories:
            wanted = "table" if is_unnamed(memory.name) else memory.name
            self.names.add(("memory", memory.id), wanted)
        named = [w for net in self.nets for w in net.dests if not is_unnamed(w.name)]
        for wire in sorted(named, key=lambda w: str(w.name)):
            if not isinstance(wire, pyrtl.Output):
                self.names.add(wire.name, wire.name)
        for number, wire in enumerate(w for w in registers if is_unnamed(w.name)):
            self.names.add(wire.name, f"r{number}")
        self.steady: list[Net] = []
        unnamed = count()
        for net in self.nets:
            if net.op in "r@":
                continue
            wire = net.dests[0]
            if is_unnamed(wire.name) and self._is_alias(net):
                self.names.same(wire.name, net.args[0].name)
                continue
            if is_unnamed(wire.name):
                self.names.add(wire.name, f"n{next(unnamed)}")
            self.steady.append(net)

    def module(self) -> Verilog:
        registers = [n for n in self.nets if n.op == "r"]
        writes = [n for n in self.nets if n.op == "@"]
        resets = [n for n in registers if n.dests[0].reset_value is not None]
        has_clock, has_reset = bool(registers or writes), bool(resets)
        declared = ["input wire clk"] * has_clock + ["input wire rst"] * has_reset
        declared += [f"input wire {_range(len(w))}{self.names[w.name]}" for w in self.into]
        declared += [f"output wire {_range(len(w))}{self.names[w.name]}" for w in self.out]
        lines = [f"module {self.names.module} ("]
        lines += [f"  {text}{',' * (k + 1 < len(declared))}" for k, text in enumerate(declared)]
        lines.append(");")
        for memory in self.memories:
            lines += self._memory(memory)
        for net in registers:
            wire = net.dests[0]
            lines.append(f"  reg {_range(self._bits(wire))}{self.names[wire.name]};")
        lines += [self._steady(net) for net in self.steady]
        lines += self._clocked([n for n in registers if n not in resets], resets, writes)
        lines.append("endmodule")
        return Verilog(
            self.names.module, "\n".join(lines) + "\n", self.files,
            {w.name: self.names[w.name] for w in self.into},
            {w.name: self.names[w.name] for w in self.out},
            {w.name: len(w) for w in (*self.into, *self.out)}, has_clock, has_reset,
        )  # fmt: skip

    def _is_alias(self, net: Net) -> bool:
        """Tell whether a net only passes on all that is looked at of another wire."""
        source, bits = net.args[0], self._bits(net.dests[0])
        if net.op not in "ws" or isinstance(source, pyrtl.Const) or bits != self._bits(source):
            return False
        return net.op == "w" or list(net.op_param[:bits]) == list(range(bits))

    def _bits(self, wire: Any) -> int:
        """Return the declared width of a wire: inside, only the bits that are looked at."""
        if isinstance(wire, pyrtl.Output | pyrtl.Input):
            return len(wire)
        return max(1, self.live[wire.name])

    def _fit(self, wire: Any, bits: int) -> str:
        """Return a wire as an expression of exactly `bits` bits: cut, or with zeros in front."""
        if isinstance(wire, pyrtl.Const):
            return f"{bits}'h{wire.val & ((1 << bits) - 1):x}"
        own, name = self._bits(wire), self.names[wire.name]
        if bits == own:
            return name
        if bits < own:
            return f"{name}[{_to(bits - 1, 0)}]"
        return f"{{{bits - own}'h0, {name}}}"

    def _steady(self, net: Net) -> str:
        wire = net.dests[0]
        bits = self._bits(wire)
        name = self.names[wire.name]
        text = self._expression(net, bits)
        if isinstance(wire, pyrtl.Output):
            return f"  assign {name} = {text};"
        return f"  wire {_range(bits)}{name} = {text};"

    def _expression(self, net: Net, bits: int) -> str:
        op, args = net.op, net.args
        if op in "+-*&|^":
            return f"{self._fit(args[0], bits)} {op} {self._fit(args[1], bits)}"
        if op == "n":
            return f"~({self._fit(args[0], bits)} & {self._fit(args[1], bits)})"
        if op in "=<>":
            wide = max(len(a) for a in args)
            sign = "==" if op == "=" else op
            return f"{self._fit(args[0], wide)} {sign} {self._fit(args[1], wide)}"
        if op == "~":
            return f"~{self._fit(args[0], bits)}"
        if op == "w":
            return self._fit(args[0], bits)
        if op == "x":
            flag = self._fit(args[0], 1)
            return f"{flag} ? {self._fit(args[2], bits)} : {self._fit(args[1], bits)}"
        if op == "c":
            return self._joined(args, bits)
        if op == "s":
            return self._selected(args[0], net.op_param[:bits])
        memory = net.op_param[1]
        word = f"{self.names['memory', memory.id]}[{self._fit(args[0], memory.addrwidth)}]"
        return word if bits == memory.bitwidth else f"{word}[{_to(bits - 1, 0)}]"

    def _joined(self, args: Sequence[Any], bits: int) -> str:
        parts: list[str] = []
        for wire in reversed(args):
            if bits <= 0:
                break
            take = min(bits, len(wire))
            parts.append(self._fit(wire, take))
            bits -= take
        return parts[0] if len(parts) == 1 else "{" + ", ".join(reversed(parts)) + "}"

    def _selected(self, wire: Any, picked: Sequence[int]) -> str:
        if isinstance(wire, pyrtl.Const):
            value = sum((wire.val >> b & 1) << k for k, b in enumerate(picked))
            return f"{len(picked)}'h{value:x}"
        name, own = self.names[wire.name], self._bits(wire)
        parts, at = [], 0
        while at < len(picked):
            stop = at + 1
            while stop < len(picked) and picked[stop] == picked[stop - 1] + 1:
                stop += 1
            same = at + 1
            while same < len(picked) and picked[same] == picked[at]:
                same += 1
            if same > stop:
                bit = f"{name}[{picked[at]}]" if own > 1 else name
                parts.append(f"{{{same - at}{{{bit}}}}}")
                at = same
                continue
            first, last = picked[at], picked[stop - 1]
            whole = first == 0 and last == own - 1
            parts.append(name if whole else f"{name}[{_to(last, first)}]")
            at = stop
        return parts[0] if len(parts) == 1 else "{" + ", ".join(reversed(parts)) + "}"

    def _memory(self, memory: Any) -> list[str]:
        name = self.names["memory", memory.id]
        size = 1 << memory.addrwidth
        lines = [f"  reg {_range(memory.bitwidth)}{name} [0:{size - 1}];"]
        if not is_rom(memory):
            return lines
        data, digits = rom_data(memory), -(-memory.bitwidth // 4)
        if size > MOST_INLINE_WORDS:
            file = f"{self.names.module}_{name}.mem"
            self.files[file] = "".join(f"{v:0{digits}x}\n" for v in data)
            return [*lines, f'  initial $readmemh("{file}", {name});']
        lines.append("  initial begin")
        lines += [f"    {name}[{k}] = {memory.bitwidth}'h{v:x};" for k, v in enumerate(data)]
        return [*lines, "  end"]

    def _clocked(self, free: list[Net], resets: list[Net], writes: list[Net]) -> list[str]:
        def sets(net: Net) -> str:
            wire = net.dests[0]
            return f"{self.names[wire.name]} <= {self._fit(net.args[0], self._bits(wire))};"

        lines = []
        if free or writes:
            lines.append("  always @(posedge clk) begin")
            lines += [f"    {sets(n)}" for n in free]
            for net in writes:
                memory, (addr, data, enable) = net.op_param[1], net.args
                place = f"{self.names['memory', memory.id]}[{self._fit(addr, memory.addrwidth)}]"
                value = self._fit(data, memory.bitwidth)
                lines.append(f"    if ({self._fit(enable, 1)}) {place} <= {value};")
            lines.append("  end")
        if resets:
            lines += ["  always @(posedge clk) begin", "    if (rst) begin"]
            for net in resets:
                wire = net.dests[0]
                bits = self._bits(wire)
                value = wire.reset_value & ((1 << bits) - 1)
                lines.append(f"      {self.names[wire.name]} <= {bits}'h{value:x};")
            lines += ["    end else begin", *(f"      {sets(n)}" for n in resets)]
            lines += ["    end", "  end"]
        return lines


def _alive(block: Block) -> list[Net]:
    """Return the nets that an output depends on, in the order of evaluation."""
    nets = nets_of(block)
    driver = {w.name: n for n in nets for w in n.dests}
    writers: dict[int, list[Net]] = {}
    for net in nets:
        if net.op == "@":
            writers.setdefault(net.op_param[0], []).append(net)
    todo = [driver[w.name] for w in ports(block)[1]]
    seen: set[int] = set()
    while todo:
        net = todo.pop()
        if id(net) in seen:
            continue
        seen.add(id(net))
        todo += [driver[a.name] for a in net.args if a.name in driver]
        if net.op == "m":
            todo += writers.get(net.op_param[0], [])
    return [n for n in nets if id(n) in seen]


def _live_bits(block: Block, nets: list[Net]) -> dict[str, int]:
    """Return for each wire how many of its low bits are looked at.

    Registers take part: a bit of a register is looked at where a bit behind it is.
    """
    driver = {w.name: net for net in nets for w in net.dests}
    live: dict[str, int] = {}
    todo: list[tuple[Any, int]] = [(w, len(w)) for w in ports(block)[1]]
    for net in nets:
        if net.op == "@":
            todo += [(a, len(a)) for a in net.args]
    while todo:
        wire, bits = todo.pop()
        bits = min(bits, len(wire))
        if bits <= live.get(wire.name, 0):
            continue
        live[wire.name] = bits
        if wire.name in driver:
            todo += _looked_at(driver[wire.name], bits)
    return live


def _looked_at(net: Net, bits: int) -> list[tuple[Any, int]]:
    """Return how many low bits of its operands a net needs for `bits` low bits of its result."""
    if net.op in "+-*&|^n~wr":
        return [(a, bits) for a in net.args]
    if net.op == "x":
        return list(zip(net.args, (1, bits, bits), strict=True))
    if net.op == "s":
        return [(net.args[0], max(net.op_param[:bits]) + 1)]
    if net.op != "c":
        return [(a, len(a)) for a in net.args]
    found = []
    for wire in reversed(net.args):
        if bits > 0:
            found.append((wire, min(bits, len(wire))))
        bits -= len(wire)
    return found


def _range(bits: int) -> str:
    return "" if bits == 1 else f"[{bits - 1}:0] "


def _to(last: int, first: int) -> str:
    return str(first) if last == first else f"{last}:{first}"

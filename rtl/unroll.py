"""Run a block cycle by cycle on symbols: data are terms, control stays integers.

What no reset sets is unknown at first, registers and memories alike, so that a proof holds whatever
they start from. Flags of streams, addresses of memories and what enables a write must be known in
every cycle: a block whose control depends on data is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyrtl

from cosim.ir.errors import InternalError
from rtl.netlist import Block, is_rom, nets_of, ports, rom_data
from rtl.terms import Rom, Terms, Value

# What a wire holds in this cycle, to what it is taken for: a proof puts a variable in its place.
Tap = Callable[[Value], Value]


@dataclass
class Unrolled:
    """Hold a block in some cycle: its registers, its memories, its wires."""

    block: Block
    terms: Terms
    taps: Mapping[str, Tap] = field(default_factory=dict)
    cycle: int = 0

    def __post_init__(self) -> None:
        """Begin after reset."""
        self._nets = [n for n in nets_of(self.block) if n.op not in "r@"]
        self._registers = [n for n in nets_of(self.block) if n.op == "r"]
        self._writes = [n for n in nets_of(self.block) if n.op == "@"]
        self._words: dict[int, dict[int, Value]] = {}
        self._roms: dict[int, Rom] = {}
        self.value: dict[str, Value] = {
            w.name: w.val for w in self.block.wirevector_subset(pyrtl.Const)
        }
        for net in self._registers:
            register = net.dests[0]
            first: Value | None = register.reset_value
            unknown = f"unknown {register.name}"
            self.value[register.name] = (
                self.terms.variable(unknown, len(register)) if first is None else first
            )

    def settle(self, inputs: Mapping[str, Value]) -> None:
        """Let the wires follow from the inputs and the registers."""
        for wire in ports(self.block)[0]:
            self.value[wire.name] = inputs[wire.name]
        for name in self.taps.keys() & self.value.keys():
            if name in inputs or name in self._register_names():
                self.value[name] = self.taps[name](self.value[name])
        for net in self._nets:
            name = net.dests[0].name
            args = [self.value[a.name] for a in net.args]
            found = self._read(net, args[0]) if net.op == "m" else self._apply(net, args)
            self.value[name] = self.taps[name](found) if name in self.taps else found

    def tick(self) -> None:
        """Let the registers and the memories take what stands before them."""
        following = {n.dests[0].name: self.value[n.args[0].name] for n in self._registers}
        for net in self._writes:
            address, data, enable = (self.value[a.name] for a in net.args)
            if self.known(enable, net) and isinstance(address, int):
                self._words.setdefault(net.op_param[0], {})[address] = data
            elif self.known(enable, net):
                raise InternalError(f"{net} writes where the data say")
        self.value.update(following)
        self.cycle += 1

    def known(self, value: Value, what: object) -> int:
        """Return what must not depend on data; raise InternalError where it does."""
        if not isinstance(value, int):
            raise InternalError(f"{what} depends on data in cycle {self.cycle}")
        return value

    def _register_names(self) -> set[str]:
        return {n.dests[0].name for n in self._registers}

    def _apply(self, net: Any, args: list[Value]) -> Value:
        widths = [len(a) for a in net.args]
        param = net.op_param if net.op == "s" else None
        return self.terms.apply(net.op, param, args, widths, len(net.dests[0]))

    def _read(self, net: Any, address: Value) -> Value:
        number, memory = net.op_param
        if is_rom(memory):
            if number not in self._roms:
                self._roms[number] = Rom(rom_data(memory))
            widths = [len(net.args[0])]
            return self.terms.apply("rom", self._roms[number], [address], widths, memory.bitwidth)
        if not isinstance(address, int):
            return self.terms.variable(f"word of {memory.name} in {self.cycle}", memory.bitwidth)
        words = self._words.setdefault(number, {})
        if address not in words:
            unknown = f"unknown {memory.name} {address}"
            words[address] = self.terms.variable(unknown, memory.bitwidth)
        return words[address]

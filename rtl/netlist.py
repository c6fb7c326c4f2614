"""Walk a PyRTL block: its nets in the order of evaluation, its wires and memories in a fixed order.

PyRTL keeps wires and nets in sets, and numbers unnamed wires over the whole process. Everything
that is written out goes by the order given here, which is the same in every process.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import pyrtl

from cosim.ir.errors import InternalError

# pyrtl.Block, pyrtl.LogicNet and pyrtl.MemBlock; the library ships no types.
Block: TypeAlias = Any
Net: TypeAlias = Any
Memory: TypeAlias = Any


@contextmanager
def building() -> Iterator[Block]:
    """Open a new block as the working block; check it at the end."""
    block = pyrtl.Block()
    with pyrtl.set_working_block(block, no_sanity_check=True):
        yield block
    block.sanity_check()


def ports(block: Block) -> tuple[list[Any], list[Any]]:
    """Return the inputs and the outputs of a block, each in the order of their names."""
    into = sorted(block.wirevector_subset(pyrtl.Input), key=lambda w: str(w.name))
    out = sorted(block.wirevector_subset(pyrtl.Output), key=lambda w: str(w.name))
    return into, out


def nets_of(block: Block) -> list[Net]:
    """Return the nets in the order of evaluation: registers and memory writes come last.

    Nets that could come in any order stand as they were made.
    """
    made = _as_made(block)
    driver = {w.name: net for net in made for w in net.dests if net.op != "r"}
    done: set[int] = set()
    ordered: list[Net] = []
    for root in made:
        if root.op in "r@":
            continue
        # Depth first without recursion: a chain may be thousands of nets deep.
        stack = [root]
        open_: set[int] = set()
        while stack:
            net = stack[-1]
            if id(net) in done:
                stack.pop()
                continue
            needs = [driver[w.name] for w in net.args if w.name in driver]
            missing = [n for n in needs if id(n) not in done]
            if missing:
                if id(net) in open_:
                    raise InternalError(f"a loop of wires passes {net}")
                open_.add(id(net))
                stack.extend(reversed(missing))
                continue
            done.add(id(net))
            ordered.append(stack.pop())
    return ordered + [n for n in made if n.op in "r@"]


def memories(block: Block) -> list[Memory]:
    """Return the memories in the order in which they were made."""
    found = {net.op_param[0]: net.op_param[1] for net in block.logic_subset("m@")}
    return [found[k] for k in sorted(found)]


def is_rom(memory: Memory) -> bool:
    """Tell whether a memory is read only."""
    return isinstance(memory, pyrtl.RomBlock)


def rom_data(memory: Memory) -> list[int]:
    """Return the contents of a read-only memory; what is not given is 0."""
    data = memory.data
    size = 1 << memory.addrwidth
    if callable(data):
        return [int(data(k)) for k in range(size)]
    values = [int(v) for v in data][:size]
    return values + [0] * (size - len(values))


def _as_made(block: Block) -> list[Net]:
    """Return the nets in an order that depends on the block alone.

    A wire's name tells when it was made: PyRTL numbers unnamed ones. Named ones go by name, before.
    """
    return sorted(block.logic, key=_net_key)


def _net_key(net: Net) -> tuple[Any, ...]:
    wire = net.dests[0].name if net.dests else ""
    args = tuple(_name_key(a.name) for a in net.args)
    return (net.op in "r@", _name_key(wire), net.op, args)


def _name_key(name: str) -> tuple[int, int, str]:
    for prefix in ("tmp", "const_"):
        digits = name.removeprefix(prefix).split("_")[0]
        if name.startswith(prefix) and digits.isdigit():
            return (1, int(digits), prefix)
    return (0, 0, str(name))

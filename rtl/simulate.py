"""Run a block or its Verilog on beats, gaps and stalls: one call, four simulators, equal cycles.

Glossary:
    stream   the ports x_data, x_valid, x_ready: a beat moves in a cycle in which both flags are set
    feed     what drives an input stream: an actor that starts a beat when its interval is over and
             fewer than `depth` beats wait, and offers it `latency` cycles later
    drain    what takes an output stream: it is ready when its interval is over
    cycle 0  the first cycle after reset, in which a unit may already work
These are the rules of the timed dataflow (docs/design.md section 5): a feed is a source with a FIFO
of `depth` places behind it, a drain a sink; so patterns of gaps and stalls are intervals.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import metadata

from cosim.ir.errors import UserError
from rtl.export import Verilog, export
from rtl.netlist import Block, ports
from rtl.simulators import compiled, icarus, python, verilator
from rtl.simulators.setup import Drain, Feed, Setup, Starved, Trace, Turns

LIMIT_CYCLES = 1_000_000

# Of the block itself, and of the Verilog that is exported from it.
ON_BLOCK: Mapping[str, Callable[[Block, Setup], Trace]] = {
    "pyrtl": python.run,
    "compiled": compiled.run,
}
ON_VERILOG: Mapping[str, Callable[[Verilog, Setup], Trace]] = {
    "icarus": icarus.run,
    "verilator": verilator.run,
}
SIMULATORS = (*ON_BLOCK, *ON_VERILOG)

__all__ = ["SIMULATORS", "Drain", "Feed", "Starved", "Trace", "Turns", "simulate", "tool_text",
           "watched"]  # fmt: skip


def simulate(
    design: Block | Verilog,
    feeds: Mapping[str, Feed],
    drains: Mapping[str, Drain],
    simulator: str = "pyrtl",
    limit_cycles: int = LIMIT_CYCLES,
    held: Mapping[str, int] | None = None,
    turns: Sequence[Turns] = (),
) -> Trace:
    """Run until every drain has its beats; return the beats and the cycle of each.

    `held` are inputs that are no streams and keep their value; `turns` say of ports at which
    several streams are served. Raise UserError where a simulator
    is not there or unknown, a port is not driven, or (Starved) a drain starves until the limit.
    """
    if simulator not in SIMULATORS:
        raise UserError(f"no simulator {simulator!r}; choose one of {', '.join(SIMULATORS)}")
    if isinstance(design, Verilog):
        widths, inputs = dict(design.widths), set(design.inputs)
        if simulator in ON_BLOCK:
            raise UserError(
                f"{simulator} runs a block, not the Verilog of {design.name}; choose one of "
                f"{', '.join(ON_VERILOG)}"
            )
    else:
        into, out = ports(design)
        widths = {w.name: len(w) for w in (*into, *out)}
        inputs = {w.name for w in into}
    setup = Setup(dict(feeds), dict(drains), dict(held or {}), limit_cycles, widths, turns)
    setup.check(inputs)
    if isinstance(design, Verilog):
        return ON_VERILOG[simulator](design, setup)
    if simulator in ON_BLOCK:
        return ON_BLOCK[simulator](design, setup)
    return ON_VERILOG[simulator](export(design, "dut"), setup)


def watched(
    block: Block,
    feeds: Mapping[str, Feed],
    drains: Mapping[str, Drain],
    limit_cycles: int = LIMIT_CYCLES,
) -> tuple[Trace, dict[str, tuple[int, ...]]]:
    """Run a block in PyRTL as `simulate` does; return each port's value in every cycle too."""
    into, out = ports(block)
    widths = {w.name: len(w) for w in (*into, *out)}
    setup = Setup(dict(feeds), dict(drains), {}, limit_cycles, widths)
    setup.check({w.name for w in into})
    seen: list[Mapping[str, int]] = []
    trace = python.run(block, setup, seen.append)
    return trace, {name: tuple(cycle[name] for cycle in seen) for name in widths}


def tool_text(simulator: str) -> str:
    """Name a simulator with its version; raise UserError where it is not there."""
    texts: Mapping[str, Callable[[], str]] = {
        "pyrtl": lambda: f"PyRTL {metadata.version('pyrtl')}",
        "compiled": lambda: f"PyRTL {metadata.version('pyrtl')}, compiled",
        "icarus": icarus.version_text,
        "verilator": verilator.version_text,
    }
    return texts[simulator]()

"""Write a whole design as Verilog: a module for each unit, and a top that only joins them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from cosim.ir.errors import InternalError
from rtl.elaborate import TOP, Elaboration
from rtl.export import Verilog, export

# The flags and the data of a stream, and whether they go with it.
WIRES = (("data", True), ("valid", True), ("ready", False))


@dataclass(frozen=True)
class Hierarchy:
    """Hold the modules of a design by unit, and its top."""

    modules: Mapping[str, Verilog]
    top: Verilog

    @property
    def all(self) -> tuple[Verilog, ...]:
        """Return every module, the top last."""
        return (*self.modules.values(), self.top)

    @property
    def files(self) -> dict[str, str]:
        """Return the files of the design by name: a module each, and their data."""
        found: dict[str, str] = {}
        for module in self.all:
            found[f"{module.name}.v"] = module.text
            found.update(module.files)
        return found

    @property
    def whole(self) -> Verilog:
        """Return all modules as one text, with the ports of the top."""
        data = {name: text for m in self.all for name, text in m.files.items()}
        t = self.top
        return Verilog(
            t.name, "".join(m.text for m in self.all), data, t.inputs, t.outputs, t.widths,
            t.has_clock, t.has_reset,
        )  # fmt: skip


def export_all(made: Elaboration, told: Callable[[int, int], None] | None = None) -> Hierarchy:
    """Build and write every unit of a design, one after another, and the top.

    `told` hears how many units are done of how many.
    """
    modules = {}
    for unit, block in made.blocks(told):
        modules[unit] = export(block, made.modules[unit])
    return Hierarchy(modules, _top(made, modules))


def _top(made: Elaboration, modules: Mapping[str, Verilog]) -> Verilog:
    makers, takers = _ends(modules)
    inside = sorted(makers.keys() & takers.keys())
    ports = sorted(makers.keys() ^ takers.keys())
    widths: dict[str, int] = {}
    inputs: dict[str, str] = {}
    outputs: dict[str, str] = {}
    declared = ["input wire clk", "input wire rst"]
    for stream in ports:
        module = makers.get(stream) or takers[stream]
        for wire, goes_along in WIRES:
            name = f"{stream}_{wire}"
            widths[name] = module.widths[name]
            is_input = (stream in takers) == goes_along
            (inputs if is_input else outputs)[name] = name
            way = "input" if is_input else "output"
            declared.append(f"{way} wire {_range(widths[name])}{name}")
    lines = [f"module {TOP} ("]
    lines += [f"  {text}{',' * (k + 1 < len(declared))}" for k, text in enumerate(declared)]
    lines.append(");")
    for stream in inside:
        bits, taken = (m[stream].widths[f"{stream}_data"] for m in (makers, takers))
        if bits != taken:
            raise InternalError(f"stream {stream!r} is {bits} bits wide, and {taken} where it ends")
        lines += [f"  wire {_range(bits if w == 'data' else 1)}{stream}_{w};" for w, _ in WIRES]
    for unit, module in modules.items():
        joined = [f".{p}({p})" for p in ("clk", "rst")]
        joined = joined[: module.has_clock] + joined[1:][: module.has_reset]
        joined += [f".{p}({p})" for p in sorted((*module.inputs, *module.outputs))]
        lines.append(f"  {module.name} {made.modules[unit]}_unit (")
        lines += [f"    {text}{',' * (k + 1 < len(joined))}" for k, text in enumerate(joined)]
        lines.append("  );")
    lines.append("endmodule")
    return Verilog(TOP, "\n".join(lines) + "\n", {}, inputs, outputs, widths, True, True)


def _ends(modules: Mapping[str, Verilog]) -> tuple[dict[str, Verilog], dict[str, Verilog]]:
    """Return who gives and who takes each stream, by its name."""
    makers: dict[str, Verilog] = {}
    takers: dict[str, Verilog] = {}
    for module in modules.values():
        for ports, ends in ((module.outputs, makers), (module.inputs, takers)):
            for port in ports:
                if not port.endswith("_valid"):
                    continue
                stream = port.removesuffix("_valid")
                if stream in ends:
                    raise InternalError(f"stream {stream!r} has two ends in {module.name}")
                ends[stream] = module
    return makers, takers


def _range(bits: int) -> str:
    return "" if bits == 1 else f"[{bits - 1}:0] "

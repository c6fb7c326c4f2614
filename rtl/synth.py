"""Synthesise a Verilog module with yosys: what it takes of an FPGA, and how long its paths are.

Counts are yosys' own, for AMD's primitives. It packs no registers into a DSP48E2 and puts one
product into each, so that LUT, FF and DSP are above what the maker's tool would need; no figure
here comes from that tool. URAM is used where the module's memories ask for it.

Glossary:
    level    a cell on the longest way between two registers; a register is none
    delay    the levels weighed by DELAYS: only good to compare two modules with each other
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from cosim.ir.errors import UserError
from cosim.ir.write import write_file
from rtl.export import Verilog
from rtl.simulators.bench import cache_folder

FAMILIES: Mapping[str, str] = {"xcup": "UltraScale+", "xc7": "7 series"}
# LUTs that a memory or shift register of LUTs takes (AMD UG574, table 2-1 and following).
LUTS_OF: Mapping[str, int] = {
    "RAM16X1D": 1, "RAM32X1S": 1, "RAM32X1D": 2, "RAM64X1S": 1, "RAM64X1D": 2, "RAM128X1S": 2,
    "RAM128X1D": 4, "RAM256X1S": 4, "RAM256X1D": 8, "RAM512X1S": 8, "RAM32M": 4, "RAM64M": 4,
    "RAM32M16": 8, "RAM64M8": 8, "SRL16E": 1, "SRLC16E": 1, "SRLC32E": 1,
}  # fmt: skip
FFS = ("FDRE", "FDSE", "FDCE", "FDPE")
DSPS = ("DSP48E1", "DSP48E2")
HALF_BRAMS: Mapping[str, int] = {"RAMB18E1": 1, "RAMB18E2": 1, "RAMB36E1": 2, "RAMB36E2": 2}
URAMS = ("URAM288", "URAM288_BASE")
# Relative delays, wires included: assumed, from the ratios in AMD DS922's tables (a LUT with its
# wire 1; a carry cell's four bits a tenth of it; an unregistered DSP product four).
DELAYS: Mapping[str, float] = {
    "CARRY4": 0.1,
    "CARRY8": 0.1,
    "MUXF7": 0.2,
    "MUXF8": 0.2,
    "MUXF9": 0.2,
}
LUT_DELAY, DSP_DELAY = 1.0, 4.0
# A path starts and ends at these: registers and memories that are read with a clock.
STOPS = (*FFS, *HALF_BRAMS, *URAMS)
# Memories and shift registers of LUTs are written with a clock, and read without: a path goes
# through them from an address, and ends at their other inputs.
ADDRESSES = ("A", "DPRA")
LIMIT_SECONDS = 1800
_RUN = """
import sys
from pyosys import libyosys
libyosys.run_pass("script " + sys.argv[1], libyosys.Design())
"""


@dataclass(frozen=True)
class Synthesis:
    """Hold what a module takes, by resource, and its longest path; `tool` says who counted."""

    module: str
    family: str
    luts: int
    ffs: int
    dsps: int
    half_brams: int
    urams: int
    levels: int
    delay: float
    tool: str

    @property
    def brams(self) -> float:
        """Return the BRAMs of 36 Kib; one of 18 Kib is a half."""
        return self.half_brams / 2


def kept(verilog: Verilog, family: str) -> Path:
    """Return the file that keeps a module's figures, so that the same text is counted once."""
    parts = ["synth", family, version(), verilog.name, verilog.text]
    return (
        cache_folder("\0".join([*parts, *map(str, sorted(verilog.files.items()))])) / "synth.json"
    )


def version() -> str:
    """Return the version of yosys; raise UserError where it is not there."""
    try:
        return metadata.version("pyosys")
    except metadata.PackageNotFoundError:
        raise UserError(
            "yosys is not installed; install the extra: pip install 'cosim-toolkit[rtl]'"
        ) from None


def synthesised(verilog: Verilog, family: str = "xcup") -> Synthesis:
    """Return what a module takes, as `synthesise` does; what is known of the same text is read."""
    path = kept(verilog, family)
    if path.exists():
        with suppress(ValueError, TypeError):
            return Synthesis(**json.loads(path.read_text()))
    found = synthesise(verilog, family)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, json.dumps(asdict(found)))
    return found


def synthesise(
    verilog: Verilog, family: str = "xcup", others: Mapping[str, str] | None = None
) -> Synthesis:
    """Return what a module takes, out of context: without pads and clock buffers.

    `others` are the texts of modules that it contains, by name. Raise UserError where the family is
    unknown, yosys is not there, or it refuses the module.
    """
    if family not in FAMILIES:
        raise UserError(
            f"no family {family!r} to synthesise for; choose one of {', '.join(FAMILIES)}"
        )
    version()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        texts = {verilog.name: verilog.text, **(others or {})}
        for name, text in texts.items():
            (folder / f"{name}.v").write_text(text)
        for name, text in verilog.files.items():
            (folder / name).write_text(text)
        script = [f"read_verilog {name}.v" for name in texts]
        script.append(
            f"synth_xilinx -family {family} -top {verilog.name} -flatten -noiopad -noclkbuf"
            + (" -uram" if family == "xcup" else "")
        )
        script.append("write_json netlist.json")
        (folder / "synth.ys").write_text("\n".join(script) + "\n")
        _yosys(folder, verilog.name)
        netlist = json.loads((folder / "netlist.json").read_text())
    return _counted(netlist, verilog.name, family)


def _yosys(folder: Path, name: str) -> None:
    """Run the script in a process of its own: yosys ends the process where it meets an error."""
    try:
        ran = subprocess.run(
            [sys.executable, "-c", _RUN, "synth.ys"],
            cwd=folder, capture_output=True, text=True, timeout=LIMIT_SECONDS, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise UserError(
            f"module {name}: yosys is not done after {LIMIT_SECONDS} s; try its units one by "
            "one, or fewer lanes"
        ) from None
    if ran.returncode or not (folder / "netlist.json").exists():
        said = [line for line in (ran.stderr + ran.stdout).splitlines() if "ERROR" in line]
        raise UserError(
            f"module {name}: yosys refuses it ({' '.join(said[:1]) or 'no reason given'})"
        )


def _counted(netlist: Mapping[str, Any], name: str, family: str) -> Synthesis:
    cells = netlist["modules"][name]["cells"]
    count = Counter(cell["type"] for cell in cells.values())
    luts = sum(n for t, n in count.items() if t.startswith("LUT"))
    luts += sum(LUTS_OF[t] * n for t, n in count.items() if t in LUTS_OF)
    levels, delay = _longest(cells)
    return Synthesis(
        name, family, luts,
        sum(count[t] for t in FFS), sum(count[t] for t in DSPS),
        sum(n * count[t] for t, n in HALF_BRAMS.items()), sum(count[t] for t in URAMS),
        levels, round(delay, 1), netlist["creator"].split(" (")[0],
    )  # fmt: skip


def _delay(cell: Mapping[str, Any]) -> float:
    kind = cell["type"]
    if kind == "INV":  # merged into the LUT behind it
        return 0.0
    if kind in DSPS:
        return DSP_DELAY
    return DELAYS.get(kind, LUT_DELAY)


def _longest(cells: Mapping[str, Mapping[str, Any]]) -> tuple[int, float]:
    """Return levels and delay of the slowest way between two registers, or to or from a port."""
    driver: dict[int, str] = {}
    for name, cell in cells.items():
        for bit in _bits(cell, "output"):
            driver[bit] = name
    arrival: dict[str, tuple[float, int]] = {}
    for root in cells:
        stack = [root]
        while stack:
            name = stack[-1]
            if name in arrival:
                stack.pop()
                continue
            before = _before(cells, driver, name)
            missing = [b for b in before if b not in arrival]
            if missing:
                stack.extend(missing)
                continue
            latest = max((arrival[b] for b in before), default=(0.0, 0))
            own = _delay(cells[name])
            arrival[name] = latest[0] + own, latest[1] + (own > 0)
            stack.pop()
    # A register's own entry is the way that ends at it.
    ends = [
        max((arrival[b] for b in _sources(cells, driver, name)), default=(0.0, 0))
        for name, cell in cells.items() if cell["type"] in STOPS or cell["type"] in LUTS_OF
    ] + [arrival[name] for name, cell in cells.items() if cell["type"] not in STOPS]  # fmt: skip
    delay, levels = max(ends, default=(0.0, 0))
    return levels, delay


def _before(
    cells: Mapping[str, Mapping[str, Any]], driver: Mapping[int, str], name: str
) -> list[str]:
    """Return the cells whose outputs a cell waits for; a register waits for none."""
    kind = cells[name]["type"]
    if kind in STOPS:
        return []
    return _sources(cells, driver, name, ADDRESSES if kind in LUTS_OF else ("",))


def _sources(
    cells: Mapping[str, Mapping[str, Any]],
    driver: Mapping[int, str],
    name: str,
    ports: tuple[str, ...] = ("",),
) -> list[str]:
    """Return the cells that drive inputs whose names begin so; none that has a clock."""
    found = {driver[bit] for bit in _bits(cells[name], "input", ports) if bit in driver}
    return sorted(s for s in found if cells[s]["type"] not in STOPS)


def _bits(cell: Mapping[str, Any], way: str, ports: tuple[str, ...] = ("",)) -> Iterator[int]:
    for port, direction in cell["port_directions"].items():
        if direction == way and port.startswith(ports):
            for bit in cell["connections"][port]:
                if isinstance(bit, int):  # else a constant
                    yield bit

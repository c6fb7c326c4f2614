"""Synthesise Verilog with yosys: what it takes of an FPGA, and how long its paths are.

Counts are yosys' own, for the primitives of AMD's and Lattice's families. It packs no registers
into a DSP48E2 and puts one product into each, so that LUT, FF and DSP are above what the maker's
tool would need; no figure here comes from that tool. URAM is used where the module's memories ask
for it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from cosim.ir.errors import UserError
from cosim.ir.write import write_file
from rtl.cells import FAMILIES, Synthesis, counted, modules_of
from rtl.export import Verilog
from rtl.hierarchy import Hierarchy
from rtl.simulators.bench import cache_folder

LIMIT_SECONDS = 1800
# A whole accelerator has as many modules as units, and every pass goes through all of them.
LIMIT_WHOLE_SECONDS = 4 * LIMIT_SECONDS
NETLIST, FLAT = "netlist.json", "flat.json"
_RUN = """
import sys
from pyosys import libyosys
libyosys.run_pass("script " + sys.argv[1], libyosys.Design())
"""


@dataclass(frozen=True)
class Whole:
    """Hold what an accelerator takes: each unit by its name, and the top that joins them.

    `rest` counts the top's own cells, without those of the units; `flat` all cells with the
    hierarchy dissolved after synthesis, so that its longest path may go through several units.
    """

    units: Mapping[str, Synthesis]
    rest: Synthesis
    flat: Synthesis


def kept(verilog: Verilog, what: Sequence[str], file: str) -> Path:
    """Return the file that keeps a module's figures, so that the same text is counted once."""
    parts = [*what, verilog.name, verilog.text]
    folder = cache_folder("\0".join([*parts, *map(str, sorted(verilog.files.items()))]))
    return folder / file


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
    path = kept(verilog, ("synth", family, version()), "synth.json")
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
    netlist = netlists(verilog, family, others)[NETLIST]
    return counted(netlist, verilog.name, family)


def synthesised_whole(modules: Hierarchy, family: str = "xcup") -> Whole:
    """Return what an accelerator takes, its hierarchy kept; what is known is read.

    Raise UserError as `synthesise` does.
    """
    path = kept(modules.whole, ("synth whole", family, version()), "whole.json")
    if path.exists():
        with suppress(ValueError, TypeError, KeyError, AttributeError):
            own = json.loads(path.read_text())
            units = {unit: Synthesis(**found) for unit, found in own["units"].items()}
            return Whole(units, Synthesis(**own["rest"]), Synthesis(**own["flat"]))
    found = synthesise_whole(modules, family)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, json.dumps(asdict(found)))
    return found


def synthesise_whole(modules: Hierarchy, family: str = "xcup") -> Whole:
    """Synthesise a top and all its units in one run, each module for itself."""
    top = modules.top.name
    found = netlists(modules.whole, family, keep=True)
    left = modules_of(found[NETLIST])
    units = {
        unit: counted(found[NETLIST], module.name, family)
        for unit, module in modules.modules.items()
        if module.name in left
    }
    rest = counted(found[NETLIST], top, family)
    return Whole(units, rest, counted(found[FLAT], top, family))


def netlists(
    verilog: Verilog, family: str, others: Mapping[str, str] | None = None, keep: bool = False
) -> dict[str, Any]:
    """Return what yosys makes of a module, by the file's name; see `synthesise`.

    `keep`: without dissolving its hierarchy, and beside that netlist the dissolved one.
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
        script += [_command(verilog.name, family, keep), f"write_json {NETLIST}"]
        if keep:
            script += ["flatten", "opt_clean", f"write_json {FLAT}"]
        (folder / "synth.ys").write_text("\n".join(script) + "\n")
        _yosys(folder, verilog.name, LIMIT_WHOLE_SECONDS if keep else LIMIT_SECONDS)
        names = (NETLIST, FLAT) if keep else (NETLIST,)
        return {name: json.loads((folder / name).read_text()) for name in names}


def _command(top: str, family: str, keep: bool) -> str:
    if family == "ecp5":
        return f"synth_ecp5 -top {top} -noiopad" + (" -noflatten" if keep else "")
    words = ["synth_xilinx", "-family", family, "-top", top, "-noiopad", "-noclkbuf"]
    if not keep:
        words.append("-flatten")
    if family == "xcup":
        words.append("-uram")
    return " ".join(words)


def _yosys(folder: Path, name: str, limit_seconds: int) -> None:
    """Run the script in a process of its own: yosys ends the process where it meets an error."""
    try:
        ran = subprocess.run(
            [sys.executable, "-c", _RUN, "synth.ys"],
            cwd=folder, capture_output=True, text=True, timeout=limit_seconds, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise UserError(
            f"module {name}: yosys is not done after {limit_seconds} s; try its units one by "
            "one, or fewer lanes"
        ) from None
    if ran.returncode or not (folder / NETLIST).exists():
        said = [line for line in (ran.stderr + ran.stdout).splitlines() if "ERROR" in line]
        raise UserError(
            f"module {name}: yosys refuses it ({' '.join(said[:1]) or 'no reason given'})"
        )

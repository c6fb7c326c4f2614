"""Run an exported folder's own test bench again, after a look at whether it is what it says."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import tempfile
from pathlib import Path

from cosim.ir.errors import UserError
from rtl.project import MANIFEST, SCHEMA


def check_folder(folder: Path, graph_hash: str) -> None:
    """Raise UserError unless a folder was made of this graph, and nothing was changed since."""
    try:
        told = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        schema, graph, files = told["schema"], told["graph"], dict(told["files"])
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(
            f"{folder} has no {MANIFEST} that can be read; write the folder with `cosim rtl`"
        ) from None
    if schema != SCHEMA or "bench.v" not in files:
        raise UserError(
            f"{folder} is of schema {schema} (this is {SCHEMA}), or holds units alone; write the "
            "whole accelerator with `cosim rtl`"
        )
    if graph != graph_hash:
        raise UserError(
            f"{folder} was made of graph {graph[:12]}, this graph is {graph_hash[:12]}; write the "
            "folder again with `cosim rtl`"
        )
    for name, sha in files.items():
        path = folder / name
        if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != sha:
            raise UserError(
                f"{path} is not what {MANIFEST} says; write the folder again with `cosim rtl`"
            )


def replay(folder: Path) -> tuple[bool, str]:
    """Run the folder's test bench in Icarus; return whether it passes, and what it says.

    Raise UserError without Icarus.
    """
    tools = [shutil.which(name) for name in ("iverilog", "vvp")]
    if None in tools:
        raise UserError("Icarus needs iverilog, which is not installed; install iverilog (Debian)")
    compiler, runner = (str(t) for t in tools)
    modules = sorted(p.name for p in folder.glob("*.v"))
    with tempfile.TemporaryDirectory() as scratch:
        program = str(Path(scratch) / "bench.vvp")
        built = [compiler, "-g2005", "-s", "bench", "-o", program, *modules]
        subprocess.run(built, cwd=folder, check=True, capture_output=True)
        ran = subprocess.run(
            [runner, "-n", program], cwd=folder, capture_output=True, text=True, check=False
        )
    said = [line for line in ran.stdout.splitlines() if line.startswith(("PASS", "FAIL"))]
    return ran.returncode == 0, said[0] if said else (ran.stderr or ran.stdout)[-300:]

"""Write a design as a folder that others can run: modules, data, golden vectors, test benches.

The bytes follow from the graph, the Design and the vectors alone. `manifest.json` lists every file
with its hash, the ports, and what the design was made of.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from cosim.design.plan import STATE_FIFOS
from cosim.ir.write import new_folder, refuse_foreign
from rtl.elaborate import TOP, Elaboration
from rtl.export import ACCEPTED_LINT, export
from rtl.golden import Golden, vectors
from rtl.harness import TEST, cocotb_test, harness, makefile
from rtl.hierarchy import Hierarchy
from rtl.ports import Beats, inputs_of, outputs_of
from rtl.testbench import testbench
from rtl.units.memory import ASK, ROW

MANIFEST = "manifest.json"
# The streams to the memory.
WAYS = {ASK: "out", STATE_FIFOS[1]: "out"}
SCHEMA = 1
# What `make` puts beside our files.
BUILT = ("build", "__pycache__")


def project_files(
    made: Elaboration,
    written: Hierarchy,
    golden: Golden,
    graph_hash: str,
    facts: Mapping[str, object] | None = None,
) -> dict[str, str]:
    """Return the files of a design's folder by name; `facts` go into the manifest as they are."""
    found = vectors(made, golden)
    modules = [f"{m.name}.v" for m in written.all]
    files = {
        **written.files, **found.files, "bench.v": testbench(found), "harness.cpp": harness(found),
        TEST: cocotb_test(found, modules), "Makefile": makefile(modules),
    }  # fmt: skip
    design = next(iter(made.plans.values())).folded.design
    manifest = {
        "schema": SCHEMA,
        "top": TOP,
        "model": design.model,
        "graph": graph_hash,
        "design": design.text().splitlines(),
        "modules": {unit: f"{m.name}.v" for unit, m in written.modules.items()},
        "ports": [_port(p, "in") for p in inputs_of(made.plans)]
        + [
            {"name": made.names[n], "way": WAYS.get(n, "in"), "bits": b, "value": _value(n)}
            for n, b in made.off_chip.items()
        ]
        + [_port(p, "out") for p in outputs_of(made.plans)],
        "tokens": golden.tokens,
        # The predicted cycles of each token's first and last beat.
        "cycles": {n: [c[:, 0].tolist(), c[:, -1].tolist()] for n, c in golden.cycles.items()},
        "accepted_lint": dict(ACCEPTED_LINT),
        **(facts or {}),
        "files": {name: _sha(files[name]) for name in sorted(files)},
    }
    return {**files, MANIFEST: json.dumps(manifest, indent=1) + "\n"}


def unit_files(
    made: Elaboration,
    units: Sequence[str],
    graph_hash: str,
    told: Callable[[int, int], None] | None = None,
    facts: Mapping[str, object] | None = None,
) -> dict[str, str]:
    """Return the files of some units alone, without vectors; `told` hears how many are done.

    `facts` go into the manifest as they are.
    """
    files: dict[str, str] = {}
    modules: dict[str, str] = {}
    for number, unit in enumerate(units):
        module = export(made.block(unit), made.modules[unit])
        modules[unit] = f"{module.name}.v"
        files |= {modules[unit]: module.text, **module.files}
        if told is not None:
            told(number + 1, len(units))
    design = next(iter(made.plans.values())).folded.design
    manifest = {
        "schema": SCHEMA,
        "model": design.model,
        "graph": graph_hash,
        "design": design.text().splitlines(),
        "modules": modules,
        "accepted_lint": dict(ACCEPTED_LINT),
        **(facts or {}),
        "files": {name: _sha(files[name]) for name in sorted(files)},
    }
    return {**files, MANIFEST: json.dumps(manifest, indent=1) + "\n"}


def kept(folder: Path, key: str) -> dict[str, str] | None:
    """Return the files of a folder that was written for this key; None where one has changed.

    The key is the fact `key` of its manifest: what the folder was made of.
    """
    try:
        text = (folder / MANIFEST).read_text(encoding="utf-8")
        told = json.loads(text)
        names = dict(told["files"])
        files = {name: (folder / name).read_text(encoding="utf-8") for name in names}
        if told["key"] != key or any(_sha(files[n]) != sha for n, sha in names.items()):
            return None
        return {**files, MANIFEST: text}
    except (OSError, ValueError, KeyError, TypeError):
        return None


def refuse_lost(folder: Path, files: Collection[str] = ()) -> None:
    """Raise UserError where writing a folder of these files would lose something else."""
    refuse_foreign(folder, {*files, *_former(folder), *BUILT})


def write_project(folder: Path, files: Mapping[str, str]) -> None:
    """Write the files as a folder; raise UserError where something else would be lost."""
    refuse_lost(folder, files)
    with new_folder(folder) as place:
        for name, text in files.items():
            (place / name).write_text(text, encoding="utf-8")


def _former(folder: Path) -> list[str]:
    """Return the names of the files that an earlier export wrote."""
    try:
        found = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        return [MANIFEST, *found["files"]]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _port(port: Beats, way: str) -> dict[str, object]:
    return {
        "name": port.name, "way": way, "bits": port.bits, "value": port.end,
        "element": str(port.dtype), "elements_a_beat": port.beat, "beats_a_token": port.count,
        "in_order": bool((port.elements == range(port.elements.size)).all()),
    }  # fmt: skip


def _value(stream: str) -> str:
    """Say what a stream from or to the memory brings."""
    return {ASK: "addresses of rows", ROW: "embedding"}.get(
        stream, "states" if stream in STATE_FIFOS else "weights"
    )


def _sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()

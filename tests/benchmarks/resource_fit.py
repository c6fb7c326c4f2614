"""Fit the resource model to synthesised units and write `cosim/design/fitted.yaml`.

Call: `python -m tests.benchmarks.resource_fit tests/benchmarks/resource_sizes.jsonl`, or with
`--samples FILE --graphs RUN/graph` to take in what `resource_samples` has measured first. LUT and
FF of a unit are a sum of amounts (`cosim/design/features.py`), each times a coefficient that is not
negative and is the same in all units: least squares of relative errors. A coefficient that the
sample hardly tells is drawn to what its circuit is made of (`PRIORS`), by a term of `DRAW` for each
relative distance of one. Every fifth unit of a kind is held out. As the amounts were shaped with
all of these in sight, `resource_held_out` draws others; their errors are printed, and with
`--held-out` nothing else is done.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from statistics import fmean

import numpy as np
import yaml
from scipy.optimize import nnls

from cosim.design import graph_kinds
from cosim.design.features import Size
from cosim.design.fitted import estimate, unit_of
from cosim.design.logic import unit_sizes
from cosim.ir.write import write_file
from cosim.machine import load_machine
from reports.table import Cell, Column, Table
from tests.benchmarks.resource_samples import MACHINE, Sample, design_of, graph_of

WHAT = ("luts", "ffs")
HELD_OUT = 5
DRAW = 0.002
# LUT and FF for one of an amount, from the circuit: an adder is a LUT a bit, a register a FF, a
# place of 32 words 8 LUTs for 14 bits, a multiplexer half a LUT a bit.
PRIORS: Mapping[str, tuple[float, float]] = {
    "fifos": (6, 6), "counted": (1, 1), "read": (1, 1), "passed": (0.01, 1),
    "places": (8 / 14, 0.01), "taken": (0.1, 0.3), "kept": (0.3, 1), "realigned": (0.5, 1),
    "states": (1, 1), "constants": (1, 0.01), "looked_up": (0.1, 0.5), "tables": (0.3, 1),
    "waiting": (0.5, 1), "codes": (8, 8), "shift": (1, 0.5), "butterflies": (1, 1),
    "base": (1, 1), "block": (0.2, 0.5), "fir": (0.5, 1), "shift_fir": (0.5, 1),
    "rms_norm": (4, 4), "rms_table": (4, 4), "in_luts": (1, 0.5), "trees": (0.5, 0.5),
    "scaled": (2, 2), "sums": (1.5, 1), "inputs": (1, 1), "weights": (0.2, 1),
    "stream": (0.1, 0.5),
}  # fmt: skip
UNIT, OPERATOR = (40.0, 40.0), (1.0, 1.5)
TARGET = Path("cosim") / "design" / "fitted.yaml"
SIZES, HELD_OUT_ROWS = (
    Path(__file__).with_name(f"resource_{name}.jsonl") for name in ("sizes", "held_out")
)


@dataclass(frozen=True)
class Row:
    """Hold a unit of the sample: what is known of it before synthesis, and what came out."""

    sample: Sample
    kind: str
    size: Size
    dsps: int
    found: Mapping[str, float]


def read(path: Path) -> list[Row]:
    """Read rows from a file, one a line."""
    rows = []
    for line in path.read_text().splitlines():
        own = json.loads(line)
        sample = Sample(**{**own["sample"], "lanes": tuple(own["sample"]["lanes"])})
        facts = {n: (r[0], r[1]) for n, r in own["facts"].items()}
        size = Size(Counter(own["amounts"]), facts)
        rows.append(Row(sample, own["kind"], size, own["dsps"], own["found"]))
    return rows


def sized(samples: Path, graphs: Path) -> list[Row]:
    """Return the measured samples with the sizes of their units."""
    rows = []
    for line in samples.read_text().splitlines():
        own = json.loads(line)
        sample = Sample(**{**own["sample"], "lanes": tuple(own["sample"]["lanes"])})
        model = graph_of(graphs, sample.graph)
        design, machine = design_of(model, sample), load_machine(MACHINE[sample.family])
        chosen = design.choices
        kinds = graph_kinds(model, chosen.order, chosen.fused, chosen.matrix)
        sizes = unit_sizes(design, kinds, machine, "tool")
        (unit, size, dsps) = next(s for s in sizes if s[0].name == sample.unit)
        rows.append(Row(sample, unit.kind, size, dsps, own["found"]))
    return rows


def write(rows: Sequence[Row], path: Path) -> None:
    """Write rows to a file, one a line."""
    lines = [
        json.dumps({
            "sample": vars(r.sample), "kind": r.kind,
            "amounts": dict(sorted(r.size.amounts.items())),
            "facts": r.size.facts, "dsps": r.dsps, "found": r.found,
        }) for r in rows
    ]  # fmt: skip
    write_file(path, "\n".join(lines) + "\n")


def parted(rows: Sequence[Row]) -> tuple[list[Row], list[Row]]:
    """Return the rows to fit and those held out: every fifth of a kind, the first two never."""
    fitted: list[Row] = []
    held: list[Row] = []
    seen: Counter[str] = Counter()
    for row in rows:
        seen[row.kind] += 1
        (held if seen[row.kind] % HELD_OUT == HELD_OUT - 1 else fitted).append(row)
    return fitted, held


def amounts_of(row: Row) -> dict[str, float]:
    """Return the amounts of a row, what each unit of its kind has at least included."""
    return {unit_of(row.kind): 1.0, **row.size.amounts}


def prior(name: str, what: str) -> float:
    """Return what one of an amount is made of."""
    pair = UNIT if name.startswith("unit ") else PRIORS.get(name, OPERATOR)
    return pair[WHAT.index(what)]


def coefficients(rows: Sequence[Row], what: str, draw: float = DRAW) -> dict[str, float]:
    """Fit the coefficients of all amounts to some rows."""
    each = [amounts_of(r) for r in rows]
    names = sorted({n for own in each for n in own})
    priors = np.array([prior(n, what) for n in names])
    wanted = np.array([max(r.found[what], 1) for r in rows], float)
    table = np.array([[own.get(n, 0.0) for n in names] for own in each])
    relative = table * priors / wanted[:, None]
    drawn = np.sqrt(draw) * np.eye(len(names))
    target = np.concatenate([np.ones(len(rows)), np.full(len(names), np.sqrt(draw))])
    found, _ = nnls(np.concatenate([relative, drawn]), target)
    return {n: float(f"{c * p:.4g}") for n, c, p in zip(names, found, priors, strict=True)}


def estimated(fit: Mapping[str, float], row: Row) -> float:
    """Return what a fit says of a row."""
    return sum(a * fit.get(n, 0.0) for n, a in amounts_of(row).items())


def error(fit: Mapping[str, float], rows: Sequence[Row], what: str) -> list[float]:
    """Return the count of rows, and the mean and the worst relative error."""
    off = [abs(estimated(fit, r) / max(r.found[what], 1) - 1) for r in rows]
    if not off:
        return [0, 0.0, 0.0]
    return [len(off), round(float(np.mean(off)), 4), round(max(off), 4)]


def unseen(apart: Sequence[Row], sample: Sequence[Row]) -> list[Row]:
    """Return the rows whose size no unit of the sample has: another graph may give the same one."""
    known = [(r.kind, r.size) for r in sample if r.sample.family == "xcup"]
    return [r for r in apart if (r.kind, r.size) not in known]


def held_out_table(rows: Sequence[Row]) -> Table:
    """Return the relative errors of the shipped fit for units that it never saw.

    `outside`: how many of them lie beyond the sampled ranges, and are marked so.
    """
    lines: list[tuple[Cell, ...]] = []
    for kind in dict.fromkeys(r.kind for r in rows):
        mine = [r for r in rows if r.kind == kind]
        said = [estimate(r.sample.unit, kind, r.size) for r in mine]
        off = [
            [
                abs(getattr(e, what) / max(r.found[what], 1) - 1)
                for e, r in zip(said, mine, strict=True)
            ]
            for what in WHAT
        ]
        errors = [pick(own) for own in off for pick in (fmean, max)]
        equal = sum(r.dsps == r.found["dsps"] for r in mine)
        lines.append((kind, len(mine), sum(bool(e.marks) for e in said), *errors, equal))
    shares = (
        ("luts", "LUT, mean"), ("luts_worst", "worst"), ("ffs", "FF, mean"), ("ffs_worst", "worst")
    )  # fmt: skip
    columns = (
        Column("kind", "kind"), Column("units", "units", "given"),
        Column("outside", "outside", "derived"),
        *(Column(key, title, "derived", ".1%") for key, title in shares),
        Column("dsps", "DSP equal", "derived"),
    )  # fmt: skip
    title = "Errors of the shipped fit for units drawn apart and never fitted"
    return Table("held_out", title, columns, tuple(lines))


def fitted(rows: Sequence[Row]) -> dict[str, object]:
    """Return what stands in the file for the fits of all kinds."""
    own = [r for r in rows if r.sample.family == "xcup"]
    other = [r for r in rows if r.sample.family != "xcup"]
    to_fit, held = parted(own)
    fits = {what: coefficients(to_fit, what) for what in WHAT}
    deep = [r.size.facts["fifo_depth"] for r in to_fit if "fifo_depth" in r.size.facts]
    depths = [min(d[0] for d in deep), max(d[1] for d in deep)]
    kinds: dict[str, object] = {}
    for kind in sorted({r.kind for r in own}):
        mine, apart, seven = ([r for r in part if r.kind == kind] for part in (to_fit, held, other))
        facts = {
            name: [min(r.size.facts[name][0] for r in mine if name in r.size.facts),
                   max(r.size.facts[name][1] for r in mine if name in r.size.facts)]
            for name in sorted({n for r in mine for n in r.size.facts})
        }  # fmt: skip
        if "fifo_depth" in facts:  # FIFOs are alike in all units
            facts["fifo_depth"] = depths
        errors = {
            what: {
                "fitted": error(fits[what], mine, what),
                "held_out": error(fits[what], apart, what),
                "xc7": error(fits[what], seven, what),
            }
            for what in WHAT
        }
        kinds[kind] = {"facts": facts, "errors": errors}
    return {
        "tool": own[0].found["tool"], "family": "xcup", "date": date.today().isoformat(),
        "command": "python -m tests.benchmarks.resource_fit tests/benchmarks/resource_sizes.jsonl",
        **fits, "kinds": kinds,
    }  # fmt: skip


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", type=Path, nargs="?", default=SIZES, help="samples, a line each")
    parser.add_argument(
        "--held-out", action="store_true", help="fit nothing; print errors of the shipped fit"
    )
    parser.add_argument("--samples", type=Path, help="measured samples, to be sized first")
    parser.add_argument("--graphs", type=Path, help="graphs by recipe, for --samples")
    parser.add_argument("-o", "--out", type=Path, default=TARGET)
    args = parser.parse_args()
    if args.held_out:
        print(held_out_table(unseen(read(HELD_OUT_ROWS), read(args.rows))).text(), end="")
        return
    if args.samples:
        write(sized(args.samples, args.graphs), args.rows)
    rows = read(args.rows)
    found = fitted(rows)
    head = f"# Written by `{found['command']}`: do not edit.\n"
    write_file(args.out, head + yaml.safe_dump(found, sort_keys=False, width=100))


if __name__ == "__main__":
    main()

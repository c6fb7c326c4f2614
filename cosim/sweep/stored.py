"""Read a finished sweep out of its folder: what it wrote last, with no model at hand."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

from cosim.ir.errors import UserError
from cosim.sweep.metrics import METRICS
from cosim.sweep.outputs import POINTS_FILE, STUDY, STUDY_FILE, SUMMARY_FILE, columns, study_text
from cosim.sweep.store import STORE_FILE
from cosim.sweep.study import load_study
from reports.pareto import DesignPoint, DesignSpace, Objective
from reports.table import Cell, Column


def stored_space(folder: Path) -> DesignSpace:
    """Return the points of a sweep; raise UserError where the folder holds no finished one."""
    if not (folder / STORE_FILE).is_file():
        raise UserError(
            f"{folder} is no sweep's folder: it has no {STORE_FILE}; make one with `cosim sweep`"
        )
    try:
        texts = [
            (folder / name).read_text(encoding="utf-8")
            for name in (STUDY_FILE, SUMMARY_FILE, POINTS_FILE)
        ]
    except OSError:
        raise UserError(
            f"{folder} holds no finished sweep; finish it with `cosim sweep STUDY.yaml -o {folder}`"
        ) from None
    study = load_study(folder / STUDY_FILE)
    choices, figures = columns(study)
    try:
        summary = json.loads(texts[1])
        points = tuple(
            _point(row, choices, figures) for row in csv.DictReader(io.StringIO(texts[2]))
        )
        return DesignSpace(
            study.name, str(summary["version"]), choices, figures,
            tuple(Objective(name, METRICS[name].better) for name in study.objectives),
            points, int(summary["ties"]), ((STUDY, study_text(study)),),
        )  # fmt: skip
    except (ValueError, KeyError, TypeError):
        raise UserError(
            f"{folder}: {SUMMARY_FILE} or {POINTS_FILE} is damaged; write them again with "
            f"`cosim sweep STUDY.yaml -o {folder}`"
        ) from None


def _point(
    row: dict[str, str], choices: tuple[Column, ...], figures: tuple[Column, ...]
) -> DesignPoint:
    """Read a row of points.csv; an empty figure is none."""
    chosen: list[Cell] = [int(row[c.key]) if c.origin else row[c.key] for c in choices]
    found = [_number(row[c.key]) for c in figures]
    return DesignPoint(
        int(row["point"]), tuple(chosen), tuple(found), row["reason"], row["binds"],
        row["front"] == "yes",
    )  # fmt: skip


def _number(text: str) -> float | None:
    return float(text) if text else None

"""Write what a sweep found: points.csv, points.parquet, summary.json, figures and report.html.

The same study gives the same bytes, however often it was stopped: no time and no order of arrival
goes into a file.
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import yaml

from cosim.ir.errors import UserError
from cosim.ir.write import new_folder, write_file
from cosim.sweep.knobs import KNOBS
from cosim.sweep.metrics import METRICS
from cosim.sweep.run import Sweep
from cosim.sweep.study import Study
from reports.figures import render, scatter_figure
from reports.pareto import (
    DesignPoint,
    DesignSpace,
    Objective,
    charts,
    counts_table,
    front_table,
    points_table,
    reasons_table,
)
from reports.pareto_page import pareto_page
from reports.table import Column, Table

SUMMARY_SCHEMA = 1
STUDY = "The study"
STUDY_FILE, POINTS_FILE, SUMMARY_FILE = "study.yaml", "points.csv", "summary.json"


def design_space(sweep: Sweep) -> DesignSpace:
    """Turn a finished study into what reports show."""
    study = sweep.study
    choices, figures = columns(study)
    points = tuple(
        DesignPoint(
            number,
            (
                t.point.model,
                t.point.recipe,
                t.point.machine,
                *(v if type(v) is int else str(v) for _, v in t.point.knobs),
            ),
            tuple(t.result.figures.get(name) for name in METRICS),
            t.reason,
            t.result.binds,
            t.front,
        )
        for number, t in enumerate(sweep.tried)
    )
    return DesignSpace(
        study.name,
        sweep.version,
        choices,
        figures,
        tuple(Objective(name, METRICS[name].better) for name in study.objectives),
        points,
        sweep.ties,
        ((STUDY, study_text(study)),),
    )


def columns(study: Study) -> tuple[tuple[Column, ...], tuple[Column, ...]]:
    """Return the columns of a point's choices, and of its figures."""
    choices = [Column(name, name) for name in ("model", "recipe", "machine")]
    for name, values in study.knobs.items():
        numbers = all(type(v) is int for v in values)
        title = name.replace("_", " ")
        choices.append(Column(name, title, "given") if numbers else Column(name, KNOBS[name].about))
    return tuple(choices), tuple(
        Column(m.name, m.title, m.origin, m.form) for m in METRICS.values()
    )


def study_text(study: Study) -> str:
    """Print a study as YAML, with all that it does not say."""
    plain = study.model_dump(mode="json")
    return yaml.safe_dump(plain, sort_keys=False, width=90, default_flow_style=None)


def write_outputs(space: DesignSpace, study: Path, folder: Path) -> list[str]:
    """Write all files, the page last; return a sentence for each that could not be made."""
    left_out = []
    points = points_table(space)
    write_file(folder / STUDY_FILE, study.read_bytes())
    write_file(folder / POINTS_FILE, points.csv())
    try:
        write_file(folder / "points.parquet", parquet(points))
    except UserError as error:
        left_out.append(str(error))
    write_file(folder / SUMMARY_FILE, json.dumps(summary(space), indent=1, allow_nan=False) + "\n")
    with new_folder(folder / "figures") as figures:
        for chart in charts(space):
            for suffix, data in render(scatter_figure(chart)).items():
                (figures / f"{chart.name}.{suffix}").write_bytes(data)
    write_file(folder / "report.html", pareto_page(space))
    return left_out


def summary(space: DesignSpace) -> dict[str, object]:
    """Return what summary.json holds: the study, counts, and the front with its origins."""
    return {
        "schema": SUMMARY_SCHEMA,
        "name": space.name,
        "version": space.version,
        "study": yaml.safe_load(dict(space.facts)[STUDY]),
        "objectives": {o.key: o.better for o in space.objectives},
        "ties": space.ties,
        "tables": {
            t.name: {
                "title": t.title,
                "origins": {c.key: c.origin for c in t.columns if c.origin},
                "rows": t.records(),
            }
            for t in (counts_table(space), front_table(space), reasons_table(space))
        },
    }


def parquet(table: Table) -> bytes:
    """Return a table as Parquet, each column of one type; origins are in its metadata.

    Raise UserError where pyarrow is not installed.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise UserError(
            "points.parquet needs pyarrow and was left out; install it with "
            "`pip install 'cosim-toolkit[sweep]'`"
        ) from None
    columns: dict[str, Any] = {}
    for i, column in enumerate(table.columns):
        cells = [row[i] for row in table.rows]
        if column.origin is None:
            kind = pa.string()
        elif all(isinstance(c, int) for c in cells):
            kind = pa.int64()
        else:
            kind = pa.float64()
        columns[column.key] = pa.array(cells, kind)
    origins = {c.key: c.origin for c in table.columns if c.origin}
    made = pa.table(columns).replace_schema_metadata({"origins": json.dumps(origins)})
    out = io.BytesIO()
    pq.write_table(made, out)
    return out.getvalue()

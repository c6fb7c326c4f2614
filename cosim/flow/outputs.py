"""Write what people open: summary.json, CSV files, figures, trace.json and report.html."""

from __future__ import annotations

import json
from pathlib import Path

from cosim.ir.write import new_folder, write_file
from reports.figures import render, run_figures
from reports.html import page
from reports.lints import heads_csv
from reports.summary import Summary

# Tables that are files of their own, beside `summary.json` which has all.
WIRES = ("wires", "wire_units", "resources")


def write_outputs(run: Summary, traces: dict[str, list[dict[str, object]]], folder: Path) -> None:
    """Write all files of a run; the page comes last, so that it never speaks of missing files.

    `traces` maps recipes to their events, see `hw_models.simulate`.
    """
    write_file(folder / "summary.json", json.dumps(run.to_json(), indent=1, allow_nan=False) + "\n")
    if run.costs:
        write_file(folder / "layers.csv", run.layers().csv())
    if run.lints:
        write_file(folder / "lints.csv", heads_csv(run.lints))
    for table in run.tables():
        if table.name in WIRES:
            write_file(folder / f"{table.name}.csv", table.csv())
    if traces:
        write_file(folder / "trace.json", json.dumps(trace_document(traces)) + "\n")
    with new_folder(folder / "figures") as figures:
        for stem, figure in run_figures(run).items():
            for suffix, data in render(figure).items():
                (figures / f"{stem}.{suffix}").write_bytes(data)
    write_file(folder / "report.html", page(run))


def trace_document(traces: dict[str, list[dict[str, object]]]) -> dict[str, object]:
    """Join the timelines of all recipes, a process each, in the format that Perfetto opens.

    Source: Trace Event Format, JSON object form.
    """
    events: list[dict[str, object]] = []
    for pid, (recipe, own) in enumerate(traces.items(), 1):
        events.append({"ph": "M", "name": "process_name", "pid": pid, "args": {"name": recipe}})
        events += [{**event, "pid": pid} for event in own]
    return {"traceEvents": events, "displayTimeUnit": "ns"}

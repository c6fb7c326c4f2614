"""The notebook runs, and what it prints is what stands in it."""

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOK = ROOT / "reports/notebooks/roofline.ipynb"
AGAIN = "jupyter execute --inplace reports/notebooks/roofline.ipynb"


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


@pytest.mark.slow
def test_the_notebook_says_what_it_said(monkeypatch):
    nbformat = pytest.importorskip("nbformat", reason="pip install cosim-toolkit[notebooks]")
    nbclient = pytest.importorskip("nbclient", reason="pip install cosim-toolkit[notebooks]")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    stored = nbformat.read(NOTEBOOK, as_version=4)
    ran = nbformat.read(NOTEBOOK, as_version=4)
    nbclient.NotebookClient(
        ran, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(ROOT)}}
    ).execute()
    assert pictures(stored) == pictures(ran) == 3
    assert any("100.00%" in text for text in printed(ran))
    assert printed(stored) == printed(ran), f"the figures have changed; run `{AGAIN}`"

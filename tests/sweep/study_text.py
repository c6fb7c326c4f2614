"""A study of a tiny model whose points take milliseconds, as a file beside the model."""

from pathlib import Path

from tests.cli.tiny import write_model

TEXT = """\
name: tiny
models: model
machines: [u280, zcu104]
knobs:
  rows: [1, 2, 4]
  columns: [4, 8]
  state_lanes: [1, 4]
  chain_lanes: [2, 65536]
objectives: [tokens_per_s, energy_uj_per_token, luts]
search: {search}
budget: {{latency_us: 8}}
"""
GRID = "{method: grid}"
POINTS = 48


def write_study(folder: Path, search: str = GRID, text: str = TEXT) -> Path:
    """Write a model and a study of it; return the study's path."""
    write_model(folder / "model")
    path = folder / "study.yaml"
    path.write_text(text.format(search=search))
    return path

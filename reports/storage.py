"""Say what a model keeps and moves: weights, states and caches, each on its own row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reports.table import Column, Table


@dataclass(frozen=True)
class StorageRow:
    """Hold one purpose of memory in one place."""

    recipe: str
    purpose: str
    place: str
    kept_bytes: float
    read_bytes: float
    written_bytes: float


def table(rows: Sequence[StorageRow]) -> Table:
    """Print a row per purpose and place; the bytes are exact."""
    columns = (
        Column("recipe", "recipe"),
        Column("purpose", "kept for"),
        Column("place", "where"),
        Column("kept_bytes", "bytes kept", "derived", ",.0f"),
        Column("read_bytes", "bytes read per token", "derived", ",.0f"),
        Column("written_bytes", "bytes written per token", "derived", ",.0f"),
    )
    where = {"chip": "on chip", "memory": "off chip"}
    return Table(
        "storage", "What is kept, where, and what a token moves of it", columns,
        tuple((r.recipe, r.purpose, where.get(r.place, r.place), r.kept_bytes, r.read_bytes,
               r.written_bytes) for r in rows),
    )  # fmt: skip

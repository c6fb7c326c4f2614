"""Print tables on stdout, as text or as one JSON document."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reports.table import Table


def print_json(document: object) -> None:
    """Print one JSON document; what JSON has no number for (NaN, infinity) becomes null."""
    print(json.dumps(_finite(document), allow_nan=False))


def _finite(value: object) -> object:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list | tuple) else value


def print_tables(
    args: argparse.Namespace, tables: Sequence[Table], facts: Mapping[str, object] | None = None
) -> int:
    """Print tables, then named facts; return the exit status 0."""
    if args.json:
        rows = {t.name: t.records() for t in tables}
        print_json({**rows, **(facts or {})})
    else:
        print("\n".join(t.text() for t in tables), end="")
        for name, value in (facts or {}).items():
            print(f"\n{name}: {value}".rstrip())
    return 0

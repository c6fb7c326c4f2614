"""Print tables on stdout, as text or as one JSON document."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reports.table import Table


def print_tables(
    args: argparse.Namespace, tables: tuple[Table, ...], facts: Mapping[str, object] | None = None
) -> int:
    """Print tables, then named facts; return the exit status 0."""
    if args.json:
        rows = {t.name: t.records() for t in tables}
        print(json.dumps({**rows, **(facts or {})}))
    else:
        print("\n".join(t.text() for t in tables), end="")
        for name, value in (facts or {}).items():
            print(f"\n{name}: {value}".rstrip())
    return 0

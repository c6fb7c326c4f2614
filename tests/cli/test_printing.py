"""What `--json` prints is JSON, whatever the numbers are."""

import json
from argparse import Namespace
from math import inf, nan

from cosim.cli.printing import print_json, print_tables
from reports.table import Column, Table


def strict(text):
    """Read JSON, and refuse what is none: NaN and infinity."""
    return json.loads(text, parse_constant=lambda name: 1 / 0)


def test_what_json_has_no_number_for_becomes_null(capsys):
    print_json({"a": (1.5, nan, [inf, {"b": -inf}]), "c": "NaN", "d": True, "e": 3})
    found = strict(capsys.readouterr().out)
    assert found == {"a": [1.5, None, [None, {"b": None}]], "c": "NaN", "d": True, "e": 3}


def test_tables_and_facts_too(capsys):
    table = Table("t", "T", (Column("x", "X", "measured"),), ((nan,), (2.0,)))
    print_tables(Namespace(json=True), (table,), {"fact": inf})
    found = strict(capsys.readouterr().out)
    assert [row["x"] for row in found["t"]] == [None, 2.0]
    assert found["fact"] is None

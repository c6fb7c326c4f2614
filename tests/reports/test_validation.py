"""The tables of a validation: what they say, where figures come from, and the page."""

import json

from hw_models.validate.own import Own
from hw_models.validate.row import WITHIN_5, Row
from reports.validation import ArrayRow, Validation, notes_text, page_html, section_html

ROWS = (
    Row("A W4", "speed", "tokens/s", "a <paper>", 10.0, 12.0, "bytes", 10.4, WITHIN_5,
        rests_on="8 lanes", unknown="its memory"),
    Row("A W8", "speed", "tokens/s", "a <paper>", 5.0, 6.0, "bytes", 5.4, WITHIN_5,
        rests_on="8 lanes", unknown="its memory"),
    Row("B", "utilisation", "%", "another", 96, unknown="everything"),
)  # fmt: skip
OWN = Own(
    "u280", "m w4a4", "rules", 95.0, 100.0, {"lut": 1}, {"lut": 2}, "weights", "port: 100.0% busy"
)
FOUND = Validation(
    "1.0", ROWS, (("C", "twice", "ratios"),),
    (ArrayRow("32 x 32", "outputs", "1 x 2 x 3", 95, 95, 63, 0.1),), (OWN,),
)  # fmt: skip


def test_a_row_shows_figures_errors_verdicts_and_the_number_of_its_note():
    figures = FOUND.tables()[0]
    assert figures.name == "validation"
    assert figures.rows[0] == (
        "A W4", "speed, tokens/s", 10.0, 12.0, 10.4, 100 * (10.4 - 10) / 10, "5 %", "within", "[1]",
    )  # fmt: skip
    assert [r[-2:] for r in figures.rows] == [
        ("within", "[1]"), ("missed", "[1]"), ("not modelled", "[2]"),
    ]  # fmt: skip
    line = next(line for line in figures.text().splitlines() if line.lstrip().startswith("B "))
    assert line.split() == ["B", "utilisation,", "%", "96", "–", "–", "–", "not", "modelled", "[2]"]


def test_rows_with_one_basis_share_a_note():
    notes = notes_text(ROWS)
    assert notes.splitlines() == [
        "  [1] given: a <paper>. derived: bytes. model: 8 lanes. unknown: its memory",
        "  [2] given: another. unknown: everything",
    ]
    assert notes_text(()) == ""
    long = Row("D", "speed", "tokens/s", "word " * 60, 1.0)
    assert max(map(len, notes_text([long]).splitlines())) <= 100


def test_every_number_has_its_origin_in_json():
    found = json.loads(json.dumps(FOUND.to_json(), allow_nan=False))
    assert list(found["tables"]) == [
        "validation", "validation_basis", "validation_left_out", "validation_designs",
        "validation_arrays",
    ]  # fmt: skip
    for table in found["tables"].values():
        for row in table["rows"]:
            numbers = {k for k, v in row.items() if isinstance(v, int | float)}
            assert numbers <= set(table["origins"])
    origins = found["tables"]["validation"]["origins"]
    assert origins == {
        "given": "given", "derived": "derived", "modelled": "modelled", "error": "modelled",
    }  # fmt: skip
    (array,) = found["tables"]["validation_arrays"]["rows"]
    assert array["apart"] == 63 - 95


def test_parts_that_were_not_asked_for_leave_no_table():
    assert Validation("1.0").tables() == ()
    assert Validation("1.0").text() == ""
    assert [t.name for t in Validation("1.0", designs=(OWN,)).tables()] == ["validation_designs"]


def test_the_page_is_whole_and_escapes_what_it_is_given():
    page = page_html(FOUND, "cosim validate --only <x>")
    assert page.count("<!doctype html>") == 1
    for table in FOUND.tables():
        assert f'id="t-{table.name}"' in page
        assert f'href="#{table.name}"' in page
    assert "a &lt;paper&gt;" in page
    assert "--only &lt;x&gt;" in page
    assert "http" not in section_html(FOUND)

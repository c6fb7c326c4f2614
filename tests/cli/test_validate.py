"""`cosim validate`: the whole command, its files, its parts, and bad input."""

import csv
import json

import pytest

from tests.cli.command import command

# What must come within its aim: figure, published value, aim in percent. No factor is fitted to
# any of these; the memory's share is one of the two that other designs publish.
WITHIN = {
    ("VCK190 W4A4, released loops, memory at 0.845", "speed, tokens/s"): (7.21, 5),
    ("VCK190 W8A8, released loops, memory at 0.845", "speed, tokens/s"): (3.61, 5),
    ("VCK190 W4A4, released loops, from one to the other", "time saved, %"): (32, 3 / 32 * 100),
    ("VCK190 W4A4, our Designs, from one to the other", "time saved, %"): (32, 3 / 32 * 100),
}


def table_of(found, name):
    return found["tables"][name]["rows"]


@pytest.mark.slow
def test_the_whole_command(tmp_path):
    ran = command("validate", "--json", "--out", tmp_path)
    assert ran.status == 0, ran
    found = json.loads(ran.out)
    rows = {(r["design"], r["figure"]): r for r in table_of(found, "validation")}
    for key, (given, most) in WITHIN.items():
        assert rows[key]["given"] == given
        assert rows[key]["verdict"] == "within"
        assert abs(rows[key]["modelled"] - given) <= given * most / 100
    for design, given in (
        ("VCK190 W4A4, our Design of it", 7.21), ("VCK190 W8A8, our Design of it", 3.61),
        ("U280 W4A4", 93),
    ):  # fmt: skip
        row = rows[design, "speed, tokens/s"]
        assert row["given"] == given
        assert 0.8 * row["derived"] < row["modelled"] <= row["derived"]
    fitted = {d for (d, _), r in rows.items() if r["verdict"] == "fitted"}
    assert len(fitted) == 2
    assert "U280 W4A4" in fitted
    (four,) = fitted - {"U280 W4A4"}
    # One factor for both widths: what is fitted to 7.21 comes within 5 % of 3.61.
    assert rows[four.replace("W4A4", "W8A8"), "speed, tokens/s"]["verdict"] == "within"
    # Misses that are known; when one is met, say so here and in the results.
    missed = {k for k, r in rows.items() if r["verdict"] == "missed"}
    assert ("VCK190 W4A4, released loops, memory at 0.93", "speed, tokens/s") in missed
    assert ("VCK190 W4A4, released loops, rows head by head", "utilisation, %") in missed
    basis = {r["note"]: r for r in table_of(found, "validation_basis")}
    assert all(basis[rows[k]["note"]]["unknown"] for k in missed), "a miss has its reason"
    assert rows["VCK190 W4A4, our Design, rows head by head", "utilisation, %"]["modelled"] > 99
    whole = rows["VCK190 W4A4, our Design, intermediates whole", "URAM, blocks"]
    tiled = rows["VCK190 W4A4, our Design, intermediates tiled", "URAM, blocks"]
    assert tiled["modelled"] < whole["modelled"] / 3
    both = rows["VC709 W8A8, both modules", "speed, tokens/s"]
    one = rows["VC709 W8A8, one module", "speed, tokens/s"]
    assert one["modelled"] < 5.68 < both["modelled"]
    designs = {(r["machine"], r["found_by"]): r for r in table_of(found, "validation_designs")}
    assert set(designs) == {(m, f) for m in ("u280", "vck190") for f in ("rules", "search")}
    for machine in ("u280", "vck190"):
        paces = [designs[machine, by]["tokens_per_s"] for by in ("rules", "search")]
        assert paces[0] <= paces[1]
    assert all(95 < r["share_percent"] <= 100 for r in designs.values())
    written = json.loads((tmp_path / "validation.json").read_text())
    assert written == found
    with (tmp_path / "validation.csv").open() as file:
        assert len(list(csv.DictReader(file))) == len(rows)
    assert "cosim validate --product" in (tmp_path / "validation.html").read_text()
    assert command("validate", "--json", "-q").out == ran.out


def test_arrays_alone_are_fast_and_stable():
    ran = command("validate", "--only", "arrays", "--product", "5x7x9", "--array", "4x3", "--json")
    assert ran.status == 0, ran
    found = json.loads(ran.out)
    assert list(found["tables"]) == ["validation_arrays"]
    rows = {r["stays"]: r for r in table_of(found, "validation_arrays")}
    # By hand: folds x (2R + C + T - 2).
    assert rows["weights"]["closed_cycles"] == 2 * 3 * (8 + 3 + 5 - 2)
    assert rows["outputs"]["closed_cycles"] == 2 * 3 * (8 + 3 + 7 - 2)
    assert rows["inputs"]["closed_cycles"] == 2 * 2 * (8 + 3 + 9 - 2)
    assert all(r["network_cycles"] == r["closed_cycles"] for r in rows.values())
    assert rows["outputs"]["apart"] == -2 * 3 * 4
    text = command("validate", "--only", "arrays").out
    assert text.startswith("Systolic arrays\n")
    assert "1,396,224" in text


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--product", "5x7"), "'5x7' is not 3 whole numbers; write them as 32x32x32"),
        (("--array", "4x-3"), "'4x-3' is not 2 whole numbers; write them as 32x32"),
        (("--only", "boards"), "invalid choice: 'boards'"),
        (("--only", "arrays", "--product", "0x1x1"), "a product's M is 0; give 1 to 1,048,576"),
        (("--only", "arrays", "--array", "0x4"), "0 rows; give 1 to 1,048,576"),
    ],
)
def test_bad_input_is_a_sentence(arguments, sentence):
    ran = command("validate", *arguments)
    assert ran.status == 2
    assert sentence in ran.err
    assert "Traceback" not in ran.err


def test_a_folder_that_cannot_be_written_is_a_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    ran = command("validate", "--only", "arrays", "--out", tmp_path / "file" / "deeper")
    assert ran.status == 2
    assert "Traceback" not in ran.err

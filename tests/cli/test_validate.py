"""`cosim validate`: the whole command, its files, its parts, and bad input."""

import csv
import json

import pytest

from tests.cli.command import command

# What must come within its aim: figure, published value, aim in percent. No factor is fitted to
# any of these; W8A8's memory efficiency is the one that W4A4's speed was fitted with.
WITHIN = {
    ("VCK190 W8A8, states apart", "speed, tokens/s"): (3.61, 5),
    ("VCK190 W4A4, from buffers to head by head", "time saved, %"): (32, 3 / 32 * 100),
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
    for design, given in (("VCK190 W4A4", 7.21), ("VCK190 W8A8", 3.61), ("U280 W4A4", 93)):
        row = rows[design, "speed, tokens/s"]
        assert row["given"] == given
        assert 0.8 * row["derived"] < row["modelled"] <= row["derived"]
    assert rows["U280 W4A4", "speed, tokens/s"]["verdict"] == "fitted"
    # Misses that are known; when one is met, say so here and in the results.
    missed = {k for k, r in rows.items() if r["verdict"] == "missed"}
    assert ("VCK190 W4A4, rows as in the graph, buffers", "utilisation, %") in missed
    # The ratio of 7.21 to 3.61 leaves no time for states: beside the weights they cost 5.1 %.
    beside = rows["VCK190 W8A8, states beside", "speed, tokens/s"]
    assert 4 < beside["error"] < 6
    fifos = rows["VCK190 W4A4, rows as in the graph, FIFOs", "utilisation, %"]
    heads = rows["VCK190 W4A4, rows head by head", "utilisation, %"]
    # By hand: 627,840 cycles of products, and 81,920 of states that nothing hides.
    assert fifos["modelled"] == pytest.approx(100 * 627_840 / (627_840 + 81_920), abs=1)
    assert heads["modelled"] > 99
    whole = rows["VCK190 W4A4, intermediates whole", "URAM, blocks"]
    tiled = rows["VCK190 W4A4, intermediates tiled", "URAM, blocks"]
    ahead = rows["VCK190 W4A4, intermediates tiled, a layer's states ahead", "URAM, blocks"]
    assert tiled["modelled"] < 61 < ahead["modelled"] < whole["modelled"] / 3
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

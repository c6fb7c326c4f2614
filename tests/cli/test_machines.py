"""`cosim machines` lists, shows and checks machines, and prints their schema."""

import json

import pytest

from cosim.machine import list_machines, load_machine
from tests.cli.command import ROOT, command

U280 = (ROOT / "cosim/machines/u280.yaml").read_text()


@pytest.mark.parametrize("name", list_machines())
def test_every_preset_checks_out(name):
    path = ROOT / f"cosim/machines/{name}.yaml"
    ran = command("machines", "--check", path)
    count = len(load_machine(name).sources)
    assert (ran.status, ran.err) == (0, "")
    assert ran.out == f"{path}: machine {name}, {count} numbers, each with its source\n"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("luts:", "lutz:", "board.yaml:6: key 'lutz' is unknown in logic"),
        ("name: u280\n", "name: u280\nname: u281\n", "board.yaml:3: key 'name' stands twice in"),
        ("value: 300,", "value: 0,", "clock.frequency_mhz is 0, which must be above 0"),
        ("value: 1796.875,", "value: 0,", "memories.hbm.rate_mt_s is 0, which must be above 0"),
        ("value: 32,", "value: thirty-two,", "channels.value must be a whole number, got str"),
        ("family: ultrascale+", "family: 7", "logic.family must be a text, got int '7'"),
        ("    burst:", "    bursts:", "board.yaml:24: key 'bursts' is unknown in memories.0"),
    ],
)
def test_a_fault_is_one_sentence_and_status_2(tmp_path, old, new, said):
    board = tmp_path / "board.yaml"
    assert old in U280
    board.write_text(U280.replace(old, new, 1))
    ran = command("machines", "--check", board)
    assert (ran.status, ran.out) == (2, "")
    assert said in ran.err
    assert len(ran.err.splitlines()) == 1


def test_a_missing_file_is_a_sentence(tmp_path):
    ran = command("machines", "--check", tmp_path / "none.yaml")
    assert ran.status == 2
    assert ran.err.endswith("none.yaml: No such file or directory; check the path\n")


def test_one_machine_is_shown_with_every_source(tmp_path):
    out = command("machines", "u280").out
    machine = load_machine("u280")
    for path, source in machine.sources.items():
        [line] = [row for row in out.splitlines() if row.startswith(f"  {path} = ")]
        assert line.endswith(f"({source.kind}: {source.text})")
    assert "memories.hbm.effective_gb_s = 391 (derived: bandwidth_gb_s x efficiency)" in out
    shown = json.loads(command("machines", "u280", "--json").out)
    assert shown["logic.luts"]["value"] == 1163520
    assert shown["logic.family"] == "ultrascale+"
    board = tmp_path / "mine.yaml"
    board.write_text(U280.replace("name: u280", "name: mine"))
    assert command("machines", board).out.startswith("machine mine: AMD Alveo U280")


def test_an_unknown_name_and_two_wishes_are_refused():
    ran = command("machines", "u281")
    assert ran.status == 2
    assert "machine 'u281' is unknown; choose one of asic-45nm, " in ran.err
    assert command("machines", "u280", "--schema").status == 2


def test_the_schema_is_printed_as_json():
    schema = json.loads(command("machines", "--schema").out)
    assert set(schema["required"]) == {
        "name", "title", "logic", "clock", "memories", "energy", "power",
    }  # fmt: skip

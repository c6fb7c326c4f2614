"""Machines are read from presets, and every fault in one is a sentence."""

from dataclasses import replace
from fractions import Fraction
from importlib import resources

import pytest

from cosim.ir.errors import UserError
from cosim.machine import list_machines, load_machine, read_machine

U280 = (resources.files("cosim") / "machines" / "u280.yaml").read_text(encoding="utf-8")


def changed(old: str, new: str) -> str:
    assert U280.count(old) >= 1, old
    return U280.replace(old, new, 1)


def fault(text: str) -> str:
    with pytest.raises(UserError) as caught:
        read_machine(text, "mine.yaml")
    return str(caught.value)


@pytest.mark.parametrize("name", list_machines())
def test_every_number_of_a_preset_has_a_source(name):
    machine = load_machine(name)
    numbers = {
        line.split(" = ")[0].strip() for line in machine.text().splitlines() if " = " in line
    }
    assert numbers == set(machine.sources)
    assert all(len(s.text) >= 8 for s in machine.sources.values())


def test_the_bandwidth_in_bits_per_cycle_is_exact():
    """460 GB/s times 0.85 at 300 MHz: the decimals written, not the floats nearest to them."""
    machine = load_machine("u280")
    (hbm,) = machine.memories
    assert machine.bits_per_cycle(hbm) == Fraction(460 * 85 * 8 * 10**9, 100 * 300 * 10**6)
    assert machine.latency_cycles(hbm) == 45  # 150 ns at 300 MHz


def test_the_budget_is_the_usable_share_less_the_memory_controllers():
    machine = load_machine("u280")
    assert machine.usable()["lut"] == int(1163520 * 0.7) - 10718
    assert machine.usable()["uram"] == 768


def test_the_memory_with_most_effective_bandwidth_is_the_fastest():
    machine = load_machine("u280")
    wide = replace(machine.memories[0], name="ddr", width_bits=70, stated_gb_s=503.0)
    slow = replace(wide, efficiency=0.5)
    assert replace(machine, memories=(slow, *machine.memories)).fastest_memory.name == "hbm"


def test_a_file_is_read_like_a_preset(tmp_path):
    path = tmp_path / "board.yaml"
    path.write_text(changed("name: u280", "name: board"))
    assert load_machine(path).name == "board"
    assert load_machine(str(path)).logic == load_machine("u280").logic


SENTENCES = [
    (
        "  luts: {", "  lutz: {",
        "machine file mine.yaml:6: key 'lutz' is unknown in logic; it takes family, luts, ",
    ),
    (
        "clock:\n", "power: {}\nclock:\n",
        "machine file mine.yaml:37: key 'power' stands twice in the file; remove one",
    ),
    (
        "value: 460,", "value: 460, value: 461,",
        "mine.yaml:25: key 'value' stands twice in memories.0.stated_gb_s; remove one",
    ),
    (
        "value: 460,", 'value: "460",',
        "mine.yaml:25: memories.0.stated_gb_s.value must be a number, got str '460'",
    ),
    (
        "value: 8496,", "value: 8496.5,",
        "logic.dsps.value must be a whole number, got float '8496.5'",
    ),
    ("value: 460,", "value: .nan,", "memories.0.stated_gb_s.value must be a number below 1e18"),
    ("value: 460,", "value: [4],", "memories.0.stated_gb_s.value must be a number, got a list"),
    ("value: 460,", "value: !!float x,", "mine.yaml"),
    ("kind: given", "kind: guessed", "kind is 'guessed'; choose one of given, derived, assumed"),
    (', source: "AMD UG1393"}', "}", "memories.0.stated_gb_s lacks source; add each"),
    (
        "family: ultrascale+", "family: stratix",
        "mine.yaml:5: logic.family is 'stratix'; choose one of 7series, ultrascale+, versal, asic",
    ),
    (
        "value: 1796.875,", "value: 1600,",
        "memories.hbm: 32 x 64 bits at 1600 MT/s give 409.6 GB/s, but stated_gb_s is 460; mend",
    ),
    ("value: 300,", "value: 0,", "machine u280: clock.frequency_mhz is 0, which must be above 0"),
    ("value: 32,", "value: 0,", "machine u280: memories.hbm.channels is 0, which must be above 0"),
    (
        "value: 460,", "value: 0,",
        "machine u280: memories.hbm.stated_gb_s is 0, which must be above 0",
    ),
    ("value: 0.85,", "value: 1.2,", "memories.hbm.efficiency is 1.2, a share of at most 1"),
    ("value: 300,", "value: -1,", "clock.frequency_mhz is -1, which must be above 0"),
    ("name: u280", "name: [u280]", "mine.yaml:2: name must be a text, got a list"),
    ("logic:\n", "logic: {{\n", "not YAML"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "sentence"), SENTENCES)
def test_a_fault_in_a_preset_is_a_sentence(old, new, sentence):
    assert sentence in fault(changed(old, new))


def test_memories_are_a_list():
    start, end = U280.index("memories:\n"), U280.index("energy:\n")
    text = f"{U280[:start]}memories: 3\n{U280[end:]}"
    assert fault(text).endswith("mine.yaml:18: memories must be a list of memories, got int '3'")


def test_an_empty_or_bottomless_file_is_a_sentence():
    assert fault("") == "machine file mine.yaml: it is empty; copy a preset and change it"
    assert "nested too deeply" in fault("[" * 100_000)


def test_two_memories_of_one_name_are_refused():
    machine = load_machine("u280")
    with pytest.raises(UserError, match="share a name"):
        replace(machine, memories=machine.memories * 2)
    with pytest.raises(UserError, match="it has no memory"):
        replace(machine, memories=())


def test_an_unknown_machine_names_those_that_there_are(tmp_path):
    with pytest.raises(
        UserError, match=r"'u281' is unknown; choose one of asic-45nm, .*zcu104, or give"
    ):
        load_machine("u281")
    with pytest.raises(UserError, match="No such file or directory; check the path"):
        load_machine(tmp_path / "none.yaml")
    (tmp_path / "bad.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="it is not UTF-8 text"):
        load_machine(tmp_path / "bad.yaml")

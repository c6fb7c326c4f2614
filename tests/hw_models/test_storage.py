"""What is kept and moved is accounted for by purpose, and off chip it is what the rows say."""

from dataclasses import replace

import pytest

from cosim.design import default_design
from cosim.machine import load_machine
from hw_models.simulate import simulate
from hw_models.storage import PURPOSES, _kept_for, account
from tests.hw_models import graphs

VCK190, U280 = load_machine("vck190"), load_machine("u280")
MODELS = {
    "mamba2": graphs.small_mamba2,
    "mamba1": graphs.small_mamba1,
    "typeseg": graphs.typeseg,
    "2.7b": graphs.mamba2_27b,
}


@pytest.mark.parametrize("name", MODELS)
def test_off_chip_bytes_are_those_of_the_operators(name):
    """Two counts, one by purpose and one by operator, of the very same bytes: ==."""
    model = MODELS[name]()
    found = simulate(model, VCK190)
    stored = account(model, found.design)
    moved = sum(s.read_bytes + s.written_bytes for s in stored if s.place == "memory")
    assert moved == sum(r.offchip_bytes for r in found.operators)


def test_27b_keeps_what_its_sizes_say():
    """Published sizes: 64 layers of 2560, state 80 x 64 x 128 in groups, a head of 8 bits."""
    model = graphs.mamba2_27b()
    rows = {s.purpose: s for s in account(model, default_design(model, U280))}
    assert set(rows) == {"weights", "embedding", "tables", "constants", "states", "windows"}
    state = 64 * 80 * 64 * 128 * (8 + 5 / 8) / 8  # 8 bits each, a group of 8 has 5 of scale
    assert rows["states"].kept_bytes == rows["states"].read_bytes == state
    assert rows["states"].written_bytes == state
    window = 64 * (5120 + 2 * 128) * 12 / 8  # the convolution's inputs have 12 bits
    assert rows["windows"].kept_bytes == 4 * window
    assert (rows["windows"].read_bytes, rows["windows"].written_bytes) == (3 * window, window)
    four, eight = 64 * (10576 * 2560 + 2560 * 5120), 50288 * 2560
    bare = four / 2 + eight
    assert bare < rows["weights"].kept_bytes < 1.05 * bare, "scales are at most one in twenty"
    assert rows["weights"].read_bytes == rows["weights"].kept_bytes
    assert rows["embedding"].kept_bytes == 50288 * rows["embedding"].read_bytes
    # SiLU of x, B, C and z, softplus and decay of each head; an entry has a base and a slope.
    assert rows["tables"].read_bytes > 64 * (2 * 5120 + 2 * 128 + 80) * 2


def test_rows_say_where_things_live_and_stand_in_order():
    model = graphs.small_mamba2()
    design = default_design(model, VCK190)
    rows = account(model, design)
    assert [r.purpose for r in rows] == sorted((r.purpose for r in rows), key=PURPOSES.index)
    assert {r.place for r in rows} == {"chip"}
    away = replace(design, places=dict.fromkeys(design.places, "memory"))
    moved = {r.purpose for r in account(model, away) if r.place == "memory"}
    assert moved == {"weights", "embedding", "states", "constants", "windows"}


def test_sequences_of_a_window_are_written_once_and_read_by_each_that_is_wired_to_them():
    model = graphs.typeseg(layers=1)
    design = default_design(model, VCK190, window=32)
    (row,) = (s for s in account(model, design) if s.purpose == "sequences")
    kept = written = read = 0
    for segment in model.segments:
        for name, value in segment.graph.outputs.items():
            sizes = segment.graph.types[value].size_bits / 8
            wires = [w for s in model.segments for w in s.wires.values()]
            uses = wires.count(f"{segment.name}.{name}")
            kept, written, read = (
                kept + 32 * sizes * (uses > 0), written + sizes * (uses > 0), read + uses * sizes,
            )  # fmt: skip
    assert (row.kept_bytes, row.written_bytes, row.read_bytes) == (kept, written, read)


def test_a_window_that_is_contracted_is_a_cache():
    """The same push: read by a convolution it is a window, by a product a cache of keys."""
    graph = graphs.shared_state().segments[0].graph
    (push,) = (n for n in graph.nodes if n.op.name == "push")
    assert _kept_for(graph, push) == "kv"
    conv = graphs.small_mamba2().segments[0].graph
    pushes = [n for n in conv.nodes if n.op.name == "push"]
    assert pushes
    assert all(_kept_for(conv, n) == "windows" for n in pushes)

"""Prompts and batches take the cycles and bytes that closed forms say, beat for beat."""

import time
from dataclasses import replace
from fractions import Fraction
from math import ceil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cosim.design import Choices, Lanes, Workload, default_design, graph_kinds, sized_design
from cosim.design.shapes import linear_shapes
from cosim.design.workload import tiles_of, turns_of
from cosim.ir.errors import UserError
from cosim.machine import load_machine
from hw_models.build import build_network
from hw_models.dataflow import solve
from hw_models.evaluate import Evaluator
from hw_models.passes import Passes
from hw_models.serve import serve
from hw_models.simulate import simulate
from hw_models.storage import account, seen_share
from tests.hw_models import graphs
from tests.hw_models.oracle import play

VCK190, U280 = load_machine("vck190"), load_machine("u280")
PLACES = ("weights", "states", "embedding")
OFF_CHIP = tuple((name, "memory") for name in PLACES)
MODELS = {
    "mamba2": lambda: graphs.small_mamba2(layers=2),
    "groups": lambda: graphs.small_mamba2(layers=2, groups=2),
    "mamba1": graphs.small_mamba1,
    "one layer": lambda: graphs.small_mamba2(layers=1),
}
LANES = st.builds(
    Lanes, st.integers(2, 9), st.integers(3, 20), st.integers(4, 30), st.integers(2, 9),
    st.sampled_from([4, 64]),
)  # fmt: skip


@settings(max_examples=8)
@given(
    st.sampled_from(sorted(MODELS)),
    LANES,
    st.tuples(st.integers(1, 4), st.integers(1, 2), st.integers(1, 4)),
    st.booleans(),
    st.fixed_dictionaries({name: st.sampled_from(["chip", "memory"]) for name in PLACES}),
    st.fixed_dictionaries({
        "order": st.sampled_from(["graph", "waited", "heads"]),
        "fused": st.booleans(),
        "matrix": st.sampled_from(["shared", "separate"]),
        "shallow_beats": st.sampled_from([2, 32]),
    }),
)  # fmt: skip
def test_prompts_and_batches_end_when_the_event_simulation_ends_them(
    name, lanes, sizes, is_prompt, places, chosen
):
    """No deadlock with the FIFOs that the rules give, and the same times, shortcut or not."""
    model, (tile, tiles, batch) = MODELS[name](), sizes
    load = Workload("prefill", 99) if is_prompt else Workload(batch=batch)
    choices = Choices(
        lanes, places=tuple(places.items()), tile=tile, tiles=tiles, workload=load, **chosen
    )
    design = sized_design(model, VCK190, choices)
    (kind,) = graph_kinds(model, choices.order, choices.fused, choices.matrix)
    passes = Passes((tile,) * tiles, True) if is_prompt else Passes(tiles_of(batch, tile))
    (layout,) = design.layouts
    layered = layout.layers > 1
    network = build_network(
        kind.skeleton, layout, design, VCK190, 1 if layered else 2, not is_prompt, passes=passes
    )
    rounds = 2 if layered else 1
    expected = play(network, rounds, patience=6000)
    assert expected is not None
    for timing in (solve(network, rounds), solve(network, rounds, shortcut=False)):
        for actor in network.actors:
            assert expected[1][actor.name] == timing.finish(actor.name).tolist(), actor.name


def wide(model, machine, workload, tile, tiles, **lanes):
    """Return a simulation whose chains and states are wide: nothing but matrix or memory binds."""
    chosen = Choices(
        Lanes(**({"rows": 8, "columns": 8, "state": 256, "chain": 64, "prefetch": 256} | lanes)),
        places=OFF_CHIP, workload=workload, tile=tile, tiles=tiles,
    )  # fmt: skip
    return simulate(model, machine, sized_design(model, machine, chosen))


def layer_steps(model, rows, columns, scales=0):
    """Count by hand the steps of all layers: groups of rows x (columns' steps + multipliers')."""
    (kind,) = graph_kinds(model)
    return sum(
        n * ceil(s.rows / rows) * (ceil(s.columns / columns) + scales)
        for s, n in linear_shapes(kind.skeleton)
        if kind.skeleton.task(s.task).part == "block"
    )


def test_a_long_prompt_takes_its_products_over_the_lanes():
    """2.7B, 2048 products a cycle: (10592 x 2560 + 2560 x 5120) x 64 / 2048, for 10576 rows."""
    found = wide(graphs.mamba2_27b(), U280, Workload("prefill", 96), 16, 2, rows=32, columns=64)
    steps = 64 * (10592 * 2560 + 2560 * 5120) // 2048
    assert layer_steps(graphs.mamba2_27b(), 32, 64) == steps
    # A group takes its multipliers once in 16 tokens, a step in 640.
    assert steps < found.cycles_per_token < 1.01 * steps
    assert found.ceilings.macs_per_s / found.ceilings.clock_hz == 2048
    (matrix,) = (u for u in found.units if u.unit == "matrix")
    assert matrix.utilisation > 0.99


@pytest.mark.parametrize("tile", [1, 2, 8])
def test_weights_take_their_bits_over_the_bandwidth_once_a_tile(tile):
    """8192 products a cycle never bind on a VCK190: a beat of 64 x 128 weights of 4 bits does."""
    model = graphs.mamba2_27b()
    found = wide(model, VCK190, Workload("prefill", 64), tile, 2, rows=64, columns=128)
    ports = found.design.ports
    share = Fraction(ports.weight_parts, ports.parts)
    rate = VCK190.bits_per_cycle(VCK190.fastest_memory) * share
    beats = layer_steps(model, 64, 128, scales=1)  # 64 multipliers fit a beat
    bound = beats * 64 * 128 * 4 / rate / tile
    assert bound < found.cycles_per_token < 1.02 * bound
    assert share >= Fraction(60, 64)
    (weights,) = (s for s in account(model, found.design) if s.purpose == "weights")
    alone = simulate(model, VCK190).design
    (whole,) = (s for s in account(model, alone) if s.purpose == "weights")
    (head,) = (s for s, _ in linear_shapes(graph_kinds(model)[0].skeleton) if s.rows == 50288)
    assert weights.read_bytes * tile == whole.read_bytes - head.stored_bits / 8
    assert weights.kept_bytes == whole.kept_bytes


def test_a_batch_fetches_the_weights_once_and_every_state():
    """Bytes by hand: weights over the sequences, a state of each, there and back."""
    model = graphs.mamba2_27b()
    alone, four = (wide(model, U280, Workload(batch=n), n, 1, rows=32, columns=128) for n in (1, 4))
    rows = [{s.purpose: s for s in account(model, r.design)} for r in (alone, four)]
    assert rows[1]["weights"].read_bytes == rows[0]["weights"].read_bytes / 4
    assert rows[1]["states"].read_bytes == rows[0]["states"].read_bytes
    assert rows[1]["states"].kept_bytes == 4 * rows[0]["states"].kept_bytes
    assert rows[1]["windows"].kept_bytes == 4 * rows[0]["windows"].kept_bytes
    assert 1.4 < four.tokens_per_second / alone.tokens_per_second < 4.0
    # Weight-bound, one after another: the port's share of the bandwidth is never idle.
    (port,) = (u for u in alone.units if u.unit == "memory")
    assert port.utilisation > 0.99


def test_every_sequence_has_memories_of_its_own():
    """Three more windows of 2.7B, 64 x 4 x 5376 values of 12 bits each, in blocks of the board."""
    model, bits = graphs.mamba2_27b(), []
    for batch in (1, 4):
        choices = Choices(Lanes(8, 16, 8, 8, 64), places=OFF_CHIP, workload=Workload(batch=batch))
        used = sized_design(model, U280, choices).resources
        bits.append(used["uram"] * 288 * 1024 + used["bram"] * 36 * 1024)
    assert bits[1] - bits[0] >= 3 * 64 * 4 * 5376 * 12


@pytest.mark.parametrize(
    ("workload", "tile", "tiles"),
    [
        (Workload("prefill", 37), 4, 2),
        (Workload("prefill", 5), 4, 2),
        (Workload("prefill", 33), 1, 1),
        (Workload(batch=5), 2, 1),
        (Workload("prefill", 37, batch=3), 4, 1),
    ],
)
@pytest.mark.parametrize("places", [OFF_CHIP, None])
def test_bytes_by_purpose_are_those_of_the_operators_and_energy_adds_up(
    workload, tile, tiles, places
):
    model = graphs.small_mamba2()
    choices = Choices(
        Lanes(4, 8, 8, 8, 64), workload=workload, tile=tile, tiles=tiles, places=places
    )
    found = simulate(model, VCK190, sized_design(model, VCK190, choices))
    moved = sum(
        s.read_bytes + s.written_bytes
        for s in account(model, found.design) if s.place == "memory"
    )  # fmt: skip
    assert moved == pytest.approx(sum(r.offchip_bytes for r in found.operators), rel=1e-12)
    rows = sum(r.energy_pj for r in found.operators)
    others = found.energy_pj["clock"] + found.energy_pj["static"]
    assert found.energy_pj_per_token == pytest.approx(rows + others)
    names = {r.node for r in found.operators}
    assert ("lm_head.acc" in names) != workload.is_prompt
    assert "layers.2.out_proj.acc" in names
    point = Evaluator(model, VCK190).point(choices)
    assert point.cycles_per_token == found.cycles_per_token
    assert point.energy_pj == found.energy_pj
    for unit in found.units:
        assert unit.busy_cycles <= found.cycles_per_token + 1e-9, unit


def test_prompts_of_a_batch_are_read_one_after_another():
    model = graphs.small_mamba2()
    one, three = (
        simulate(model, VCK190, workload=Workload("prefill", 40, batch=n)) for n in (1, 3)
    )
    assert three.latency_cycles == 3 * one.latency_cycles
    assert three.cycles_per_token == one.cycles_per_token == one.latency_cycles / 40


def test_the_first_token_follows_the_prompt():
    """The last token of a prompt is the first step of generation."""
    model = graphs.small_mamba2()
    design = default_design(model, VCK190, workload=Workload("prefill", 40))
    served = serve(model, VCK190, Workload("prefill", 40), design)
    before = simulate(model, VCK190, design, workload=Workload("prefill", 39)).latency_cycles
    step = simulate(model, VCK190, design, workload=Workload(context=39))
    assert served.first_token_cycles == before + step.latency_cycles
    assert [p.design.choices.workload.phase for p in served.phases] == ["prefill", "decode"]
    alone = serve(model, VCK190, Workload("prefill", 1), design)
    assert alone.first_token_cycles == step.latency_cycles


def test_context_changes_nothing_for_a_state_and_says_so():
    model = graphs.small_mamba2()
    short, long = (simulate(model, VCK190, workload=Workload(context=n)) for n in (0, 100_000))
    assert short.cycles_per_token == long.cycles_per_token
    assert short.energy_pj == long.energy_pj
    assert any("after 100,000 tokens: as after any number" in n for n in long.notes)


def test_a_cache_is_read_as_far_as_it_is_filled():
    """A window of 4 places that nothing convolves is a cache: 0, 1, 2 and at most 3 are read."""
    b = graphs.shared_state().segments[0].graph
    push = next(n for n in b.nodes if n.op.name == "push")
    shares = [seen_share(b, push, n) for n in (0, 1, 2, 3, 900)]
    assert shares == [0, 1 / 3, 2 / 3, 1, 1]
    conv = graphs.small_mamba2().segments[0].graph
    assert all(seen_share(conv, n, 0) == 1 for n in conv.nodes if n.op.name == "push")


def test_operations_per_byte_grow_with_the_tile():
    model = graphs.mamba2_27b()
    rows = {}
    for tile in (1, 4):
        found = wide(model, VCK190, Workload("prefill", 32), tile, 2, rows=16, columns=16)
        rows[tile] = {r.node: r for r in found.operators}
    name = "layers.7.in_proj.acc"
    assert rows[4][name].offchip_bytes * 4 == rows[1][name].offchip_bytes
    assert rows[4][name].intensity > 3 * rows[1][name].intensity
    assert rows[4][name].energy_pj < rows[1][name].energy_pj
    assert (rows[1][name].bound, rows[4][name].bound) == ("memory", "compute")


def test_states_stay_on_chip_through_a_turn():
    """2 x 3 tokens a turn: each reads and writes a sixth of what a token alone does."""
    model = graphs.small_mamba2()
    found = wide(model, VCK190, Workload("prefill", 60), 2, 3)
    alone = wide(model, VCK190, Workload("prefill", 60), 1, 1)
    pair = [
        next(s for s in account(model, r.design) if s.purpose == "states") for r in (found, alone)
    ]
    assert pair[0].read_bytes * 6 == pair[1].read_bytes
    assert pair[0].kept_bytes == pair[1].kept_bytes


@pytest.mark.parametrize("machine", ["u280", "vck190"])
def test_the_rules_read_a_prompt_much_faster_than_token_by_token(machine):
    model, board = graphs.mamba2_27b(), load_machine(machine)
    design = default_design(model, board, workload=Workload("prefill", 256))
    assert all(u <= design.budget[n] for n, u in design.resources.items())
    began = time.process_time()
    prompt = simulate(model, board, design)
    assert time.process_time() - began < 20  # 1 to 2 s on an idle core
    decode = simulate(model, board)
    # On u280 the products by scales of groups take the DSPs that more rows would need.
    assert prompt.tokens_per_second > 1.5 * decode.tokens_per_second
    (matrix,) = (u for u in prompt.units if u.unit == "matrix")
    assert matrix.utilisation > 0.9


# Hardly a block memory: not even what one layer needs fits.
BARE = replace(VCK190, logic=replace(VCK190.logic, brams=60, urams=0))
BAD = [
    (lambda: Workload("dream"), "phase 'dream' is unknown; choose one of decode, prefill"),
    (lambda: Workload("prefill", 0), "workload: tokens 0 must be 1 to 1,048,576"),
    (lambda: Workload(batch=0), "workload: batch 0 must be 1 to"),
    (lambda: Workload(context=-1), "workload: context -1 must be 0 to"),
    (lambda: Workload(tokens=7), "phase decode reads none; leave them out, or choose phase pre"),
    (
        lambda: simulate(graphs.typeseg(), VCK190, workload=Workload(batch=2)),
        "typeseg generates no tokens, it runs over a window; leave out prefill, batch",
    ),
    (
        lambda: simulate(
            graphs.small_mamba2(), VCK190, default_design(graphs.small_mamba2(), VCK190),
            workload=Workload(batch=2),
        ),
        "keeps the states of 1 sequences, not of 2; make one for this batch",
    ),
    (
        lambda: default_design(graphs.mamba2_27b(), BARE, workload=Workload(batch=64)),
        r"too small for mamba2-2.7b (decode, batch 64): the smallest design needs",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("make", "sentence"), BAD)
def test_what_is_no_workload_is_refused(make, sentence):
    with pytest.raises(UserError) as caught:
        make()
    assert sentence in str(caught.value)


def test_turns_of_a_prompt_hold_all_its_tokens():
    for tokens in range(1, 60):
        turns = turns_of(Workload("prefill", tokens), 4, 3)
        assert turns.passes == tokens
        assert turns.fetches * tokens == len(turns.tiles) * turns.times + len(turns.rest)
        assert max((*turns.tiles, *turns.rest)) <= 4
    design = replace(Choices(Lanes(1, 1, 1, 1, 1)), workload=Workload("prefill", 24), tile=4)
    assert design.turns.fetches == Fraction(1, 4)

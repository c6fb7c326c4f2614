"""Constants, windows, sequences and FIFOs off chip: bytes by hand, times by event simulation."""

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cosim.design import Choices, Lanes, Workload, default_design, graph_kinds, sized_design
from cosim.design.arrange import can_spill
from cosim.design.plan import PLACES
from cosim.design.resources import blocks, stored_cost
from cosim.design.traffic import moved_bits
from cosim.design.workload import tiles_of
from cosim.ir.errors import UserError
from cosim.machine import load_machine
from hw_models.build import build_network
from hw_models.dataflow import solve
from hw_models.depths import depths_of
from hw_models.evaluate import Evaluator
from hw_models.passes import Passes
from hw_models.simulate import simulate
from hw_models.storage import account
from rtl.elaborate import elaborate
from tests.hw_models import graphs
from tests.hw_models.oracle import play

VCK190, U280 = load_machine("vck190"), load_machine("u280")
ON_CHIP = dict.fromkeys(PLACES, "chip")
LANES = st.builds(
    Lanes, st.integers(2, 9), st.integers(3, 20), st.integers(4, 30), st.integers(2, 9),
    st.sampled_from([4, 64]),
)  # fmt: skip
MODELS = {
    "mamba2": lambda: graphs.small_mamba2(layers=2),
    "groups": lambda: graphs.small_mamba2(layers=2, groups=2),
    "mamba1": graphs.small_mamba1,
    "one layer": lambda: graphs.small_mamba2(layers=1),
}


def away(design, *names, spills=()):
    """Return a design with some of it off chip."""
    places = tuple((dict(design.choices.places) | dict.fromkeys(names, "memory")).items())
    return replace(design.choices, places=places, spills=spills)


def spillable(design, kinds):
    return sorted({
        f.channel for kind, layout in zip(kinds, design.layouts, strict=True)
        for f in layout.fifos if can_spill(kind.skeleton, f)
    })  # fmt: skip


def by_purpose(model, design, purpose):
    (row,) = (s for s in account(model, design) if s.purpose == purpose and s.place == "memory")
    return row


@settings(max_examples=20)
@given(
    st.sampled_from(sorted(MODELS)),
    LANES,
    st.tuples(st.integers(1, 3), st.integers(1, 2), st.integers(1, 3)),
    st.booleans(),
    st.fixed_dictionaries({name: st.sampled_from(["chip", "memory"]) for name in PLACES[:5]}),
    st.integers(0, 1 << 20),
    st.sampled_from([1, 2, 32]),
)  # fmt: skip
def test_what_is_off_chip_comes_when_the_event_simulation_says(
    name, lanes, sizes, is_prompt, places, chosen, shallow
):
    """Any places, any FIFOs spilt, prompts and batches: no deadlock, and the same times."""
    model, (tile, tiles, batch) = MODELS[name](), sizes
    load = Workload("prefill", 99) if is_prompt else Workload(batch=batch)
    choices = Choices(
        lanes, places=tuple(places.items()), tile=tile, tiles=tiles, workload=load,
        shallow_beats=shallow,
    )  # fmt: skip
    (kind,) = graph_kinds(model)
    names = spillable(sized_design(model, VCK190, choices), [kind])
    spills = tuple(n for bit, n in enumerate(names) if chosen >> bit & 1)
    design = sized_design(model, VCK190, replace(choices, spills=spills))
    (layout,) = design.layouts
    layered = layout.layers > 1
    passes = Passes((tile,) * tiles, True) if is_prompt else Passes(tiles_of(batch, tile))
    network = build_network(
        kind.skeleton, layout, design, VCK190, 1 if layered else 2, not is_prompt, passes=passes
    )
    rounds = 2 if layered else 1
    expected = play(network, rounds, patience=9000)
    assert expected is not None
    for timing in (solve(network, rounds), solve(network, rounds, shortcut=False)):
        for actor in network.actors:
            assert expected[1][actor.name] == timing.finish(actor.name).tolist(), actor.name


def test_constants_and_windows_of_27b_move_what_their_sizes_say():
    """64 layers: taps of 18 bits and biases of 32 for 5376 channels, and what a head has."""
    model = graphs.mamba2_27b()
    base = default_design(model, VCK190)
    found = simulate(model, VCK190, sized_design(model, VCK190, away(base, "constants", "windows")))
    (kind,) = graph_kinds(model)
    sketch = kind.skeleton.sketch
    # Bias and rate of the decay, D, and the lift of a state's rows where there is one.
    heads = sum(
        sketch.types[o].size_bits for n in sketch.nodes for o in n.inputs
        if o in sketch.stored and o not in sketch.states and n.op.name in {"add", "mul"}
        and sketch.types[o].size > 1
    )  # fmt: skip
    lifts = sum(
        sketch.types[n.inputs[-1]].size_bits for n in sketch.nodes
        if n.op.name == "decay_update" and n.inputs[-1] in sketch.stored
    )  # fmt: skip
    row = by_purpose(model, found.design, "constants")
    assert heads == 80 * (32 + 16 + 16)
    assert row.kept_bytes == row.read_bytes == 64 * (5376 * (4 * 18 + 32) + heads + lifts) / 8
    assert row.written_bytes == 0
    window = by_purpose(model, found.design, "windows")
    assert window.read_bytes == window.written_bytes == 64 * 3 * 5376 * 12 / 8
    # In 16 tokens of a prompt, two turns of 8, each has an eighth of both.
    load = Workload("prefill", 16)
    choices = replace(found.design.choices, workload=load, tile=4, tiles=2)
    prompt = sized_design(model, VCK190, choices)
    assert by_purpose(model, prompt, "constants").read_bytes == row.read_bytes / 8
    assert by_purpose(model, prompt, "windows").read_bytes == window.read_bytes / 8


def test_every_byte_off_chip_is_an_operators_takes_a_beat_and_costs_its_energy():
    model, names = graphs.small_mamba2(), ("constants", "windows")
    on_chip = sized_design(
        model, VCK190, Choices(Lanes(4, 8, 8, 8, 64), places=tuple(ON_CHIP.items()))
    )
    (kind,) = graph_kinds(model)
    spills = tuple(spillable(on_chip, [kind])[:3])
    design = sized_design(model, VCK190, away(on_chip, *names, spills=spills))
    near, far = (simulate(model, VCK190, d) for d in (on_chip, design))
    rows = account(model, design)
    assert {r.purpose for r in rows if r.place == "memory"} == {*names, "spills"}
    told = sum(r.read_bytes + r.written_bytes for r in rows if r.place == "memory")
    assert told == sum(r.offchip_bytes for r in far.operators)
    moved = moved_bits([kind], design.layouts, design.places, design.choices)
    assert moved.total == told * 8
    # The picojoules of a bit of LPDDR4 or DDR4, whatever they are, for just these bits.
    price = Evaluator(model, VCK190).prices
    a_bit = price.constants[f"dram.{price.technology}"].value
    assert far.energy_pj["off chip"] == pytest.approx(told * 8 * a_bit)
    assert "off chip" not in near.energy_pj
    assert Evaluator(model, VCK190).point(design.choices).energy_pj == far.energy_pj
    network = build_network(kind.skeleton, design.layouts[0], design, VCK190)
    ports = {a.name: a for a in network.actors}
    for name in spills:
        write, read = ports[f"spill.write {name}"], ports[f"spill.read {name}"]
        (maker,) = (a for a in network.actors if a.beats(name, pushed=True))
        beats = maker.beats(name, pushed=True)
        assert write.beats(name, pushed=False) == read.beats(f"{name}.back", pushed=True) == beats
        # Each beat is fetched only when it is there.
        assert write.beats(f"{name}.spilt", pushed=True) == beats
        assert read.beats(f"{name}.spilt", pushed=False) == beats


def test_a_memory_that_is_slow_to_bring_taps_holds_the_convolution_up():
    """A tenth of the bandwidth for all: the stall of the FIR unit stands at its constants."""
    model = graphs.small_mamba2()
    lanes = Lanes(4, 8, 8, 8, 64)
    design = sized_design(
        model, VCK190,
        Choices(lanes, places=tuple((ON_CHIP | {"constants": "memory"}).items())),
    )  # fmt: skip
    slow = replace(VCK190, memories=tuple(
        replace(m, efficiency=m.efficiency / 500) for m in VCK190.memories
    ))  # fmt: skip
    fast, held = (simulate(model, m, design) for m in (VCK190, slow))
    assert held.cycles_per_token > 2 * fast.cycles_per_token
    waits = {s.fifo: s.cycles for s in held.stalls if s.unit == "fir"}
    assert max(waits, key=waits.get) == "constants.fir"
    # By its share: all taps and biases of three layers, one token after another.
    bits = 3 * 72 * (4 * 18 + 32)
    all_bits = moved_bits(graph_kinds(model), design.layouts, design.places, design.choices).total
    (share,) = (Fraction(n, design.ports.parts) for (n,) in [(design.ports.others[0][1],)])
    rate = slow.bits_per_cycle(slow.fastest_memory) * share * bits / all_bits
    assert held.cycles_per_token >= 0.95 * bits / rate


def test_sequences_off_chip_are_the_same_bytes_elsewhere_and_cost_time():
    model = graphs.typeseg()
    places = tuple(ON_CHIP.items())
    chosen = Choices(Lanes(4, 8, 8, 8, 64), places=places, window=64)
    near = sized_design(model, VCK190, chosen)
    far = sized_design(model, VCK190, away(near, "sequences"))
    (kept,) = (s for s in account(model, near) if s.purpose == "sequences")
    row = by_purpose(model, far, "sequences")
    assert (row.kept_bytes, row.read_bytes, row.written_bytes) == (
        kept.kept_bytes, kept.read_bytes, kept.written_bytes,
    )  # fmt: skip
    found, before = (simulate(model, VCK190, d) for d in (far, near))
    assert sum(r.offchip_bytes for r in found.operators) == row.read_bytes + row.written_bytes
    assert found.cycles_per_token >= before.cycles_per_token
    assert far.resources["bram"] + far.resources["uram"] < (
        near.resources["bram"] + near.resources["uram"]
    )
    for kind, layout in zip(graph_kinds(model), far.layouts, strict=True):
        network = build_network(kind.skeleton, layout, far, VCK190, 2, feedback=False)
        expected = play(network, 1, patience=6000)
        timing = solve(network)
        assert expected is not None
        for actor in network.actors:
            assert expected[1][actor.name] == timing.finish(actor.name).tolist(), actor.name


def test_a_window_that_no_chip_holds_goes_to_the_memory():
    """8192 tokens on a board of 110 BRAM: sequences live off chip, and the design says so."""
    model = graphs.typeseg(layers=1)
    machine = load_machine("zcu102")
    small = replace(machine, logic=replace(machine.logic, brams=110))
    design = default_design(model, small, window=8192)
    assert design.places["sequences"] == "memory"
    assert design.reasons[0].startswith("sequences off chip, for")
    assert default_design(model, machine, window=8192).places["sequences"] == "chip"


def test_one_layer_of_taps_stays_where_passes_share_it():
    """Of a FIR unit's taps and biases on chip: all layers', none, or one layer's for two passes."""
    model = graphs.mamba2_27b()
    (kind,) = graph_kinds(model)
    whole = kind.skeleton
    fir = replace(whole, tasks=tuple(t for t in whole.tasks if whole.kind(t) == "fir"))
    base = default_design(model, U280)
    units = {u.name: replace(u, lanes=8) for u in base.units}

    def stored(constants, batch, **other):
        places = {"states": "memory", "constants": constants, "windows": "memory"}
        choices = replace(base.choices, workload=Workload(batch=batch), **other)
        return stored_cost(fir, units, places, U280, choices)

    def blocks_of(layers):
        beats = layers * 5376 // 8
        return blocks(8 * 4 * 18, beats, U280) + blocks(8 * 32, beats, U280)

    assert stored("chip", 1) == stored("chip", 2) == blocks_of(64)
    assert stored("memory", 1) == {}
    assert stored("memory", 2) == blocks_of(1)
    # A prompt's windows stay too, from a turn's first token to its last.
    prompt = replace(base.choices, workload=Workload("prefill", 8), tile=4)
    away = dict.fromkeys(("states", "constants", "windows"), "memory")
    kept = stored_cost(fir, units, away, U280, prompt)
    assert kept == blocks_of(1) + blocks(8 * 4 * 12, 5376 // 8, U280)


def test_depths_at_the_memory_can_be_chosen():
    model = graphs.small_mamba2()
    base = sized_design(
        model, VCK190, Choices(Lanes(4, 8, 8, 8, 64), places=tuple(ON_CHIP.items()))
    )
    (kind,) = graph_kinds(model)
    name = spillable(base, [kind])[0]
    choices = replace(
        away(base, "constants", "windows", spills=(name,)),
        depths=(("constants.fir", 5), ("window.in", 6), ("window.out", 7), (name, 3)),
    )
    evaluator = Evaluator(model, VCK190)
    found = depths_of(evaluator, evaluator.design(choices))
    assert [found[n] for n in ("constants.fir", "window.in", "window.out", name)] == [5, 6, 7, 3]
    network = build_network(kind.skeleton, evaluator.design(choices).layouts[0],
                            evaluator.design(choices), VCK190)  # fmt: skip
    assert network.channels["constants.fir"].depth == 5
    assert network.channels[name].depth == network.channels[f"{name}.back"].depth == 3


def test_what_cannot_spill_is_refused():
    model = graphs.small_mamba2()
    design = default_design(model, VCK190)
    ends = next(f.channel for f in design.layouts[0].fifos if f.taker.startswith("sink."))
    for name, sentence in (
        ("a -> b", "no FIFO is called 'a -> b'; spill one of the design"),
        (ends, "only what two units of one part of the graph hand on can spill; choose another"),
    ):
        with pytest.raises(UserError) as caught:
            sized_design(model, VCK190, away(design, spills=(name,)))
        assert sentence in str(caught.value)


@pytest.mark.parametrize("name", ["constants", "windows"])
def test_wires_refuse_what_they_do_not_build(name):
    model = graphs.small_mamba2()
    design = sized_design(model, VCK190, away(default_design(model, VCK190), name))
    with pytest.raises(UserError) as caught:
        elaborate(model, design)
    assert f"{name} off chip; wires are built for these on chip" in str(caught.value)

"""Estimates of LUT and FF follow from the sample, and say where they leave it."""

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from cosim.design import Choices, Lanes, sized_design
from cosim.design.features import Size, in_luts
from cosim.design.fitted import UNKNOWN_LUTS, estimate, fits
from cosim.design.products import dsps_of
from cosim.machine import load_machine
from tests.benchmarks import resource_fit, resource_held_out
from tests.hw_models import graphs

ROWS, DRAWN = map(resource_fit.read, (resource_fit.SIZES, resource_fit.HELD_OUT_ROWS))
APART = resource_fit.unseen(DRAWN, ROWS)
VCK190 = load_machine("vck190")


def test_what_is_shipped_is_what_the_sample_gives():
    """Refitting the committed sample gives the committed file, its errors included."""
    ours = resource_fit.fitted(ROWS)
    shipped = yaml.safe_load((Path("cosim") / "design" / "fitted.yaml").read_text("utf-8"))
    assert shipped.keys() == ours.keys()
    assert shipped["kinds"] == yaml.safe_load(yaml.safe_dump(ours["kinds"]))
    for what in resource_fit.WHAT:
        assert shipped[what] == pytest.approx(ours[what], rel=1e-2, abs=1e-3)


def test_dsps_are_counted_as_yosys_counts_them():
    """Every unit but the norm by tables, two of whose DSPs a lane depend on what is in them."""
    wrong = {(r.sample.graph, r.kind) for r in ROWS if r.dsps != r.found["dsps"]}
    assert wrong == {("lightmamba", "norm")}
    assert sum(r.found["dsps"] for r in ROWS) > 1000


def test_units_that_were_held_out_were_not_fitted():
    own = [r for r in ROWS if r.sample.family == "xcup"]
    fit, held = resource_fit.parted(own)
    assert len(fit) + len(held) == len(own)
    assert not {r.sample.key for r in fit} & {r.sample.key for r in held}
    for kind, sampled in fits().kinds.items():
        assert sampled.errors["luts"]["held_out"].samples == sum(r.kind == kind for r in held)
        assert sampled.errors["luts"]["fitted"].samples == sum(r.kind == kind for r in fit)


def test_units_drawn_apart_are_of_sizes_that_no_fitted_unit_has():
    """One drawn norm has exactly the amounts of a sampled one, and is not told as unseen."""
    (same,) = [r for r in DRAWN if r not in APART]
    assert (same.kind, same.sample.lanes) == ("norm", (2, 2, 4, 4))
    own = [(r.kind, r.size) for r in ROWS if r.sample.family == "xcup"]
    assert not [r.sample.key for r in APART if (r.kind, r.size) in own]
    count = Counter(r.kind for r in APART)
    assert count.keys() == set(resource_held_out.KINDS)
    assert max(count.values()) == resource_held_out.EACH


@pytest.mark.slow
def test_units_apart_are_those_that_the_seed_draws():
    """None was left out because of what came out: if any lack, they are the largest texts."""
    there = [(r.sample.key, r.kind, r.size, r.dsps) for r in DRAWN]
    draw = [(d.sample.key, d.kind, d.size, d.dsps) for d in resource_held_out.in_turn()]
    assert draw[: len(there)] == there


def test_the_errors_of_units_apart_are_told_as_they_are():
    """Written out: a coefficient times an amount, against what yosys counted."""
    told = {r["kind"]: r for r in resource_fit.held_out_table(APART).records()}
    for kind in resource_held_out.KINDS:
        mine = [r for r in APART if r.kind == kind]
        for what, fit in (("luts", fits().luts), ("ffs", fits().ffs)):
            off = []
            for row in mine:
                said = fit[f"unit {kind}"] + sum(fit[n] * a for n, a in row.size.amounts.items())
                off.append(abs(said / row.found[what] - 1))
            assert told[kind][f"{what}_worst"] == pytest.approx(max(off), abs=0.01)
            assert told[kind][what] == pytest.approx(sum(off) / len(off), abs=0.01)
        assert told[kind]["dsps"] == sum(r.dsps == r.found["dsps"] for r in mine)


@pytest.mark.parametrize("kind", ["state", "hadamard", "matrix", "norm", "fir"])
def test_a_sampled_unit_is_estimated_near_its_figure(kind):
    """The estimate that a design gets is the one whose error is stated."""
    worst = fits().kinds[kind].errors["luts"]
    for row in (r for r in ROWS if r.kind == kind and r.sample.family == "xcup"):
        found = estimate("u", kind, row.size)
        off = abs(found.luts / row.found["luts"] - 1)
        assert off <= max(worst["fitted"].worst, worst["held_out"].worst) + 0.01


def test_what_lies_beyond_the_sample_is_marked():
    row = next(r for r in ROWS if r.kind == "state" and r.sample.family == "xcup")
    assert estimate("state", "state", row.size).marks == ()
    least, most = fits().kinds["state"].facts["lanes"]
    wide = replace(row.size, facts={**row.size.facts, "lanes": (most + 1, most + 1)})
    (mark,) = estimate("state", "state", wide).marks
    assert mark.text() == f"lanes {most + 1}, sampled {least} to {most}"
    narrow = replace(row.size, facts={**row.size.facts, "lanes": (least - 1, least - 1)})
    assert [m.value for m in estimate("state", "state", narrow).marks] == [least - 1]


def test_an_operator_that_was_never_sampled_is_assumed_and_marked():
    known = estimate("v", "vector", Size(Counter(requant=100)))
    both = estimate("v", "vector", Size(Counter(requant=100, loom=50)))
    assert both.luts - known.luts == pytest.approx(50 * UNKNOWN_LUTS, abs=1)
    assert [m.text() for m in both.marks] == ["loom not sampled, cost assumed"]


def test_a_design_says_what_of_it_is_extrapolated():
    model = graphs.small_mamba2()
    inside = sized_design(model, VCK190, Choices(Lanes(4, 8, 4, 4, 64)))
    beyond = sized_design(model, VCK190, Choices(Lanes(4, 8, 256, 4, 64)))
    assert not any(re.search(r"\blanes\b.*\(state\)", text) for text in inside.outside)
    (found,) = [t for t in beyond.outside if "(state)" in t and t.startswith("lanes 256, sampled ")]
    assert f"LUT and FF extrapolated: {found}" in beyond.text()
    other = "family versal, sampled ultrascale+ (all units)"
    assert other in inside.outside
    here = sized_design(model, load_machine("u280"), Choices(Lanes(4, 8, 4, 4, 64)))
    assert not any(text.startswith("family") for text in here.outside)


@pytest.mark.parametrize(
    ("a", "b", "family", "dsps"),
    [
        (18, 27, "ultrascale+", 1), (19, 27, "ultrascale+", 2), (19, 30, "ultrascale+", 4),
        (18, 26, "7series", 2), (24, 27, "versal", 1),
    ],
)  # fmt: skip
def test_wide_products_are_cut_for_the_ports_of_a_dsp(a, b, family, dsps):
    assert dsps_of(a, b, family) == dsps_of(b, a, family) == dsps


def test_memories_of_luts_are_those_that_yosys_made():
    """Seen in the sample: FIFOs of 96 places of 48 and of 64 bits; blocks of 512 are BRAM."""
    assert in_luts(48, 96)
    assert not in_luts(64, 96)
    assert not in_luts(36, 512)

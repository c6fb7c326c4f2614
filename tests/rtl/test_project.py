"""An exported folder runs by itself, names the first beat that is wrong, and never changes."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cosim.ir.errors import UserError
from cosim.reference import run as refer
from rtl.elaborate import elaborate
from rtl.export import ACCEPTED_LINT
from rtl.golden import Golden
from rtl.hierarchy import export_all
from rtl.memory import memory_of
from rtl.project import MANIFEST, project_files, write_project
from rtl.simulators.verilator import home
from tests.rtl.simulators import NEEDS
from tests.rtl.test_whole import STREAMED, projection
from tests.rtl.units.test_ends import TOKENS, looking_up
from tests.rtl.whole import ON_CHIP, Lanes, design_of, predicted

ROOT = Path(__file__).resolve().parents[2]


def tool(simulator, *marks):
    absent = [name for name, found in NEEDS[simulator] if not found]
    return [pytest.mark.skipif(bool(absent), reason=f"needs {', '.join(absent)}"), *marks]


def case(streamed: bool):
    """Return a design that only looks up, or one that multiplies with weights from a stream."""
    if streamed:
        model, widths, places = projection(21, 33), Lanes(4, 4, 4, 4, 8), STREAMED
        inputs = {"x": np.random.default_rng(1).integers(-128, 128, (3, 33))}
    else:
        model, widths, places = looking_up(19, 22), 4, ON_CHIP
        inputs = {"token": TOKENS}
    machine, design = design_of(model, widths, places)
    made = elaborate(model, design)
    count = len(next(iter(inputs.values())))
    cycles = predicted(model, machine, design, count)
    golden = Golden(inputs, refer(model, inputs).outputs, cycles, memory_of(made, machine, count))
    return project_files(made, export_all(made), golden, "a hash", {"note": "of a test"})


@pytest.fixture(scope="module", params=[False, True], ids=["on chip", "streamed"])
def files(request):
    return case(request.param)


@pytest.fixture
def folder(files, tmp_path):
    write_project(tmp_path / "out", files)
    return tmp_path / "out"


def make(folder, what):
    """Run a target of the Makefile; return (status, what it said)."""
    env = {**os.environ, "PATH": f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"}
    env |= {"VERILATOR": str(home() / "bin" / "verilator_bin"), "VERILATOR_ROOT": str(home())}
    ran = subprocess.run(
        ["make", "-s", what], cwd=folder, env=env, capture_output=True, text=True, check=False
    )
    return ran.returncode, ran.stdout + ran.stderr


def damage(folder, name, how):
    """Change the fourth line of a file."""
    lines = (folder / name).read_text().splitlines()
    lines[3] = how(lines[3])
    (folder / name).write_text("\n".join(lines) + "\n")


def output_of(folder):
    return "y" if (folder / "y.beats").exists() else "row"


def flipped(word):
    return f"{int(word, 16) ^ 1:0{len(word)}x}"


RUNS = [
    pytest.param("icarus", marks=tool("icarus")),
    pytest.param("verilator", marks=tool("verilator", pytest.mark.slow)),
    pytest.param("cocotb", marks=tool("icarus", pytest.mark.slow)),
]


@pytest.mark.parametrize("target", RUNS)
def test_the_folder_runs_by_itself(folder, target):
    status, said = make(folder, target)
    assert status == 0, said
    assert "PASS" in said


@pytest.mark.parametrize("target", RUNS)
def test_the_first_wrong_beat_is_named_with_both_values(folder, target):
    name = output_of(folder)
    right = (folder / f"{name}.beats").read_text().splitlines()[3]
    damage(folder, f"{name}.beats", flipped)
    status, said = make(folder, target)
    assert status != 0
    assert right.lstrip("0") in said
    assert flipped(right).lstrip("0") in said
    assert "beat 3 of token 0" in said


@pytest.mark.parametrize("target", RUNS)
def test_a_beat_in_another_cycle_is_named(folder, target):
    damage(folder, f"{output_of(folder)}.cycles", flipped)
    status, said = make(folder, target)
    assert status != 0
    assert "beat 3 of token 0" in said
    assert "cycle" in said


@pytest.mark.parametrize("target", [pytest.param("lint", marks=tool("verilator"))])
def test_it_is_lint_clean(folder, target):
    status, said = make(folder, target)
    assert status == 0, said
    assert "%Warning" not in said


@pytest.mark.skipif(not shutil.which("iverilog"), reason="needs iverilog")
def test_icarus_has_nothing_to_say(folder):
    modules = sorted(p.name for p in folder.glob("*.v") if p.name != "bench.v")
    ran = subprocess.run(
        ["iverilog", "-g2005", "-Wall", "-o", "x.vvp", *modules],
        cwd=folder, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert [line for line in ran.stderr.splitlines() if "timescale" not in line] == []


def test_the_manifest_names_every_file(folder, files):
    told = json.loads((folder / MANIFEST).read_text())
    assert sorted(told["files"]) == sorted(set(files) - {MANIFEST})
    assert told["graph"] == "a hash"
    assert told["note"] == "of a test"
    assert told["accepted_lint"] == dict(ACCEPTED_LINT)
    assert {p["way"] for p in told["ports"]} == {"in", "out"}


def test_a_mask_covers_what_a_beat_holds_and_no_more(files):
    """22 elements of 5 bits, four a beat: the last beat holds two."""
    if "row.mask" in files:
        assert files["row.mask"].split() == ["fffff"] * 5 + ["003ff"]
    else:
        bits = [int(word, 16).bit_count() for word in files["y.mask"].split()]
        assert bits == [4 * bits[-1]] * 5 + [bits[-1]]


def test_the_bytes_do_not_change(files):
    assert case("weights.beats" in files) == files


@pytest.mark.slow
def test_the_bytes_do_not_depend_on_the_process():
    """Python orders sets by a seed of its own in every process."""
    text = "import hashlib; from tests.rtl.test_project import case; f = case(True); "
    text += "print(hashlib.sha256(str(sorted(f.items())).encode()).hexdigest())"
    env = {**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": str(ROOT)}
    ran = subprocess.run(
        [sys.executable, "-c", text], cwd=ROOT, env=env, capture_output=True, text=True, check=True
    )
    own = hashlib.sha256(str(sorted(case(True).items())).encode()).hexdigest()
    assert ran.stdout.strip() == own


def test_a_folder_with_other_things_is_left_alone(folder, files):
    write_project(folder, files)
    (folder / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match=r"holds 'mine.txt', which would be lost"):
        write_project(folder, files)

"""A store keeps points whole, tells versions apart, and loses nothing when it refuses."""

import errno
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from cosim.ir.errors import UserError
from cosim.sweep.evaluate import Result
from cosim.sweep.store import LOCK_FILE, Store, Version, this_version
from tests.cli.command import ROOT

VERSION = Version(2, "0.1.0", "a" * 64)
INPUTS = {"graph": "g", "machine": "m", "knobs": {"rows": 4}, "workload": {"phase": "decode"}}
RESULT = Result({"tokens_per_s": 0.1 + 0.2, "luts": 5e-324}, "", 0.0)


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()
    }


def point_file(folder: Path) -> Path:
    return folder / "points.jsonl"


@pytest.fixture
def kept(tmp_path) -> Path:
    """Make a store with one point."""
    folder = tmp_path / "store"
    with Store(folder, VERSION) as store:
        store.put(store.key(INPUTS), INPUTS, RESULT)
    return folder


def test_a_point_comes_back_to_the_last_bit(kept):
    with Store(kept, VERSION) as store:
        assert store.get(store.key(INPUTS)) == RESULT
        assert store.get(store.key({**INPUTS, "graph": "h"})) is None


def test_every_input_and_the_code_are_in_the_key(tmp_path):
    changed = (
        INPUTS,
        {**INPUTS, "graph": "h"},
        {**INPUTS, "machine": "n"},
        {**INPUTS, "knobs": {"rows": 5}},
        {**INPUTS, "knobs": {"rows": 4, "columns": 1}},
        {**INPUTS, "workload": {"phase": "prefill"}},
    )
    with Store(tmp_path / "a", VERSION) as store:
        keys = [store.key(inputs) for inputs in changed]
        assert store.key(dict(reversed(INPUTS.items()))) == keys[0], "order says nothing"
    with Store(tmp_path / "b", replace(VERSION, code="b" * 64)) as store:
        keys.append(store.key(INPUTS))
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize(
    "damage",
    [
        lambda raw: b"",
        lambda raw: raw[:-20],
        lambda raw: raw.replace(b"0.30000000000000004", b"0.4"),
        lambda raw: raw.replace(b'"reason": ""', b'"reason": "no"'),
        lambda raw: raw.replace(b'"key": "', b'"key": "0'),
        lambda raw: b"[1]\n",
        lambda raw: raw[:75] + b"1]\n",
        lambda raw: b"\xff\n",
    ],
    ids=["empty", "cut", "figure", "reason", "key", "list", "fields", "bytes"],
)
def test_a_damaged_point_is_as_if_it_were_not_there(kept, damage):
    path = point_file(kept)
    path.write_bytes(damage(path.read_bytes()))
    with Store(kept, VERSION) as store:
        assert store.get(store.key(INPUTS)) is None
        store.put(store.key(INPUTS), INPUTS, RESULT)
        assert store.get(store.key(INPUTS)) == RESULT
    with Store(kept, VERSION) as store:
        assert store.get(store.key(INPUTS)) == RESULT
        store.settle()
    with Store(kept, VERSION) as store:
        assert store.get(store.key(INPUTS)) == RESULT
    assert point_file(kept).read_bytes().count(b"\n") == 1, "of a point, one line is left"


def fill(folder: Path, graphs: str) -> None:
    with Store(folder, VERSION) as store:
        for graph in graphs:
            inputs = {**INPUTS, "graph": graph}
            store.put(store.key(inputs), inputs, replace(RESULT, binds=graph))


def test_a_finished_store_has_the_same_bytes_in_whatever_order_it_was_filled(tmp_path):
    for name, graphs in (("a", "abcd"), ("b", "dbaccb")):
        fill(tmp_path / name, graphs)
        with Store(tmp_path / name, VERSION) as store:
            store.settle()
            keys = {g: store.key({**INPUTS, "graph": g}) for g in "abcd"}
            assert [store.get(keys[g]).binds for g in "abcd"] == list("abcd")
            fresh = {**INPUTS, "graph": "e"}
            store.put(store.key(fresh), fresh, RESULT)
            assert store.get(store.key(fresh)) == RESULT
            store.settle()
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert point_file(tmp_path / "a").read_bytes().count(b"\n") == 5
    before = point_file(tmp_path / "a").stat()
    with Store(tmp_path / "a", VERSION) as store:
        store.settle()
    assert point_file(tmp_path / "a").stat().st_ino == before.st_ino, "it was in order"


@pytest.mark.parametrize("cut", [1, 40, 300])
def test_a_stop_in_the_middle_of_a_write_costs_that_point_alone(tmp_path, cut):
    folder = tmp_path / "store"
    fill(folder, "ab")
    whole = point_file(folder).read_bytes()
    point_file(folder).write_bytes(whole[:-cut])
    with Store(folder, VERSION) as store:
        keys = [store.key({**INPUTS, "graph": g}) for g in "ab"]
        assert [store.get(k) is not None for k in keys] == [True, False]
    fill(folder, "b")
    assert point_file(folder).read_bytes() == whole


@pytest.mark.parametrize(
    "other", [replace(VERSION, code="b" * 64), replace(VERSION, schema=3, release="0.2.0")]
)
def test_another_version_is_refused_with_both_names_and_nothing_lost(kept, other):
    before = contents(kept)
    with pytest.raises(UserError) as error:
        Store(kept, other)
    assert VERSION.text() in str(error.value)
    assert other.text() in str(error.value)
    assert "\n" not in str(error.value)
    assert contents(kept) == before


def test_another_release_of_the_same_code_goes_on(kept):
    with Store(kept, replace(VERSION, release="0.2.0")) as store:
        assert store.get(store.key(INPUTS)) == RESULT


def test_a_damaged_version_is_refused(kept):
    (kept / "store.json").write_text("{")
    with pytest.raises(UserError, match=r"store.json is damaged"):
        Store(kept, VERSION)
    assert point_file(kept).is_file()


def test_the_version_names_the_code(monkeypatch):
    found = this_version()
    monkeypatch.setattr("cosim.sweep.store.code_digest", lambda part: part)
    assert this_version().code != found.code
    assert len(found.code) == 64


def test_a_folder_of_others_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(UserError, match=r"holds 'thesis.tex' and is no sweep's folder"):
        Store(tmp_path, VERSION)
    with pytest.raises(UserError, match=r"thesis.tex is a file"):
        Store(tmp_path / "thesis.tex", VERSION)
    assert contents(tmp_path) == {"thesis.tex": b"x"}


def test_a_folder_below_a_file_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"cannot write .*file/store: Not a directory"):
        Store(tmp_path / "file" / "store", VERSION)


HOLD = "import sys; from cosim.sweep.store import Store; s = Store(sys.argv[1]); print(1); input()"


def test_two_processes_do_not_share_a_folder(tmp_path):
    """The lock goes with its process, even one that is killed."""
    folder = tmp_path / "store"
    other = subprocess.Popen(
        [sys.executable, "-u", "-c", HOLD, folder],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"1\n"
        with pytest.raises(UserError, match="is in use by another sweep"):
            Store(folder)
        other.kill()
    Store(folder).close()


def test_a_full_disk_keeps_what_is_there(kept, monkeypatch):
    before = contents(kept)

    def full(*args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with Store(kept, VERSION) as store:
        monkeypatch.setattr("os.write", full)
        with pytest.raises(UserError, match="No space left on device; nothing that existed"):
            store.put(store.key({**INPUTS, "graph": "h"}), INPUTS, RESULT)
    assert contents(kept) == before


def test_a_figure_that_is_no_number_is_never_kept(kept):
    with Store(kept, VERSION) as store, pytest.raises(ValueError, match="Out of range float"):
        store.put(store.key(INPUTS), INPUTS, Result({"luts": float("nan")}))


def test_a_point_takes_one_short_line(kept):
    data = json.loads(point_file(kept).read_bytes())
    assert data["inputs"] == INPUTS
    assert point_file(kept).stat().st_size < 4096


def test_what_a_killed_process_was_writing_is_swept_up(kept):
    for name in (".points.jsonl.ab12_xyz", ".study.yaml.4sfd08mu", ".store.json.0_______"):
        (kept / name).write_text("half")
    (kept / ".mine").write_text("left as it is")
    with Store(kept, VERSION) as store:
        assert store.get(store.key(INPUTS)) == RESULT
    assert sorted(p.name for p in kept.iterdir()) == [
        LOCK_FILE, ".mine", "points.jsonl", "store.json",
    ]  # fmt: skip

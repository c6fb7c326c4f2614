"""Whatever goes wrong while writing, the old file or folder is whole."""

import errno
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from cosim.ir.errors import UserError
from cosim.ir.write import append_whole, new_folder, refuse_foreign, write_file


def full_disk(*args, **kwargs):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def listing(folder: Path) -> dict[str, str]:
    return {p.name: p.read_text() for p in folder.iterdir() if p.is_file()}


@pytest.fixture
def old(tmp_path) -> Path:
    """Make a folder that was there before."""
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "a").write_text("old a")
    (folder / "b").write_text("old b")
    return folder


def assert_whole(old: Path) -> None:
    assert listing(old) == {"a": "old a", "b": "old b"}
    assert [p.name for p in old.parent.iterdir()] == ["run"], "something was left behind"


def test_a_file_is_written_with_its_parents(tmp_path):
    write_file(tmp_path / "x" / "y" / "z.txt", "text")
    write_file(tmp_path / "x" / "y" / "z.txt", b"bytes")
    assert listing(tmp_path / "x" / "y") == {"z.txt": "bytes"}


@pytest.mark.parametrize("broken", ["os.fsync", "pathlib.Path.replace"])
def test_a_full_disk_leaves_the_old_file(old, monkeypatch, broken):
    monkeypatch.setattr(broken, full_disk)
    with pytest.raises(UserError) as error:
        write_file(old / "a", "new")
    assert str(error.value) == (
        f"cannot write {old / 'a'}: No space left on device; nothing that existed was changed; "
        "free space or choose another place"
    )
    assert_whole(old)


def appended(path, data: bytes) -> int:
    handle = os.open(path, os.O_RDWR | os.O_APPEND)
    try:
        return append_whole(handle, path, data)
    finally:
        os.close(handle)


def test_a_full_disk_appends_nothing(old, monkeypatch):
    monkeypatch.setattr("os.write", full_disk)
    with pytest.raises(UserError, match=r"cannot write .*run/a: No space left on device"):
        appended(old / "a", b"new")
    assert_whole(old)


def test_a_write_cut_short_appends_nothing(old, monkeypatch):
    """On the last bytes of a disk, the system writes what fits and says how much."""
    real = os.write
    monkeypatch.setattr("os.write", lambda handle, data: real(handle, data[:2]))
    with pytest.raises(UserError, match=r"cannot write .*run/a: No space left on device"):
        appended(old / "a", b"new")
    assert_whole(old)


def test_what_is_appended_comes_behind_and_its_place_is_told(old):
    assert appended(old / "a", b", new") == 5
    assert listing(old) == {"a": "old a, new", "b": "old b"}


def test_a_stopped_write_leaves_the_old_file(old, monkeypatch):
    def stop(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr("os.fsync", stop)
    with pytest.raises(KeyboardInterrupt):
        write_file(old / "a", "new")
    assert_whole(old)


def test_a_file_below_a_file_is_refused(old):
    with pytest.raises(UserError, match=r"cannot write .*: (Not a directory|File exists)"):
        write_file(old / "a" / "c", "text")
    assert_whole(old)


def test_a_folder_is_replaced_whole(old):
    with new_folder(old) as fresh:
        assert list(fresh.iterdir()) == []
        assert listing(old) == {"a": "old a", "b": "old b"}, "replaced before it was complete"
        (fresh / "a").write_text("new a")
    assert listing(old) == {"a": "new a"}
    assert [p.name for p in old.parent.iterdir()] == ["run"]
    assert old.stat().st_mode & 0o777 == 0o755


def test_a_folder_is_made_with_its_parents(tmp_path):
    with new_folder(tmp_path / "x" / "y") as fresh:
        (fresh / "a").write_text("a")
    assert listing(tmp_path / "x" / "y") == {"a": "a"}


def test_a_link_keeps_pointing_to_its_folder(old):
    link = old.parent / "link"
    link.symlink_to(old)
    with new_folder(link) as fresh:
        (fresh / "a").write_text("new a")
    assert link.is_symlink()
    assert listing(old) == {"a": "new a"}


@pytest.mark.parametrize("failing", [1, 2])
@pytest.mark.parametrize("stop", [full_disk, KeyboardInterrupt])
def test_a_failed_rename_brings_the_old_folder_back(old, monkeypatch, failing, stop):
    """The old folder is moved away, then the new one into its place: either rename may fail."""
    renames, rename = [], Path.replace

    def flaky(self, target):
        renames.append(self)
        if len(renames) == failing:
            if stop is KeyboardInterrupt:
                raise KeyboardInterrupt
            full_disk()
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", flaky)
    with pytest.raises(UserError if stop is full_disk else KeyboardInterrupt), new_folder(old) as f:
        (f / "a").write_text("new a")
    assert_whole(old)


@pytest.mark.parametrize("stop", [KeyboardInterrupt, ValueError, UserError])
def test_a_failure_while_filling_changes_nothing(old, stop):
    def fill():
        with new_folder(old) as fresh:
            (fresh / "a").write_text("half of new a")
            raise stop

    with pytest.raises(stop):
        fill()
    assert_whole(old)


def test_a_full_disk_while_filling_is_a_sentence(old):
    said = "No space left on device; nothing that existed was changed"
    with pytest.raises(UserError, match=said), new_folder(old):
        full_disk()
    assert_whole(old)


def test_a_killed_process_leaves_the_old_folder(old):
    """Nothing can clean up after SIGKILL, but the old folder must not have been touched."""
    script = """
        import os, signal, sys
        from pathlib import Path
        from cosim.ir.write import new_folder
        with new_folder(Path(sys.argv[1])) as fresh:
            (fresh / "a").write_text("half")
            os.kill(os.getpid(), signal.SIGKILL)
    """
    root = Path(__file__).resolve().parents[2]
    command = [sys.executable, "-c", textwrap.dedent(script), str(old)]
    assert subprocess.run(command, cwd=root, check=False).returncode == -signal.SIGKILL
    assert listing(old) == {"a": "old a", "b": "old b"}


def test_what_a_killed_process_left_goes_after_an_hour(tmp_path):
    """Younger ones may be in use; other hidden files (an editor's) are not ours."""
    left = {".run.abcd_123": 7200, ".run.abcd_124": 60, ".run.swp": 7200, ".run.abcd_123.old": 7200}
    for name, age in left.items():
        for place in (tmp_path / name, tmp_path / name.replace("run", "file")):
            place.mkdir() if "run" in place.name else place.write_text("half")
            os.utime(place, (time.time() - age,) * 2)
    with new_folder(tmp_path / "run"):
        pass
    write_file(tmp_path / "file", "x")
    kept = {name for name in left if name != ".run.abcd_123"}
    kept |= {name.replace("run", "file") for name in kept} | {"run", "file"}
    assert {p.name for p in tmp_path.iterdir()} == kept


def test_only_folders_of_our_own_are_replaced(old):
    refuse_foreign(old, ("a", "b", "c"))
    refuse_foreign(old.parent / "new", ("a",))
    with pytest.raises(UserError) as error:
        refuse_foreign(old, ("a",))
    assert str(error.value) == (
        f"cannot write {old}: it holds 'b', which would be lost; choose a new or empty folder"
    )
    with pytest.raises(UserError, match=r"it is a file; choose another place"):
        refuse_foreign(old / "a", ("a",))

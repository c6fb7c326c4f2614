"""Write files and folders so that a crash, a full disk or Ctrl-C leaves the old or the new one."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import tempfile
import time
from collections.abc import Collection, Iterator
from pathlib import Path

from cosim.ir.errors import UserError

STALE_SECONDS = 3600.0  # what is younger may be another process's, still being written


def _sentence(path: Path, error: OSError) -> UserError:
    return UserError(
        f"cannot write {path}: {error.strerror or error}; nothing that existed was changed; free "
        "space or choose another place"
    )


def _sweep(path: Path) -> None:
    """Remove temporary files and folders of `path` that a killed process left long ago."""
    ours = re.compile(re.escape(f".{path.name}.") + "[a-z0-9_]{8}")
    with contextlib.suppress(OSError):
        for left in path.parent.iterdir():
            if ours.fullmatch(left.name) and time.time() - left.stat().st_mtime > STALE_SECONDS:
                shutil.rmtree(left, ignore_errors=True) if left.is_dir() else left.unlink()


def write_file(path: Path, data: bytes | str) -> None:
    """Write a whole file under a temporary name, then rename it; raise UserError if it fails."""
    path = Path(path)
    raw = data.encode() if isinstance(data, str) else data
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        temporary = Path(name)
        with os.fdopen(handle, "wb") as file:
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        raise _sentence(path, error) from error
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)


def append_whole(handle: int, path: Path, data: bytes) -> int:
    """Append to an open file, and return where; raise UserError if it fails, as if never begun.

    It is for thousands of small records that can be made again: nobody waits for the disk, so that
    a killed process loses none, but a power cut may.
    """
    end = os.fstat(handle).st_size
    try:
        if os.write(handle, data) != len(data):  # the last bytes of a disk
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    except OSError as error:
        with contextlib.suppress(OSError):
            os.ftruncate(handle, end)
        raise _sentence(path, error) from error
    return end


def refuse_foreign(folder: Path, ours: Collection[str]) -> None:
    """Raise UserError if `folder` is a file, or holds anything but files of the names in `ours`.

    Writing a folder replaces it whole: what somebody else put there would be lost.
    """
    if not folder.exists():
        return
    if not folder.is_dir():
        raise UserError(f"cannot write {folder}: it is a file; choose another place")
    try:
        foreign = sorted(p.name for p in folder.iterdir() if p.name not in ours)
    except OSError as error:
        raise _sentence(folder, error) from error
    if foreign:
        raise UserError(
            f"cannot write {folder}: it holds {foreign[0]!r}, which would be lost; choose a new or "
            "empty folder"
        )


@contextlib.contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Give an empty folder to fill, then put it in place of `folder`; on failure change nothing.

    The old folder goes with all that is in it: call `refuse_foreign` first. Raise UserError if
    the disk refuses.
    """
    folder = Path(folder).resolve()
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        _sweep(folder)
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    except OSError as error:
        raise _sentence(folder, error) from error
    old = temporary.with_name(temporary.name + ".old")
    try:
        yield temporary
        temporary.chmod(0o755)
        if folder.exists():
            folder.replace(old)
        temporary.replace(folder)
    except OSError as error:
        raise _sentence(folder, error) from error
    finally:
        # Whatever went wrong, Ctrl-C between the two renames included, the old folder comes back.
        if old.exists() and not folder.exists():
            old.replace(folder)
        shutil.rmtree(old, ignore_errors=True)
        shutil.rmtree(temporary, ignore_errors=True)

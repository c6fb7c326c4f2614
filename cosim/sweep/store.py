"""Keep a line per point, under the hash of all that it depends on; no stop loses any.

A point is appended by one write, which a killed process has done or not; a line that a full disk or
a power cut has torn fails its check, and is as if it were not there. Making a file for each point
took more than half of the time that a sweep's owner needs. When a study is finished, its lines are
sorted, so that a store has the same bytes however often it was stopped. What a store holds depends
on the code too: one made by another version is refused, and left as it is.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from importlib.metadata import PackageNotFoundError, version
from itertools import accumulate
from pathlib import Path
from types import TracebackType
from typing import Self

from cosim.flow.folder import code_digest, digest
from cosim.ir.errors import UserError
from cosim.ir.write import append_whole, write_file
from cosim.sweep.evaluate import Result

SCHEMA = 2  # 1 had a file per point
STORE_FILE = "store.json"
POINTS = "points.jsonl"
LOCK_FILE = ".lock"
_KEY = re.compile(rb'\{"key": "([0-9a-f]{64})"')
# How `cosim.ir.write` calls a file until it is whole.
_TEMPORARY = re.compile(r"\.[^.].*\.[a-z0-9_]{8}")
# What decides a point's figures, given its graph, machine and knobs.
CODE = (
    "cosim.ir", "cosim.ops", "cosim.design", "cosim.machine", "hw_models", "cosim.sweep.evaluate",
    "cosim.sweep.knobs",
)  # fmt: skip


@dataclass(frozen=True)
class Version:
    """Say what made a store: its schema, the release, and the hash of the code that computes."""

    schema: int
    release: str
    code: str

    def text(self) -> str:
        """Print in a few words."""
        return f"cosim {self.release} (schema {self.schema}, code {self.code[:12]})"


def this_version() -> Version:
    """Return the version that is running."""
    try:
        release = version("cosim-toolkit")
    except PackageNotFoundError:
        release = "not installed"
    return Version(SCHEMA, release, digest({part: code_digest(part) for part in CODE}))


class Store:
    """Hold the folder of a sweep, locked against another process while it is open."""

    def __init__(self, folder: Path, made_by: Version | None = None) -> None:
        """Open a folder, or make it.

        Raise UserError where it is a file, holds what is not ours, was made by another version, is
        in use, or cannot be written.
        """
        self.folder = Path(folder)
        self.version = made_by or this_version()
        self._points = self.folder / POINTS
        # Where each point's last line begins, and how long it is.
        self._lines: dict[str, tuple[int, int]] = {}
        self._handle = -1
        self._refuse_foreign()
        self._lock = self._locked()
        try:
            self._check_version()
            self._sweep_up()
            self._read_lines()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        """Use it as a context, unlocked at its end."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        """Unlock it."""
        self.close()

    def close(self) -> None:
        """Unlock the folder; a killed process does so too."""
        if self._handle >= 0:
            os.close(self._handle)
        os.close(self._lock)

    def key(self, inputs: Mapping[str, object]) -> str:
        """Return the name of a point: the hash of its inputs and of the code."""
        return digest({"inputs": dict(inputs), "code": self.version.code})

    def get(self, key: str) -> Result | None:
        """Return what is kept of a point; None where nothing is, or where it is damaged."""
        if key not in self._lines:
            return None
        try:
            data = json.loads(self._line(key))
            found = Result(**{f.name: data[f.name] for f in fields(Result)})
            whole = data["key"] == key and data["check"] == digest(_plain(found))
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return found if whole else None

    def put(self, key: str, inputs: Mapping[str, object], result: Result) -> None:
        """Keep a point; raise UserError where the disk refuses, and then keep all that was."""
        plain = _plain(result)
        data = {"key": key, "inputs": dict(inputs), **plain, "check": digest(plain)}
        raw = json.dumps(data, allow_nan=False).encode() + b"\n"
        self._lines[key] = append_whole(self._handle, self._points, raw), len(raw)

    def settle(self) -> None:
        """Sort the lines by their keys, each point once; a stop leaves the old file or the new."""
        order = sorted(self._lines)
        places = [self._lines[key] for key in order]
        ends = [0, *accumulate(size for _, size in places)]
        if [at for at, _ in places] == ends[:-1] and os.fstat(self._handle).st_size == ends[-1]:
            return
        write_file(self._points, b"".join(map(self._line, order)))
        os.close(self._handle)
        self._handle = -1
        self._read_lines()

    def _line(self, key: str) -> bytes:
        at, size = self._lines[key]
        return os.pread(self._handle, size, at)

    def _read_lines(self) -> None:
        """Find the points; cut off what a stop in the middle of a write has left at the end."""
        self._lines.clear()
        try:
            self._handle = os.open(
                self._points, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644
            )
            at = 0
            with open(self._points, "rb") as file:
                for line in file:
                    if not line.endswith(b"\n"):
                        os.ftruncate(self._handle, at)
                        break
                    if found := _KEY.match(line):
                        self._lines[found[1].decode()] = at, len(line)
                    at += len(line)
        except OSError as error:
            raise UserError(
                f"cannot read {self._points}: {error.strerror}; nothing was changed"
            ) from None

    def _refuse_foreign(self) -> None:
        if self.folder.exists() and not self.folder.is_dir():
            raise UserError(f"{self.folder} is a file; give a folder for the sweep, or a new name")
        there = sorted(p.name for p in self.folder.iterdir()) if self.folder.is_dir() else []
        strangers = [name for name in there if not name.startswith(".")]
        if strangers and STORE_FILE not in there:
            raise UserError(
                f"{self.folder} holds {strangers[0]!r} and is no sweep's folder; give a new one"
            )

    def _locked(self) -> int:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = os.open(self.folder / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise UserError(
                f"cannot write {self.folder}: {error.strerror}; choose another place"
            ) from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            raise UserError(
                f"{self.folder} is in use by another sweep; wait for it, or give another folder"
            ) from None
        return lock

    def _check_version(self) -> None:
        path = self.folder / STORE_FILE
        try:
            data = json.loads(path.read_bytes())
            found = Version(int(data["schema"]), str(data["release"]), str(data["code"]))
        except FileNotFoundError:
            write_file(path, json.dumps(vars(self.version), indent=1) + "\n")
            return
        except (OSError, ValueError, KeyError, TypeError):
            raise UserError(
                f"{path} is damaged, so that nobody knows what made this store; give a new folder"
            ) from None
        if (found.schema, found.code) != (self.version.schema, self.version.code):
            raise UserError(
                f"{self.folder} was made by {found.text()} and this is {self.version.text()}: "
                "their points may differ; give a new folder, this one is left as it is"
            )

    def _sweep_up(self) -> None:
        """Remove what a killed process was writing: nobody else does, while this is locked."""
        for path in self.folder.iterdir():
            if _TEMPORARY.fullmatch(path.name) and path.is_file():
                with contextlib.suppress(OSError):
                    path.unlink()


def _plain(result: Result) -> dict[str, object]:
    plain: dict[str, object] = {f.name: getattr(result, f.name) for f in fields(Result)}
    return {**plain, "figures": dict(result.figures)}

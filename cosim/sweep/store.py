"""Keep one file per point, under the hash of all that it depends on; no stop loses any.

A file is written under a temporary name and renamed, so that there is a whole one or none. What a
store holds depends on the code too: one made by another version is refused, and left as it is.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import TracebackType
from typing import Self

from cosim.flow.folder import code_digest, digest
from cosim.ir.errors import UserError
from cosim.ir.write import write_file, write_one_of_many
from cosim.sweep.evaluate import Result

SCHEMA = 1
STORE_FILE = "store.json"
POINTS = "points"
LOCK_FILE = ".lock"
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
        self._points = f"{self.folder}/{POINTS}"
        self._made: set[str] = set()
        self._refuse_foreign()
        self._lock = self._locked()
        try:
            self._check_version()
            self._sweep_up()
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
        os.close(self._lock)

    def key(self, inputs: Mapping[str, object]) -> str:
        """Return the name of a point: the hash of its inputs and of the code."""
        return digest({"inputs": dict(inputs), "code": self.version.code})

    def get(self, key: str) -> Result | None:
        """Return what is kept of a point; None where nothing is, or where it is damaged."""
        try:
            with open(f"{self._folder(key)}/{key}.json", "rb") as file:
                data = json.loads(file.read())
            found = Result(**{f.name: data[f.name] for f in fields(Result)})
            whole = data["key"] == key and data["check"] == digest(_plain(found))
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return found if whole else None

    def put(self, key: str, inputs: Mapping[str, object], result: Result) -> None:
        """Keep a point; raise UserError where the disk refuses."""
        plain = _plain(result)
        data = {"key": key, "inputs": dict(inputs), **plain, "check": digest(plain)}
        folder = self._folder(key)
        if folder not in self._made:
            try:
                os.makedirs(folder, exist_ok=True)
            except OSError as error:
                raise UserError(
                    f"cannot write {folder}: {error.strerror}; all points so far are kept"
                ) from None
            self._made.add(folder)
        # A power cut may empty the file: its check then fails, and the point is done again.
        raw = json.dumps(data, allow_nan=False).encode() + b"\n"
        write_one_of_many(folder, f"{key}.json", raw)

    def _folder(self, key: str) -> str:
        # A text: paths as objects would take a quarter of the time of writing a point.
        return f"{self._points}/{key[:2]}"

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
        """Remove what a killed process was writing."""
        for path in (self.folder / POINTS).glob("*/.*.json.*"):
            with contextlib.suppress(OSError):
                path.unlink()


def _plain(result: Result) -> dict[str, object]:
    plain: dict[str, object] = {f.name: getattr(result, f.name) for f in fields(Result)}
    return {**plain, "figures": dict(result.figures)}

"""Keep what each step of a run found, and use it again while the step's inputs are unchanged.

A step's result lies in `steps/<step>.json` beside the hash of its inputs. The code that computes
it is one of the inputs. What is damaged or of other inputs is computed again.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from cosim.flow.progress import Progress
from cosim.ir.errors import UserError
from cosim.ir.write import write_file

T = TypeVar("T")
STEPS = "cosim.flow.steps"
# `.c` and `.in` are test benches of the wires.
SOURCES = {".py", ".yaml", ".html", ".css", ".js", ".c", ".in"}
PROJECT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class RunFolder:
    """Hold the folder of one run, and whom to tell."""

    path: Path
    progress: Progress = field(default_factory=Progress)

    def __post_init__(self) -> None:
        """Refuse a path that is a file."""
        if self.path.exists() and not self.path.is_dir():
            raise UserError(f"{self.path} is a file; give a folder for the run, or a new name")

    def step(
        self,
        name: str,
        inputs: Mapping[str, object],
        code: Sequence[str],
        kind: type[T],
        compute: Callable[[], T],
        holds: Callable[[T], bool] = lambda _: True,
    ) -> T:
        """Return the result of a step, computed only if its inputs changed or it no longer holds.

        `kind` is a frozen dataclass; `inputs` are plain values; `code` names the packages whose
        text is an input too; `holds` looks after files that the step wrote beside its result.
        """
        key = digest(
            {"inputs": dict(inputs), "code": {part: code_digest(part) for part in (*code, STEPS)}}
        )
        path = self.path / "steps" / f"{file_name(name)}.json"
        kept = _read(path, key, kind)
        if kept is not None and holds(kept):
            self.progress.reused(name)
            return kept
        with self.progress.task(name):
            result = compute()
            data = dataclasses.asdict(result)  # type: ignore[call-overload]
            text = json.dumps({"step": name, "key": key, "result": data}, indent=1)
            write_file(path, text)
        # As it will be read again (0 in the place of 0.0 comes back as 0.0), so that a run that was
        # resumed writes the same bytes as one that was not.
        return _result(json.loads(text), kind)

    def left(self, prefix: str, kind: type[T]) -> list[T]:
        """Return what earlier steps of such names found, of whatever inputs, in order of names."""
        paths = sorted((self.path / "steps").glob(f"{file_name(prefix)}*.json"))
        found = [_read(path, None, kind) for path in paths]
        return [one for one in found if one is not None]


def _result(data: dict[str, Any], kind: type[T]) -> T:
    from pydantic import TypeAdapter

    return TypeAdapter(kind).validate_python(data["result"])


def _read(path: Path, key: str | None, kind: type[T]) -> T | None:
    """Read a step's result; None where it is damaged or, with a key, of other inputs."""
    from pydantic import ValidationError

    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if key is not None and data["key"] != key:
            return None
        return _result(data, kind)
    except (OSError, ValueError, KeyError, TypeError, RecursionError, ValidationError):
        return None


def digest(value: Any) -> str:
    """Return the sha256 of plain data.

    >>> digest({"b": 1, "a": [2]}) == digest({"a": [2], "b": 1})
    True
    """
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def file_digest(paths: Sequence[Path]) -> str:
    """Return the sha256 over names and bytes of files; raise UserError if one cannot be read."""
    sha = hashlib.sha256()
    for path in sorted(paths):
        try:
            with path.open("rb") as file:
                sha.update(path.name.encode() + b"\0")
                sha.update(hashlib.file_digest(file, "sha256").digest())
        except OSError as error:
            raise UserError(f"{path} cannot be read: {error.strerror}") from None
    return sha.hexdigest()


@cache
def code_digest(part: str) -> str:
    """Return the sha256 over the sources of one package or module, such as `cosim.ir`."""
    base = PROJECT.joinpath(*part.split("."))
    if base.is_dir():
        paths = [p for p in base.rglob("*") if p.suffix in SOURCES]
    else:
        paths = [base.with_suffix(".py")]
    return file_digest(paths)


def file_name(step: str) -> str:
    """Turn the name of a step into that of a file.

    >>> file_name("quantise w4a4-rtn")
    'quantise-w4a4-rtn'
    """
    return re.sub(r"[^A-Za-z0-9._-]+", "-", step)

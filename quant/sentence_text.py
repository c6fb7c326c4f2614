"""Read sentences out of an installed package's docstrings, pinned by the hash of all of them.

The sentences are the first paragraphs of the docstrings of networkx (BSD-3), which is installed
with this project: technical English, of which pairs from one file are alike and others are not.
Nothing of it is copied here, and nothing of it is imported: the files are parsed.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cosim.ir.errors import UserError

PACKAGE, VERSION = "networkx", "networkx 3.6.1"
SHA256 = "47135cea311c7769090d3c49ba68c367987b52bd79cb55fb8af92a70fbc6ba26"
LEAST_CHARACTERS, MOST_CHARACTERS = 30, 300
# One file in so many is kept for calibration, by the hash of its name.
CALIBRATION_SHARE = 4


@dataclass(frozen=True)
class Sentence:
    """Hold a sentence and the file it stands in."""

    file: str
    text: str


def docstring_sentences() -> tuple[list[Sentence], list[Sentence]]:
    """Return the sentences for evaluation and those for calibration, of different files.

    Raises UserError where the package is another release than the pinned one.
    """
    found = list(_sentences(_folder()))
    digest = digest_of(found)
    if digest != SHA256:
        raise UserError(
            f"the docstrings of {PACKAGE} have sha256 {digest[:12]}..., pinned is {SHA256[:12]}..."
            f" ({VERSION}); install the pinned packages of constraints.txt"
        )
    return (
        [s for s in found if not _is_calibration(s.file)],
        [s for s in found if _is_calibration(s.file)],
    )


def digest_of(sentences: list[Sentence]) -> str:
    """Return the sha256 of sentences and their files, in order."""
    lines = "".join(f"{s.file}\t{s.text}\n" for s in sentences)
    return hashlib.sha256(lines.encode()).hexdigest()


def draw_pairs(sentences: list[Sentence], count: int, seed: int = 0) -> np.ndarray:
    """Draw pairs [count, 2] of different sentences, every other one from a single file.

    >>> some = [Sentence("a", "x"), Sentence("a", "y"), Sentence("b", "z")]
    >>> draw_pairs(some, 4)[1::2].sum(1).tolist()
    [1, 1]
    """
    rng = np.random.default_rng(seed)
    files: dict[str, list[int]] = {}
    for k, s in enumerate(sentences):
        files.setdefault(s.file, []).append(k)
    shared = [places for places in files.values() if len(places) > 1]
    pairs = []
    for k in range(count):
        places = shared[rng.integers(len(shared))] if k % 2 else range(len(sentences))
        pairs.append(rng.choice(np.asarray(places), 2, replace=False))
    return np.array(pairs)


def _folder() -> Path:
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise UserError(f"the package {PACKAGE} is not installed; pip install {PACKAGE}")
    return Path(spec.submodule_search_locations[0])


def _sentences(folder: Path) -> Iterator[Sentence]:
    """Yield the first paragraphs of all docstrings, each text once."""
    seen: set[str] = set()
    for path in sorted(folder.rglob("*.py"), key=lambda p: p.relative_to(folder).as_posix()):
        file = path.relative_to(folder).as_posix()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module):
                continue
            text = " ".join((ast.get_docstring(node) or "").split("\n\n")[0].split())
            if LEAST_CHARACTERS <= len(text) <= MOST_CHARACTERS and text not in seen:
                seen.add(text)
                yield Sentence(file, text)


def _is_calibration(file: str) -> bool:
    return int(hashlib.sha256(file.encode()).hexdigest()[:8], 16) % CALIBRATION_SHARE == 0

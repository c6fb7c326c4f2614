"""Write the model card of a trained folder, with measured figures only."""

import hashlib
import platform
import shutil
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from quant.training.loop import Plan, Progress
from quant.training.text import HELD_OUT_PER_MILLE, SHINGLE_BYTES, TextSplit

_LICENCE_FILE = "LICENSE.PSF.txt"
CALIBRATION_FILE = "calibration.txt"
CALIBRATION_WINDOWS = 64
CALIBRATION_WINDOW_BYTES = 512


@dataclass(frozen=True)
class Kind:
    """Say in words what a family of models is: for its card.

    `loader` is the function that loads the folder, `library` whose it is; `trained` says what a
    window of training begins with, `lengths` what the methods of measuring mean, `extra` what the
    command that trains again needs beside the plan.
    """

    name: str
    family: str
    loader: str
    tags: str
    command: str
    lengths: str
    trained: str
    extra: str = ""
    library: str = "transformers"


@dataclass(frozen=True)
class Score:
    """Hold the bits per byte of the first `size` bytes of the held-out text; 0: of all."""

    size: int
    method: str
    bits_per_byte: float


@dataclass(frozen=True)
class Measured:
    """Hold what was measured on the finished model."""

    parameters: int
    scores: tuple[Score, ...]
    shared_shingles: int


def write_model_card(
    folder: Path, kind: Kind, split: TextSplit, measured: Measured, plan: Plan, last: Progress
) -> None:
    """Write `README.md`, the licence of the text and `calibration.txt`, beside `held_out.txt`."""
    licence = Path(sysconfig.get_path("stdlib")) / "LICENSE.txt"
    shutil.copyfile(licence, folder / _LICENCE_FILE)
    (folder / CALIBRATION_FILE).write_bytes(calibration_text(split.train))
    (folder / "README.md").write_text(model_card(kind, split, measured, plan, last))


def model_card(kind: Kind, split: TextSplit, measured: Measured, plan: Plan, last: Progress) -> str:
    """Return the card as Markdown with the front matter of the Hugging Face hub."""
    return "\n".join(
        [
            _front_matter(kind),
            _introduction(kind, measured),
            _held_out_table(kind, split, measured),
            _data(split, measured),
            _training(kind, plan, last),
            _LICENCE,
            _CALIBRATION,
        ]
    )


_LICENCE = f"""\
## Licence

The weights are Apache-2.0, like the project. `held_out.txt` is an excerpt of CPython's standard
library with repeated lines removed, copyright Python Software Foundation and under its licence:
`{_LICENCE_FILE}`.
"""


_CALIBRATION = f"""\
`{CALIBRATION_FILE}` ({CALIBRATION_WINDOWS * CALIBRATION_WINDOW_BYTES:,} bytes) are \
{CALIBRATION_WINDOWS} evenly spaced windows of {CALIBRATION_WINDOW_BYTES} bytes of the training \
text, for
quantisation; no byte of it is in `held_out.txt`.
"""


def calibration_text(train: bytes) -> bytes:
    """Return evenly spaced windows of the training text."""
    span = CALIBRATION_WINDOW_BYTES
    numbers = np.linspace(0, len(train) // span - 1, CALIBRATION_WINDOWS).astype(int).tolist()
    return b"".join(train[span * n : span * (n + 1)] for n in numbers)


def _front_matter(kind: Kind) -> str:
    return f"""\
---
license: apache-2.0
library_name: {kind.library}
tags: [{kind.tags}, byte-level, python]
---
"""


def _introduction(kind: Kind, measured: Measured) -> str:
    return f"""\
# {kind.name}

A byte-level {kind.family} language model of
{measured.parameters:,} parameters (float32) that continues
Python source and its English documentation. It is small enough to quantise and simulate in
minutes, and trained enough that a worse quantisation shows. A token is a byte; there are no
special tokens. It loads in `{kind.loader}`.
"""


def _held_out_table(kind: Kind, split: TextSplit, measured: Measured) -> str:
    rows = "\n".join(
        f"| {f'first {s.size:,}' if s.size else f'all {len(split.held_out):,}'} bytes |"
        f" {s.method} | {s.bits_per_byte:.4f} |"
        for s in measured.scores
    )
    return f"""\
## Held-out text

Bits per byte of `held_out.txt`, mean over all bytes but the first. {kind.lengths}

| text | method | bits per byte |
|---|---|---|
{rows}

sha256 of `held_out.txt`: `{hashlib.sha256(split.held_out).hexdigest()}`
"""


def _data(split: TextSplit, measured: Measured) -> str:
    return f"""\
## Data

Sources of the standard library of CPython {platform.python_version()} (tests, encodings and some
tables left out), split by whole file: a file is held out when the hash of its name says so
({HELD_OUT_PER_MILLE} in 1000). Another version of Python gives another text.

| side | files | bytes | bytes dropped as repeats | sha256 |
|---|---|---|---|---|
| train | {len(split.train_files)} | {len(split.train):,} | {split.dropped_train_bytes:,} | \
`{hashlib.sha256(split.train).hexdigest()[:16]}...` |
| held out | {len(split.held_out_files)} | {len(split.held_out):,} | \
{split.dropped_held_out_bytes:,} | `{hashlib.sha256(split.held_out).hexdigest()[:16]}...` |

A line was dropped from the training text when it completed a run of {SHINGLE_BYTES} bytes that also
stands in the held-out text, and from the held-out text when it completed one that stood there
before. Runs of {SHINGLE_BYTES} bytes that both sides share afterwards: {measured.shared_shingles}.

Held-out files, in the order of `held_out.txt`: {", ".join(split.held_out_files)}.
"""


def _training(kind: Kind, plan: Plan, last: Progress) -> str:
    return f"""\
## Training

{last.step:,} steps of {plan.batch} windows of {plan.window_bytes} bytes: {last.train_bytes:,} bytes
in {last.seconds:,.0f} s on one thread of a CPU, seed {plan.seed}, torch {torch.__version__}.
AdamW, peak rate {plan.peak_rate:g} after {plan.warmup_steps} steps, cosine to {plan.final_rate:g},
weight decay {plan.weight_decay:g} on matrices, gradient norm clipped at {plan.clip_norm:g};
{kind.trained}
`training_log.csv` has the loss.

To train it again:

```
{_command(kind, plan)}
```

{_again(plan)}
"""


def _command(kind: Kind, plan: Plan) -> str:
    command = f"python -m {kind.command} --out FOLDER{kind.extra}"
    command += f" --minutes {plan.minutes:g} --seed {plan.seed}"
    command += f" --steps {plan.max_steps}" if plan.max_steps is not None else ""
    return command + (" --compile" if plan.compile else "")


def _again(plan: Plan) -> str:
    same = "without `--compile`, the same seed, text, torch and machine give the same weights."
    if plan.max_steps is not None:
        return f"The rate follows the steps; {same}"
    return f"""\
The rate follows the clock, so another run sees another number of bytes. With `--steps N` it follows
the steps; {same}"""

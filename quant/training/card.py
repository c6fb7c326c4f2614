"""Write the model card of a trained folder, with measured figures only."""

import hashlib
import platform
import shutil
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import torch

from quant.training.loop import Plan, Progress
from quant.training.text import HELD_OUT_PER_MILLE, SHINGLE_BYTES, TextSplit

_LICENCE_FILE = "LICENSE.PSF.txt"


@dataclass(frozen=True)
class Measured:
    """Hold what was measured on the finished model; `slice` is the start of the held-out text."""

    parameters: int
    held_out_bits_per_byte: float
    windowed_bits_per_byte: float
    window_bytes: int
    slice_bits_per_byte: float
    slice_bytes: int
    xz_bits_per_byte: float
    shared_shingles: int


def write_model_card(
    folder: Path, split: TextSplit, measured: Measured, plan: Plan, last: Progress
) -> None:
    """Write `README.md` and the licence of the text into the folder, beside `held_out.txt`."""
    licence = Path(sysconfig.get_path("stdlib")) / "LICENSE.txt"
    shutil.copyfile(licence, folder / _LICENCE_FILE)
    (folder / "README.md").write_text(model_card(split, measured, plan, last))


def model_card(split: TextSplit, measured: Measured, plan: Plan, last: Progress) -> str:
    """Return the card as Markdown with the front matter of the Hugging Face hub."""
    return "\n".join(
        [
            _FRONT_MATTER,
            _introduction(measured),
            _held_out_table(split, measured),
            _data(split, measured),
            _training(plan, last),
            _LICENCE,
        ]
    )


_FRONT_MATTER = """\
---
license: apache-2.0
library_name: transformers
tags: [mamba2, byte-level, python]
---
"""

_LICENCE = f"""\
## Licence

The weights are Apache-2.0, like the project. `held_out.txt` is an excerpt of CPython's standard
library with repeated lines removed, copyright Python Software Foundation and under its licence:
`{_LICENCE_FILE}`.
"""


def _introduction(measured: Measured) -> str:
    return f"""\
# mamba2-py-1m

A byte-level Mamba-2 language model of {measured.parameters:,} parameters (float32) that continues
Python source and its English documentation. It is small enough to quantise and simulate in
minutes, and trained enough that a worse quantisation shows. A token is a byte; there are no
special tokens. It loads in `transformers.Mamba2ForCausalLM.from_pretrained`.
"""


def _held_out_table(split: TextSplit, measured: Measured) -> str:
    size = len(split.held_out)
    return f"""\
## Held-out text

Bits per byte of `held_out.txt`, mean over all bytes but the first. Carried: one pass, each byte
given all bytes before it. Windowed: the state starts empty every {measured.window_bytes:,} bytes.

| text | method | bits per byte |
|---|---|---|
| all {size:,} bytes | carried | {measured.held_out_bits_per_byte:.4f} |
| all {size:,} bytes | windowed | {measured.windowed_bits_per_byte:.4f} |
| first {measured.slice_bytes:,} bytes | carried | {measured.slice_bits_per_byte:.4f} |
| all {size:,} bytes | `xz -9e` | {measured.xz_bits_per_byte:.4f} |

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


def _training(plan: Plan, last: Progress) -> str:
    return f"""\
## Training

{last.step:,} steps of {plan.batch} windows of {plan.window_bytes} bytes: {last.train_bytes:,} bytes
in {last.seconds:,.0f} s on one thread of a CPU, seed {plan.seed}, torch {torch.__version__}.
AdamW, peak rate {plan.peak_rate:g} after {plan.warmup_steps} steps, cosine to {plan.final_rate:g},
weight decay {plan.weight_decay:g} on matrices, gradient norm clipped at {plan.clip_norm:g}; the
state starts empty in every window. `training_log.csv` has the loss.

To train it again:

```
{_command(plan)}
```

The rate follows the clock, so another run sees another number of bytes. With `--steps N` it follows
the steps; without `--compile`, the same seed, text, torch and machine give the same weights.
"""


def _command(plan: Plan) -> str:
    command = "python -m quant.training.train_mamba2 --out FOLDER"
    command += f" --minutes {plan.minutes:g} --seed {plan.seed}"
    command += f" --steps {plan.max_steps}" if plan.max_steps is not None else ""
    return command + (" --compile" if plan.compile else "")

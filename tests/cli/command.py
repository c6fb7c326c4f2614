"""Run the command line inside the test process, as the shell would."""

import contextlib
import io
from dataclasses import dataclass
from pathlib import Path

from cosim.cli import main

ROOT = Path(__file__).resolve().parents[2]
# Small enough for a test: one window of 32 tokens calibrates, the four others are scored.
WALK = (
    "--recipe", "w8a8-rtn", "--machine", "none", "--window", "32", "--calibration-windows", "1",
    "--verify-tokens", "16",
)  # fmt: skip


@dataclass(frozen=True)
class Ran:
    """What a command left: its exit status, stdout and stderr."""

    status: int
    out: str
    err: str


def command(*argv) -> Ran:
    """Run one command; paths may be given as they are."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = main([str(word) for word in argv])
        except SystemExit as stop:  # argparse ends the process itself
            status = int(stop.code or 0)
    return Ran(status, out.getvalue(), err.getvalue())

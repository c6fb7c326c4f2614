"""On a terminal a bar with the time left, elsewhere one line per task, on stderr alone."""

import os
import subprocess
import sys

from cosim.cli.progress import BarsOnTerminal, Lines, make_progress
from cosim.flow.progress import Progress
from tests.cli.command import ROOT, command
from tests.cli.tiny import write_text


def test_a_terminal_sees_a_bar_with_the_time_left(done, tmp_path):
    text = write_text(tmp_path / "long.txt", 600)
    ours, theirs = os.openpty()
    verify = ["verify", done / "run", "--text", text, "--tokens", "600"]
    process = subprocess.Popen(
        [sys.executable, "-m", "cosim.cli", *verify],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=theirs,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "100"},
    )  # fmt: skip
    os.close(theirs)
    seen = b""
    while True:
        try:
            seen += os.read(ours, 4096)
        except OSError:  # the other end is closed
            break
    os.close(ours)
    out, _ = process.communicate()
    shown = seen.decode()
    assert process.returncode == 0
    assert "━" in shown
    assert "512/600" in shown
    assert "0:00:0" in shown
    assert shown.rstrip().splitlines()[-1].endswith(" s")
    assert b"all bits agree" in out
    assert "all bits agree" not in shown


def test_elsewhere_a_line_per_task(capsys):
    progress = make_progress(quiet=False)
    assert type(progress) is Lines
    with progress, progress.task("score w4a4"):
        progress.advance(1, 2)
    progress.reused("verify w4a4")
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("score w4a4: 0.")
    assert second == "verify w4a4: reused"


def test_quiet_is_silent(capsys):
    progress = make_progress(quiet=True)
    assert type(progress) is Progress
    with progress, progress.task("score w4a4"):
        progress.advance(1, 2)
    assert capsys.readouterr().err == ""


def test_a_task_that_breaks_off_leaves_no_bar():
    progress = BarsOnTerminal()
    with progress:
        progress.begin("score w4a4")
    assert progress._task is None
    assert not progress._bars.live.is_started


def test_threads_sleep_while_they_wait(monkeypatch):
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    command("machines")
    assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    command("machines")
    assert os.environ["OMP_WAIT_POLICY"] == "ACTIVE"

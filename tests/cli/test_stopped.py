"""Ctrl-C, whenever it comes, ends in one sentence and status 130, and loses nothing."""

import os
import signal
import subprocess
import sys
import time

import pytest

from tests.cli.command import ROOT, WALK, command


def test_ctrl_c_stops_and_the_walk_goes_on(model, tmp_path):
    """The signal comes when one step is done and the next one is under way."""
    run = tmp_path / "run"
    walk = ["walk", str(model), *WALK, "-o", str(run)]
    # A script's background jobs, a test run among them, are deaf to Ctrl-C; `env` undoes that.
    process = subprocess.Popen(
        ["env", "--default-signal=INT", sys.executable, "-m", "cosim.cli", *walk],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while not (run / "steps/quantise-w8a8-rtn.json").exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert out == ""
    assert "Traceback" not in err
    assert err.splitlines()[-1].startswith("cosim: stopped; what was finished is kept")
    assert not (run / "report.html").exists()
    again = command(*walk)
    assert again.status == 0
    assert "score float: reused" in again.err
    assert "quantise w8a8-rtn: reused" in again.err
    assert (run / "report.html").exists()


def stopped(code):
    """Run the command line in a process of its own, after some code; return what it left."""
    return subprocess.run(
        ["env", "--default-signal=INT", sys.executable, "-c", code],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_ctrl_c_while_the_program_loads():
    ran = stopped(
        "import sys\n"
        "class Stop:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'cosim.cli.parser':\n"
        "            raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Stop())\n"
        "sys.argv = ['cosim', 'models']\n"
        "from cosim.cli import main\n"
        "sys.exit(main())\n"
    )
    assert ran.returncode == 130, ran
    assert ran.stderr.startswith("cosim: stopped; ")
    assert ran.stderr.count("\n") == 1


def test_ctrl_c_in_code_that_python_runs_from_a_string():
    """CPython would die of the signal at its very end, although the interrupt was caught."""
    ran = stopped(
        "import sys, cosim.cli.listing as listing\n"
        "listing.models = lambda args: exec('raise KeyboardInterrupt')\n"
        "sys.argv = ['cosim', 'models']\n"
        "from cosim.cli import main\n"
        "sys.exit(main())\n"
    )
    assert ran.returncode == 130, ran
    assert ran.stderr.startswith("cosim: stopped; ")


def test_ctrl_c_in_a_destructor():
    """Python prints such an interrupt with a traceback and goes on, as if nobody had stopped it."""
    ran = stopped(
        "import os, signal, sys, time, cosim.cli.listing as listing\n"
        "class Dying:\n"
        "    def __del__(self):\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "        time.sleep(1)\n"
        "def models(args):\n"
        "    Dying()\n"
        "    time.sleep(5)\n"
        "    return 0\n"
        "listing.models = models\n"
        "sys.argv = ['cosim', 'models']\n"
        "from cosim.cli import main\n"
        "sys.exit(main())\n"
    )
    assert ran.returncode == 130, ran
    assert ran.stderr.startswith("cosim: stopped; ")
    assert ran.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("closed", "status"),
    [("machines >&-", 0), ("quantize none --recipe w4a4 -o none 2>&-", 2)],
)
def test_a_stream_that_the_shell_closed_is_no_fault(closed, status):
    ran = subprocess.run(
        f"{sys.executable} -m cosim.cli {closed}",
        shell=True, cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (ran.returncode, ran.stdout, ran.stderr) == (status, "", "")


def test_ctrl_c_after_the_last_word_changes_nothing():
    ran = stopped(
        "import atexit, os, signal, sys\n"
        "atexit.register(lambda: os.kill(os.getpid(), signal.SIGINT))\n"
        "sys.argv = ['cosim', 'machines', '--check', 'cosim/machines/u280.yaml']\n"
        "from cosim.cli import main\n"
        "sys.exit(main())\n"
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "machine u280" in ran.stdout

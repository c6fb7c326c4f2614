"""Run one command, and turn what goes wrong into a sentence and an exit status."""

from __future__ import annotations

import _thread
import io
import os
import signal
import sys
import threading
from collections.abc import Sequence

from cosim.ir.errors import UserError

GOOD, MISMATCH, BAD_INPUT, OUR_FAULT, STOPPED = 0, 1, 2, 3, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command in `argv` (default: the process's own) and return the exit status.

    With the process's own, Ctrl-C says nothing more once the status is known: it would end in a
    traceback while Python shuts down.
    """
    if argv is None:
        sys.unraisablehook = _raise_again
    sentence = "stopped; what was finished is kept, the same command goes on there"
    try:
        status = _run(argv)
    except KeyboardInterrupt:
        status = _fail(STOPPED, sentence)
        # Where Ctrl-C met code that was run from a string (a dataclass being made), CPython notes
        # it as unhandled and dies of the signal at exit, caught or not; another string undoes it.
        exec("")
    if argv is None:
        sys.unraisablehook = sys.__unraisablehook__
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    return status


def _raise_again(told: sys.UnraisableHookArgs) -> None:
    """Raise Ctrl-C again that came inside a destructor, where Python prints it and goes on."""
    if told.exc_type is KeyboardInterrupt:
        threading.Timer(0.05, _thread.interrupt_main).start()  # by then the destructor is over
    else:
        sys.__unraisablehook__(told)


def _run(argv: Sequence[str] | None) -> int:
    # Idle OpenMP threads sleep instead of spinning: with two busy processes on two cores, torch is
    # twenty times slower otherwise. It must be set before torch loads.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115 - closed by whoever called
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115 - likewise
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without µ shows ? and goes on
    from cosim.cli.parser import build_parser  # here, so that Ctrl-C may come while it loads

    args = build_parser().parse_args(argv)
    try:
        status: int = args.command(args)
        sys.stdout.flush()
        return status
    except UserError as error:
        return _fail(BAD_INPUT, str(error))
    except BrokenPipeError:
        # Whoever read our output has read enough; Python must not complain again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return GOOD
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _fail(BAD_INPUT, f"{where}{error.strerror or error}; nothing was half-written")
    except MemoryError:
        return _fail(BAD_INPUT, "out of memory; give a shorter text or a smaller model")
    except Exception:
        import traceback

        traceback.print_exc()
        return _fail(OUR_FAULT, "this is a fault of cosim, not of your input; please report it")


def _fail(status: int, sentence: str) -> int:
    print(f"cosim: {sentence}", file=sys.stderr, flush=True)
    return status

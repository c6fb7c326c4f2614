"""Take the walk from the command line: `cosim demo`, or step by step.

Exit status: 0 all is well, 1 a comparison differs, 2 bad input (one sentence on stderr), 3 a fault
of ours (with its traceback), 130 stopped with Ctrl-C.
"""

from cosim.cli.main import main

__all__ = ["main"]

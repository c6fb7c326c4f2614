"""Run a block in PyRTL's CompiledSimulation, driven from C.

PyRTL 1.0.3 gives step 0's values for every step when it runs many steps at once, and copies words
one by one in Python. Here its compiled function is called directly, with arrays as they are.
"""

from __future__ import annotations

import ctypes
import shutil

import pyrtl

from cosim.ir.errors import UserError
from rtl.netlist import Block, ports
from rtl.simulators.bench import Stepper, play
from rtl.simulators.setup import Setup, Trace


def run(block: Block, setup: Setup) -> Trace:
    """Return the trace of a block; raise UserError without gcc, or where a drain starves."""
    if shutil.which("gcc") is None:
        raise UserError("the compiled simulation needs gcc, which is not installed; install it")
    tracer = pyrtl.SimulationTrace(ports(block)[1], block=block)
    simulation = pyrtl.CompiledSimulation(tracer=tracer, block=block)
    step = ctypes.cast(simulation._sim_run_all, ctypes.c_void_p).value
    assert step is not None
    # The first argument of its function is the number of steps.
    stepper = Stepper(
        step, 1,
        {n: m.start for n, m in simulation._inputs_metadata.items()},
        {n: m.start for n, m in simulation._outputs_metadata.items()},
    )  # fmt: skip
    return play(stepper, setup)

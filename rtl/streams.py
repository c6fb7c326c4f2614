"""Name the ports of a stream: x_data, x_valid, x_ready. A beat moves when both flags are set."""

from __future__ import annotations

from dataclasses import dataclass

import pyrtl

from rtl.numerics import Wire


@dataclass(frozen=True)
class Stream:
    """Hold the wires of a stream, seen from either end."""

    data: Wire
    valid: Wire
    ready: Wire


def taken(name: str, bits: int) -> Stream:
    """Make the ports of a stream that comes in; `ready` is to be driven."""
    return Stream(
        pyrtl.Input(bits, f"{name}_data"), pyrtl.Input(1, f"{name}_valid"),
        pyrtl.Output(1, f"{name}_ready"),
    )  # fmt: skip


def given(name: str, bits: int) -> Stream:
    """Make the ports of a stream that goes out; `data` and `valid` are to be driven."""
    return Stream(
        pyrtl.Output(bits, f"{name}_data"), pyrtl.Output(1, f"{name}_valid"),
        pyrtl.Input(1, f"{name}_ready"),
    )  # fmt: skip


def drive(target: Wire, source: Wire) -> None:
    """Drive a wire that was made before what drives it."""
    target <<= source

"""Play feeds and drains against a compiled step function, in C (`bench.c`)."""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from cosim.ir.errors import InternalError, UserError
from rtl.simulators.setup import Setup, Trace, spread

HERE = Path(__file__).parent
# The fields of port_t in bench.c.
FIELDS = 23
TRACE, TAKEN = 14, 21


@dataclass(frozen=True)
class Stepper:
    """Hold a compiled model: its step function, the first argument, and where each port lies.

    `inputs` and `outputs` give for each port the place of its first 64-bit limb.
    """

    step: int
    model: int
    inputs: Mapping[str, int]
    outputs: Mapping[str, int]


def cache_folder(text: str) -> Path:
    """Return the folder that keeps what was built of a text: the same text, the same folder."""
    home = os.environ.get("COSIM_CACHE") or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "cosim"
    )
    return Path(home) / "rtl" / hashlib.sha256(text.encode()).hexdigest()[:24]


def build(command: Sequence[str], target: Path, what: str) -> None:
    """Run a compiler that writes its last argument's file, and put it at the target.

    Written under another name and renamed, so that two processes may build the same at once.
    """
    tool = shutil.which(command[0])
    if tool is None:
        raise UserError(f"{what} needs {command[0]}, which is not installed; install gcc and g++")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        made = Path(scratch) / target.name
        ran = subprocess.run(
            [tool, *command[1:], "-o", str(made)], capture_output=True, text=True, check=False
        )
        if ran.returncode:
            raise InternalError(f"{what}: {command[0]} failed: {ran.stderr[-2000:]}")
        made.replace(target)


@cache
def _bench() -> Any:
    source = (HERE / "bench.c").read_text(encoding="utf-8")
    library = cache_folder(source) / "bench.so"
    if not library.exists():
        build(["gcc", "-O2", "-shared", "-fPIC", str(HERE / "bench.c")], library, "the test bench")
    function = ctypes.CDLL(str(library)).bench
    function.restype = ctypes.c_int64
    return function


def play(stepper: Stepper, setup: Setup) -> Trace:
    """Return the trace of a compiled model; raise UserError where a drain starves."""
    limbs = {n: -(-bits // 64) for n, bits in setup.widths.items()}
    inputs = np.zeros(_size(stepper.inputs, limbs), np.uint64)
    outputs = np.zeros(_size(stepper.outputs, limbs), np.uint64)
    for name, value in setup.held.items():
        at = stepper.inputs[name]
        inputs[at : at + limbs[name]] = _words([value], limbs[name])
    feeds, drains, gaps, beats = [], [], [], []
    allowed: list[bool] = []
    gap_at = beat_at = trace_at = 0
    order = list(setup.drains)
    for name, feed in setup.feeds.items():
        wide = limbs[f"{name}_data"]
        count, own_gaps = setup.total(name), setup.gaps(name)
        feeds.append([
            count, feed.depth or max(count, 1), feed.latency, wide, beat_at, gap_at,
            stepper.inputs[f"{name}_data"], stepper.inputs[f"{name}_valid"],
            stepper.outputs[f"{name}_ready"], len(allowed), len(feed.allowed),
            max(len(own_gaps), 1), feed.own, order.index(feed.follows) if feed.follows else -1,
            trace_at, feed.lag, feed.block, feed.later, feed.looks_up * len(feed.beats),
            setup.port(name), feed.initial, 0, feed.first,
        ])  # fmt: skip
        gaps += own_gaps
        allowed += feed.allowed
        beats.append(_words(feed.beats, wide))
        gap_at, beat_at = gap_at + len(own_gaps), beat_at + len(feed.beats) * wide
        trace_at += count
    got_at = 0
    for name, drain in setup.drains.items():
        wide = limbs[f"{name}_data"]
        drains.append([
            drain.count, 0, 0, wide, got_at, gap_at, stepper.outputs[f"{name}_data"],
            stepper.outputs[f"{name}_valid"], stepper.inputs[f"{name}_ready"], len(allowed),
            len(drain.allowed), 1, 0, -1, trace_at, 0, 1, 0, 0, setup.port(name), 0, 0, drain.first,
        ])  # fmt: skip
        gaps += spread(name, drain.intervals, drain.count)
        allowed += drain.allowed
        gap_at, got_at = gap_at + drain.count, got_at + drain.count * wide
        trace_at += drain.count
    feed_table = np.array(feeds, np.int64).reshape(-1, FIELDS)
    drain_table = np.array(drains, np.int64).reshape(-1, FIELDS)
    given = np.concatenate([*beats, np.zeros(1, np.uint64)])
    got = np.zeros(got_at + 1, np.uint64)
    gap_table = np.array([*gaps, 1], np.int64)
    allow_table = np.array(allowed, np.uint8)
    port_table, turn_table = _turns(setup)
    offered, taken, when = (np.zeros(trace_at + 1, np.int64) for _ in range(3))
    pointers = [
        ctypes.c_void_p(a.ctypes.data)
        for a in (given, got, gap_table, allow_table, port_table, turn_table, offered, taken, when,
                  inputs, outputs)
    ]  # fmt: skip
    total = _bench()(
        ctypes.c_void_p(stepper.step), ctypes.c_uint64(stepper.model),
        ctypes.c_int64(setup.limit_cycles),
        ctypes.c_int64(len(feeds)), ctypes.c_void_p(feed_table.ctypes.data),
        ctypes.c_int64(len(drains)), ctypes.c_void_p(drain_table.ctypes.data), *pointers,
    )  # fmt: skip
    moved = {n: int(t[TAKEN]) for n, t in zip(setup.drains, drain_table, strict=True)}
    if total < 0:
        raise setup.starved(moved)
    found: dict[str, tuple[int, ...]] = {}
    cycles: dict[str, tuple[int, ...]] = {}
    for name, row in zip(setup.feeds, feed_table.tolist(), strict=True):
        cycles[name] = tuple(taken[row[TRACE] : row[TRACE] + row[TAKEN]].tolist())
    for name, row in zip(setup.drains, drain_table.tolist(), strict=True):
        cycles[name] = tuple(when[row[TRACE] : row[TRACE] + row[0]].tolist())
        found[name] = _values(got[row[4] : row[4] + row[0] * row[3]], row[3])
    return Trace(found, cycles, int(total))


def _turns(setup: Setup) -> tuple[np.ndarray, np.ndarray]:
    """Return shared_t of each port in bench.c, and the turns of all: stream and beats."""
    streams = [*setup.feeds, *setup.drains]
    ports: list[int] = []
    turns: list[tuple[int, int]] = []
    for shared in setup.turns:
        ports += [len(turns), len(shared.pairs), 0, 0, 0]
        turns += [(streams.index(name), beats) for name, beats in shared.pairs]
    return np.array([*ports, 0], np.int64), np.array([*turns, (0, 0)], np.int64)


def _size(places: Mapping[str, int], limbs: Mapping[str, int]) -> int:
    return max((at + limbs[n] for n, at in places.items()), default=0) + 1


def _words(values: Sequence[int], limbs: int) -> np.ndarray:
    if limbs == 1:
        return np.array(values, dtype=np.uint64)
    raw = b"".join(int(v).to_bytes(8 * limbs, "little") for v in values)
    return np.frombuffer(raw, dtype=np.uint64)


def _values(words: np.ndarray, limbs: int) -> tuple[int, ...]:
    if limbs == 1:
        return tuple(words.tolist())
    raw, step = words.tobytes(), 8 * limbs
    return tuple(int.from_bytes(raw[k : k + step], "little") for k in range(0, len(raw), step))

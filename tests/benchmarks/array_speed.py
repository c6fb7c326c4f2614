"""Time one matrix product on a systolic array: ours, and scalesim and zigzag-dse in the same run.

    python -m tests.benchmarks.array_speed --peers VENV/bin/python --product 512x768x3072

`--peers` names the Python of an environment that has the other tools (scalesim==3.0.0 with
numpy==2.2.6; zigzag-dse==3.9.1 with six). A tool that is not there is said to be absent. SCALE-Sim
takes minutes and gigabytes for the default product: its traces go to a folder that is removed.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cosim.ir.errors import UserError
from hw_models.dataflow import solve
from hw_models.validate.arrays import (
    Array,
    Product,
    array_network,
    array_presets,
    closed_form_cycles,
    scalesim_cycles,
)
from reports.table import Column, Table

COLUMNS = (
    Column("tool", "tool"),
    Column("what", "what it counts"),
    Column("cycles", "cycles", "modelled"),
    Column("cpu_s", "CPU, s", "measured", "3"),
    Column("wall_s", "wall, s", "measured", "3"),
    Column("peak_mb", "peak memory, MB", "measured"),
)
SCALESIM_CONFIG = """[general]
run_name = product
[architecture_presets]
ArrayHeight = {array.rows}
ArrayWidth = {array.columns}
IfmapSramSzkB = 1024
FilterSramSzkB = 1024
OfmapSramSzkB = 1024
IfmapOffset = 0
FilterOffset = 10000000
OfmapOffset = 20000000
Dataflow = {array.name}
Bandwidth = 10
ReadRequestBuffer = 32
WriteRequestBuffer = 32
[layout]
IfmapCustomLayout = False
FilterCustomLayout = False
IfmapSRAMBankBandwidth = 10
IfmapSRAMBankNum = 10
IfmapSRAMBankPort = 2
FilterSRAMBankBandwidth = 10
FilterSRAMBankNum = 10
FilterSRAMBankPort = 2
[sparsity]
SparsitySupport = false
[run_presets]
InterfaceBandwidth = CALC
UseRamulatorTrace = False
"""
ZIGZAG = """import sys
from pathlib import Path
import zigzag
from zigzag.api import get_hardware_performance_zigzag
m, k, n = (int(a) for a in sys.argv[1:4])
inputs = Path(zigzag.__file__).parent / "inputs"
layer = dict(id=0, name="product", operator_type="Gemm", equation="O[b][k]+=I[b][c]*W[c][k]",
    loop_dims=["B", "K", "C"], loop_sizes=[m, n, k], operand_source=dict(W=0, I=0),
    operand_precision=dict(W=8, I=8, O=16, O_final=8))
found = get_hardware_performance_zigzag([layer], str(inputs / "hardware/tpu_like.yaml"),
    str(inputs / "mapping/tpu_like.yaml"), opt="latency", dump_folder="out",
    pickle_filename="out/product.pickle", loma_show_progress_bar=False)
print("cycles", int(found[1]))
"""


@dataclass(frozen=True)
class Ran:
    """Hold what a command said and took; cycles None: it did not give any."""

    cycles: int | None
    cpu_s: float
    wall_s: float
    peak_mb: float
    said: str


def timed(command: list[str], folder: Path, cycles_in: Callable[[Path, str], int]) -> Ran:
    """Run a command in a folder and measure what it takes; its children count."""
    log = folder / "log"
    began = time.perf_counter()
    with log.open("w") as out:
        process = subprocess.Popen(command, cwd=folder, stdout=out, stderr=out)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    wall, said = time.perf_counter() - began, log.read_text(errors="replace")
    try:
        cycles = cycles_in(folder, said) if process.returncode == 0 else None
    except (OSError, ValueError, IndexError):
        cycles = None
    return Ran(cycles, usage.ru_utime + usage.ru_stime, wall, usage.ru_maxrss / 1024, said)


def run_scalesim(python: str, array: Array, product: Product, folder: Path) -> Ran:
    """Run SCALE-Sim on one product, with operands that are always there."""
    (folder / "scale.cfg").write_text(SCALESIM_CONFIG.format(array=array))
    sizes = f"product,{product.m},{product.n},{product.k},\n"
    (folder / "topology.csv").write_text("Layer,M,N,K,\n" + sizes)
    # It asks for a layout of 19 numbers that it does not use here.
    (folder / "layout.csv").write_text("Layer,\nproduct," + "1," * 19 + "\n")
    files = ["-c", "scale.cfg", "-t", "topology.csv", "-l", "layout.csv", "-p", "out"]

    def cycles_in(where: Path, _: str) -> int:
        report = (where / "out/product/COMPUTE_REPORT.csv").read_text().splitlines()[1]
        return int(report.split(",")[2]) + 1  # it prints the last cycle's number, from 0

    command = [python, "-m", "scalesim.scale", *files, "-i", "gemm"]
    return timed(command, folder, cycles_in)


def run_zigzag(python: str, product: Product, folder: Path) -> Ran:
    """Run ZigZag on one product with its own 32 x 32 TPU-like array."""
    sizes = [str(s) for s in (product.m, product.k, product.n)]

    def cycles_in(_: Path, said: str) -> int:
        return int(re.findall(r"^cycles (\d+)", said, re.MULTILINE)[-1])

    return timed([python, "-c", ZIGZAG, *sizes], folder, cycles_in)


def run_ours(compute: Callable[[], int]) -> tuple[int, float, float]:
    """Compute once for numba and the caches, then once on the clock; return cycles, CPU, wall."""
    compute()
    cpu, wall = time.process_time(), time.perf_counter()
    cycles = compute()
    return cycles, time.process_time() - cpu, time.perf_counter() - wall


def peer_row(name: str, what: str, ran: Ran) -> tuple[str | int | float | None, ...]:
    """Return a row of the table, with the reason where there are no cycles."""
    if ran.cycles is not None:
        return name, what, ran.cycles, ran.cpu_s, ran.wall_s, round(ran.peak_mb)
    missing = "No module named" in ran.said
    last = (ran.said.strip().splitlines() or ["nothing"])[-1][:60]
    return name, "absent" if missing else f"failed: {last}", None, None, None, None


def rows_of(
    array: Array, product: Product, peers: str
) -> list[tuple[str | int | float | None, ...]]:
    """Time everything on one product."""
    found: list[tuple[str | int | float | None, ...]] = []
    ours: list[tuple[str, Callable[[], int]]] = [
        ("closed form", lambda: closed_form_cycles(array, product)),
        ("every beat, with stalls",
         lambda: int(solve(array_network(array, product)).finish("array")[-1])),
    ]  # fmt: skip
    for what, compute in ours:
        cycles, cpu, wall = run_ours(compute)
        found.append(("cosim", what, cycles, cpu, wall, None))
    what = f"as scalesim 3.0.0 counts {array.stationary} that stay"
    found.append(("cosim", what, scalesim_cycles(array, product), None, None, None))
    for name, run in (
        ("scalesim", lambda folder: run_scalesim(peers, array, product, folder)),
        ("zigzag-dse", lambda folder: run_zigzag(peers, product, folder)),
    ):
        if not peers:
            found.append((name, "absent: give --peers PYTHON", None, None, None, None))
            continue
        with tempfile.TemporaryDirectory() as folder:
            what = "its trace" if name == "scalesim" else "its 32 x 32 TPU, DRAM port counted"
            found.append(peer_row(name, what, run(Path(folder))))
    return found


def sizes_of(text: str, count: int) -> list[int]:
    """Read sizes such as 512x768x3072; raise UserError where they are others."""
    parts = text.split("x")
    if len(parts) != count or not all(p.isascii() and p.isdigit() for p in parts):
        like = "x".join(["32"] * count)
        raise UserError(f"sizes {text!r} are not {count} whole numbers; write them as {like}")
    return [int(p) for p in parts]


def main(arguments: list[str] | None = None) -> int:
    """Print the table; return 2 where the input is bad."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.array_speed")
    parser.add_argument("--product", default="512x768x3072", help="M x K x N")
    parser.add_argument("--array", default="32x32", help="rows x columns")
    parser.add_argument("--stays", default="ws", choices=("ws", "os", "is"))
    parser.add_argument("--peers", default="", help="the Python that has scalesim and zigzag-dse")
    args = parser.parse_args(arguments)
    try:
        product = Product(*sizes_of(args.product, 3))
        rows, columns = sizes_of(args.array, 2)
        array = next(a for a in array_presets(rows, columns) if a.name == args.stays)
        if args.peers and not Path(args.peers).is_file():
            raise UserError(f"there is no Python at {args.peers}; give a virtual environment's")
    except UserError as error:
        print(f"array_speed: {error}", file=sys.stderr)
        return 2
    title = f"A product of {args.product} on an array of {args.array}, {array.stationary} stay"
    print(Table("array_speed", title, COLUMNS, tuple(rows_of(array, product, args.peers))).text())
    return 0


if __name__ == "__main__":
    sys.exit(main())

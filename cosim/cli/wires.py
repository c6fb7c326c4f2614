"""Do what `cosim rtl`, `cosim synth` and `cosim verify --level` say of an accelerator in wires."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cosim.cli.printing import print_tables

if TYPE_CHECKING:
    from cosim.flow.wires import WiresRequest
    from cosim.ir.model import Model

LANES = 8
TOKENS, UNIT_TOKENS = 16, 2


def design_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that choose a design."""
    parser.add_argument(
        "--lanes", type=_lanes, help="rows,columns,state,chain of the units, or one number for all "
        f"(default: {LANES}); `default`: the machine's default design"
    )  # fmt: skip
    for what in ("weights", "states", "embedding"):
        parser.add_argument(
            f"--{what}", choices=("chip", "memory"), default="chip",
            help="on chip, or from streams that the machine's memory serves (default: %(default)s)",
        )  # fmt: skip
    parser.add_argument(
        "--matrix", choices=("shared", "separate"), default="shared",
        help="one matrix unit for all projections, or one for each (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument("--machine", default="u280", help="name or YAML file (default: u280)")


def rtl_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `cosim rtl`; those of the graph come before."""
    design_options(parser)
    parser.add_argument("--prompt", help="what it reads first (default: 'def ')")
    parser.add_argument(
        "--tokens", type=int, help=f"tokens it writes in the golden vectors (default: {TOKENS})"
    )
    parser.add_argument(
        "--unit", action="append", help="only this unit, without vectors; may be repeated"
    )
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder to write")


def synth_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `cosim synth`; those of the graph come before."""
    design_options(parser)
    parser.add_argument(
        "--family", default="xcup", help="xcup (UltraScale+), xc7 (7 series) or ecp5 (Lattice)"
    )
    parser.add_argument("--unit", action="append", help="only this unit; may be repeated")
    parser.add_argument(
        "--whole", action="store_true",
        help="the whole accelerator in one run, with the longest path through all units",
    )  # fmt: skip
    parser.add_argument(
        "--place", action="store_true",
        help="with --family ecp5: place and route each unit too (extra `pnr`)",
    )  # fmt: skip


def verify_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `cosim verify` that are about wires."""
    parser.add_argument(
        "--level", choices=("pyrtl", "verilog"),
        help="compare the wires with the reference: as a PyRTL block, or as exported Verilog",
    )  # fmt: skip
    parser.add_argument(
        "--folder", type=Path,
        help="with --level verilog: run the test bench of this folder of `cosim rtl` again",
    )  # fmt: skip
    parser.add_argument(
        "--cycles", action="store_true", help="with --level: compare each beat's cycle too"
    )
    parser.add_argument(
        "--simulator", default="", help="pyrtl or compiled; verilator or icarus (default: first)"
    )
    parser.add_argument(
        "--prompt", action="append",
        help="with --level: what it reads first (default: 'def '); may be repeated",
    )  # fmt: skip
    parser.add_argument(
        "--units", action="store_true",
        help="with --level: every unit alone, its bits and cycles, instead of the whole",
    )  # fmt: skip
    parser.add_argument("--unit", action="append", help="as --units, this one; may be repeated")
    design_options(parser)


def rtl(args: argparse.Namespace) -> int:
    """Write the Verilog of an accelerator, or of some of its units, into a folder."""
    from cosim.cli.graphs import load_graph
    from cosim.cli.progress import make_progress
    from cosim.flow.wires import design_for, write_folder
    from cosim.machine import load_machine
    from reports.table import Column, Table

    machine, model, request = load_machine(args.machine), load_graph(args), request_of(args)
    with make_progress(args.quiet) as progress:
        design = design_for(model, machine, request)
        units = tuple(args.unit or ())
        files = write_folder(args.out, model, machine, design, request, units, progress)
    kinds = {".v": "Verilog", ".mem": "data", "": "test benches", ".json": "manifest"}
    sizes: dict[str, list[int]] = {kind: [] for kind in kinds.values()}
    for name, text in files.items():
        sizes[kinds.get(Path(name).suffix, kinds[""])].append(len(text))
    columns = (
        Column("files", "files"), Column("count", "count", "derived"),
        Column("size_bytes", "bytes", "derived"),
    )  # fmt: skip
    rows = tuple((kind, len(each), sum(each)) for kind, each in sizes.items() if each)
    written = Table("rtl", f"Written to {args.out}", columns, rows)
    return print_tables(args, (written,), {"folder": str(args.out), "design": design.text()})


def synth(args: argparse.Namespace) -> int:
    """Print what the units of an accelerator take; each is counted once and then known."""
    from cosim.cli.graphs import load_graph
    from cosim.cli.progress import make_progress
    from cosim.flow.records import Recorder, run_folder_of
    from cosim.flow.synthesis import SynthesisRequest, synthesise_design
    from cosim.flow.wires import design_for
    from cosim.machine import load_machine
    from reports import placement
    from reports.synthesis import table

    asked = SynthesisRequest(args.family, tuple(args.unit or ()), args.whole, args.place)
    machine, model, request = load_machine(args.machine), load_graph(args), request_of(args)
    with make_progress(args.quiet) as progress:
        design = design_for(model, machine, request)
        folder = run_folder_of(args.graph, progress)
        label = args.recipe or (args.graph.resolve().name if folder else model.name)
        found = Recorder(folder, label, model, machine, design).synthesis(
            asked, lambda: synthesise_design(model, machine, design, asked, progress)
        )
    shown = [table(found.rows, found.family, found.tool, args.whole)]
    if found.placed:
        shown.append(placement.table(found.placed))
    return print_tables(args, shown, {"design": design.text()})


def verify(args: argparse.Namespace, graphs: Sequence[tuple[str, Model]]) -> int:
    """Compare the wires of each graph with the reference; 1 if a bit or a cycle differs."""
    if args.folder is not None:
        return _replay(args, graphs)
    from cosim.cli.progress import make_progress
    from cosim.flow.records import Recorder, run_folder_of
    from cosim.flow.units import Alone
    from cosim.flow.whole import Whole
    from cosim.flow.wires import design_for
    from cosim.machine import load_machine
    from reports import wires, wires_units
    from reports.wires import WiresCheck
    from reports.wires_units import UnitCheck

    machine, request = load_machine(args.machine), request_of(args)
    whole: list[WiresCheck] = []
    units: list[UnitCheck] = []
    with make_progress(args.quiet) as progress:
        folder = run_folder_of(args.graph, progress)
        for label, model in graphs:
            design = design_for(model, machine, request)
            recorder = Recorder(folder, label, model, machine, design)
            if args.units or args.unit:
                alone = Alone(label, model, machine, design, request, progress)
                wanted = alone.units(args.unit or ())
                with progress.task(f"verify {len(wanted)} units of {label} in {request.tool}"):
                    for number, unit in enumerate(wanted, 1):
                        units.append(recorder.unit(alone, unit))
                        progress.advance(number, len(wanted))
            else:
                work = Whole(label, model, machine, design, request, progress)
                whole += [recorder.whole(work, prompt, args.cycles) for prompt in request.prompts]
    print_tables(args, (wires_units.table(units) if units else wires.table(whole),))
    wrong = [c.sentence for c in whole if not c.is_exact]
    wrong += [c.sentence for c in units if not c.is_exact]
    for sentence in wrong:
        print(f"cosim: {sentence}", file=sys.stderr)
    return 1 if wrong else 0


def _replay(args: argparse.Namespace, graphs: Sequence[tuple[str, Model]]) -> int:
    from cosim.cli.progress import make_progress
    from cosim.ir.errors import UserError
    from cosim.ir.file import content_hash
    from rtl.replay import check_folder, replay

    if args.level != "verilog" or len(graphs) != 1:
        raise UserError(
            f"--folder {args.folder} goes with --level verilog and one graph, not {len(graphs)}; "
            "choose one with --recipe"
        )
    check_folder(args.folder, content_hash(graphs[0][1]))
    with make_progress(args.quiet) as progress, progress.task(f"simulate {args.folder} in icarus"):
        passed, said = replay(args.folder)
    print(json.dumps({"folder": str(args.folder), "passed": passed, "said": said})
          if args.json else said)  # fmt: skip
    if not passed:
        print(f"cosim: {args.folder}: {said}", file=sys.stderr)
    return 0 if passed else 1


def request_of(args: argparse.Namespace) -> WiresRequest:
    """Turn the options into a request."""
    from cosim.flow.wires import WiresRequest

    lanes = (LANES,) * 4 if args.lanes is None else args.lanes
    alone = getattr(args, "units", False) or (getattr(args, "level", None) and args.unit)
    asked = getattr(args, "prompt", None) or "def "
    prompts = (asked,) if isinstance(asked, str) else tuple(asked)
    tokens = getattr(args, "tokens", None) or (UNIT_TOKENS if alone else TOKENS)
    return WiresRequest(
        lanes or None, args.weights, args.states, args.embedding, args.matrix, prompts, tokens,
        getattr(args, "level", None) or "verilog", getattr(args, "simulator", ""),
    )  # fmt: skip


def _lanes(text: str) -> tuple[int, ...]:
    """Read widths; `default` gives none."""
    if text == "default":
        return ()
    try:
        found = tuple(int(word) for word in text.split(","))
    except ValueError:
        found = ()
    if len(found) not in {1, 4} or any(n < 1 for n in found):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no width: give one number, rows,columns,state,chain, or `default`"
        )
    return found * 4 if len(found) == 1 else found

"""Describe the commands and their options; nothing heavy is imported, so that help is fast."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from cosim.cli import commands, graphs, listing, spikes, sweep, validate, verify, wires

DESCRIPTION = (
    "Turn a trained sequence model into one integer graph; run it, price it, report on it."
)
EPILOG = "Start with `cosim demo`. Exit status: 0 fine, 1 bits differ, 2 bad input, 130 stopped."
RECIPE_HELP = "recipe, such as w4a4 or w4a4-rtn+state24; `cosim models` lists them"
MOST_THREADS = 256  # beyond any use here, and below what a system refuses to start
OBJECTIVES = ("latency", "throughput", "energy", "area")
GRAPH_HELP = "a graph folder, or a run folder together with --recipe"


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = argparse.ArgumentParser(prog="cosim", description=DESCRIPTION, epilog=EPILOG)
    parser.add_argument("--version", action="version", version=listing.version_text())
    subs = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _demo(subs)
    _walk(subs)
    _quantize(subs)
    _run(subs)
    _verify(subs)
    _rtl(subs)
    _synth(subs)
    _simulate(subs)
    _sweep(subs)
    _report(subs)
    about = "hold published accelerators, our own designs and systolic arrays against the model"
    parser_of_validation = subs.add_parser("validate", help=about, description=about)
    validate.options(parser_of_validation)
    _finish(parser_of_validation, validate.validate)
    about = "audit the linear layers of a graph as spikes, and price them honestly"
    parser_of_spikes = subs.add_parser("spikes", help=about, description=about)
    spikes.options(parser_of_spikes)
    _finish(parser_of_spikes, spikes.spikes)
    about = "list the models and recipes there are"
    _finish(subs.add_parser("models", help=about, description=about), listing.models)
    about = "list the machines there are, show one, or check a file"
    parser_of_machines = subs.add_parser("machines", help=about, description=about)
    listing.machine_options(parser_of_machines)
    _finish(parser_of_machines, listing.machines)
    return parser


def _finish(parser: argparse.ArgumentParser, command: Callable[[argparse.Namespace], int]) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON document on stdout")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress on stderr")
    parser.set_defaults(command=command)


def _text_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--text", type=Path, help="held-out text (its bytes), or .npy of token ids; the last part "
        "of it calibrates unless --calibration is given (default: the text beside the model)"
    )  # fmt: skip
    parser.add_argument("--calibration", type=Path, help="text or .npy to calibrate with")
    parser.add_argument("--window", type=_positive, help="tokens after which scoring starts anew")
    parser.add_argument(
        "--calibration-windows", type=_positive, help="calibrate with so many windows"
    )


def _walk_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--score-tokens", type=_positive, help="score so many tokens of the text")
    parser.add_argument("--verify-tokens", type=_positive, help="compare every node over so many")
    _threads(parser)
    parser.add_argument("--prompt", help="let each recipe go on from here")
    parser.add_argument("--tokens", type=_positive, help="how many tokens it then writes")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: cpu)")


def _demo(subs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    about = "take the shipped model all the way, in under five minutes"
    parser = subs.add_parser("demo", help=about, description=about)
    parser.add_argument(
        "-o",
        "--out",
        type=Path,
        default=Path("cosim-demo"),
        help="run folder (default: %(default)s)",
    )
    _finish(parser, commands.demo)


def _walk(subs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    about = "quantise, score, verify, simulate and report, resuming what is done"
    parser = subs.add_parser("walk", help=about, description=about)
    parser.add_argument("model", help="a name of `cosim models`, or a Hugging Face folder")
    parser.add_argument("--recipe", action="append", help=RECIPE_HELP + "; may be repeated")
    parser.add_argument(
        "--machine",
        default="u280",
        help="a name of `cosim machines`, a YAML file, or none (default: u280)",
    )
    parser.add_argument("-o", "--out", type=Path, required=True, help="run folder")
    _text_options(parser)
    _walk_options(parser)
    _page_options(parser)
    _finish(parser, commands.walk)


def _quantize(subs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    about = "turn a float model into an integer graph"
    parser = subs.add_parser("quantize", help=about, description=about)
    parser.add_argument("model", help="a name of `cosim models`, or a Hugging Face folder")
    parser.add_argument("--recipe", required=True, help=RECIPE_HELP)
    parser.add_argument("-o", "--out", type=Path, required=True, help="run folder")
    _text_options(parser)
    _finish(parser, commands.quantize)


def _graph(parser: argparse.ArgumentParser, more: str = "") -> None:
    parser.add_argument("graph", type=Path, help=GRAPH_HELP + more)
    parser.add_argument("--recipe", help="which graph of a run folder")


def _run(subs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    about = "let an integer graph write text, greedily"
    parser = subs.add_parser("run", help=about, description=about)
    _graph(parser)
    parser.add_argument("--prompt", default="def ", help="text to go on from (default: 'def ')")
    parser.add_argument("--tokens", type=_positive, default=200, help="default: %(default)s")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: cpu)")
    _finish(parser, graphs.run)


def _verify(subs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    about = "compare the reference and the fast executor, node by node, with =="
    parser = subs.add_parser("verify", help=about, description=about)
    parser.add_argument("graph", type=Path, help="a graph folder, or a run folder: all its graphs")
    parser.add_argument("--recipe", action="append", help="only this graph of it; may be repeated")
    parser.add_argument("--text", type=Path, help="text or .npy (default: that of the run folder)")
    parser.add_argument(
        "--tokens", type=_positive, help="default: 512; with --level, 16; with --units, 2"
    )
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: cpu)")
    _threads(parser)
    wires.verify_options(parser)
    _finish(parser, verify.verify)


def _rtl(subs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    about = "write a graph's accelerator as Verilog, with a self-checking test bench"
    parser = subs.add_parser("rtl", help=about, description=about)
    _graph(parser)
    wires.rtl_options(parser)
    _finish(parser, wires.rtl)


def _synth(subs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    about = "count what the units of a graph's accelerator take of an FPGA, with yosys"
    parser = subs.add_parser("synth", help=about, description=about)
    _graph(parser)
    wires.synth_options(parser)
    _finish(parser, wires.synth)


def _threads(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--threads", type=_counts, help="numbers of threads, a comparison for each (default: 1,2)"
    )


def _simulate(subs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    about = "model cycles and energy of one token on a machine"
    parser = subs.add_parser("simulate", help=about, description=about)
    _graph(parser, "; or a published size, such as mamba2-2.7b, whose weights are not needed")
    parser.add_argument("--machine", default="u280", help="name or YAML file (default: u280)")
    parser.add_argument("--trace", type=Path, help="write the timeline here, for Perfetto")
    _workload(parser)
    _finish(parser, graphs.simulate)


def _workload(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--prefill", type=_positive, metavar="N",
        help="read a prompt of so many tokens first (default: tokens are generated alone)",
    )  # fmt: skip
    parser.add_argument(
        "--batch", type=_positive, default=1, help="sequences at a time (default: %(default)s)"
    )
    parser.add_argument(
        "--context", type=_count, default=0, help="tokens seen before (default: %(default)s)"
    )
    parser.add_argument(
        "--objective", choices=OBJECTIVES,
        help="search a design for it and say why (about a minute for large models; default: rules)",
    )  # fmt: skip
    parser.add_argument(
        "--slack", type=_percent, metavar="PERCENT",
        help="make the FIFOs the smallest that let a token take so much longer, such as 0 or 1",
    )  # fmt: skip


def _sweep(subs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    about = "try many designs and find the Pareto front, resuming what is done"
    parser = subs.add_parser("sweep", help=about, description=about)
    sweep.add_options(parser)
    _finish(parser, sweep.sweep)


def _report(subs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    about = "write the report of a run folder again"
    parser = subs.add_parser("report", help=about, description=about)
    parser.add_argument("run", type=Path, help="a run folder of `cosim walk` or `cosim demo`")
    _page_options(parser)
    _finish(parser, commands.report)


def _page_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--sweep", type=Path, metavar="FOLDER", help="show the Pareto front of this sweep beside"
    )
    parser.add_argument(
        "--validation", action="store_true",
        help="show published accelerators beside the model (about 45 s, once)",
    )  # fmt: skip


def _whole(text: str, least: int) -> int:
    try:
        value = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is not a whole number") from None
    if value < least:
        raise argparse.ArgumentTypeError(f"{value} is not at least {least}")
    return value


def _positive(text: str) -> int:
    return _whole(text, 1)


def _count(text: str) -> int:
    return _whole(text, 0)


def _percent(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is not a number") from None
    if not 0 <= value <= 1000:
        raise argparse.ArgumentTypeError(f"{text} is not 0 to 1000")
    return value / 100


def _counts(text: str) -> tuple[int, ...]:
    counts = tuple(map(_positive, text.split(",")))
    if len(set(counts)) != len(counts):
        raise argparse.ArgumentTypeError(f"{text} names a number twice")
    if max(counts) > MOST_THREADS:
        raise argparse.ArgumentTypeError(f"{max(counts)} threads are more than {MOST_THREADS}")
    return counts

"""Do what `cosim validate` says: print published accelerators beside the model."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from cosim.cli.printing import print_json

PARTS = ("published", "designs", "arrays")


def options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument(
        "--only", action="append", choices=PARTS, help="only this part; may be repeated"
    )
    parser.add_argument(
        "--product", type=_sizes(3), default=(512, 768, 3072), metavar="MxKxN",
        help="the product of the systolic arrays (default: 512x768x3072)",
    )  # fmt: skip
    parser.add_argument(
        "--array", type=_sizes(2), default=(32, 32), metavar="RxC",
        help="their rows and columns (default: 32x32)",
    )  # fmt: skip
    parser.add_argument(
        "-o", "--out", type=Path, help="also write validation.json, .html and CSV files here"
    )


def validate(args: argparse.Namespace) -> int:
    """Print the tables that are asked for."""
    from cosim.cli.progress import make_progress
    from cosim.flow.validate import validate as compute
    from cosim.flow.validate import write_validation

    parts = tuple(p for p in PARTS if not args.only or p in args.only)
    with make_progress(args.quiet) as progress:
        found = compute(parts, args.product, args.array, progress)
    if args.out:
        write_validation(found, args.out, _command(args, parts))
    if args.json:
        print_json(found.to_json())
    else:
        print(found.text(), end="")
    return 0


def _command(args: argparse.Namespace, parts: tuple[str, ...]) -> str:
    only = "" if parts == PARTS else "".join(f" --only {p}" for p in parts)
    sizes = ["x".join(map(str, s)) for s in (args.product, args.array)]
    return f"cosim validate{only} --product {sizes[0]} --array {sizes[1]} --out FOLDER"


def _sizes(count: int) -> Callable[[str], tuple[int, ...]]:
    """Return what reads so many whole numbers joined by x."""

    def read(text: str) -> tuple[int, ...]:
        parts = text.split("x")
        if len(parts) != count or not all(p.isascii() and p.isdigit() for p in parts):
            like = "x".join(["32"] * count)
            raise argparse.ArgumentTypeError(
                f"{text!r} is not {count} whole numbers; write them as {like}"
            )
        return tuple(int(p) for p in parts)

    return read

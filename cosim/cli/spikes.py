"""Do what `cosim spikes` says: audit the linear layers of a graph as spikes."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from cosim.cli.printing import print_tables
from cosim.ir.errors import UserError

if TYPE_CHECKING:
    import numpy as np

MOST_TOKENS = 1 << 16


def options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("graph", type=Path, help="a graph folder, or a run folder and --recipe")
    parser.add_argument("--recipe", help="which graph of a run folder")
    parser.add_argument("--text", type=Path, help="text to run (default: the shipped held-out one)")
    parser.add_argument("--tokens", type=int, default=512, help="how many of its tokens")
    parser.add_argument("--tile", type=int, default=64, help="channels of a lock-step tile")
    parser.add_argument("--lanes", type=int, default=16, help="lanes that share events")
    parser.add_argument(
        "--energy", default="horowitz-45nm", help="table of energy constants, all of one node"
    )


def spikes(args: argparse.Namespace) -> int:
    """Print coverage, layers, claims and energies."""
    from cosim.cli.graphs import load_graph
    from quant.spike_audit import audit
    from reports.spikes import tables_of

    model = load_graph(args)
    if set(model.inputs) != {"token"}:
        raise UserError(
            f"model {model.name} takes {', '.join(model.inputs)}, not tokens; audit it in Python "
            "with quant.spike_audit.audit"
        )
    if not 1 <= args.tokens <= MOST_TOKENS:
        raise UserError(f"--tokens {args.tokens}: choose 1 to {MOST_TOKENS}")
    found = audit(model, {"token": _tokens(args, model.inputs["token"].hi)}, args.tile, args.lanes)
    return print_tables(args, tables_of(found, args.energy))


def _tokens(args: argparse.Namespace, last: int) -> np.ndarray:
    """Return tokens [1, T]: the bytes of a text."""
    import numpy as np

    import quant

    path = args.text
    if path is None:
        path = Path(quant.__file__).parent / "zoo" / "mamba2-py-1m" / "held_out.txt"
    raw = np.frombuffer(path.read_bytes()[: args.tokens], np.uint8).astype(np.int64)
    if raw.size == 0 or int(raw.max()) > last:
        raise UserError(
            f"{path}: {raw.size} bytes up to {int(raw.max(initial=0))}, but tokens go to {last}; "
            "give a text of bytes that the model knows"
        )
    return raw[None]

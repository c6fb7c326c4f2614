"""Refuse integer graphs whose online rotations and fused inverses do not match.

A weight's name says what is fused into it: `~h384` an online Hadamard of order 384 on its input,
`~r192s0` the residual's basis. The graph says what is really there. Where a state holds products
with B and is read by C, both halves are online: B and C must be rotated alike.
"""

from __future__ import annotations

import re

from cosim.ir.errors import UserError
from cosim.ir.graph import Node
from cosim.ir.model import Model
from cosim.ops import (
    Contract,
    DecayUpdate,
    Dequantize,
    Embed,
    GroupScale,
    Hadamard,
    Linear,
    Quantize,
    Requant,
    Rescale,
    Reshape,
    Truncate,
)

_ONLINE = re.compile(r"~h(\d+)")
_BASIS = re.compile(r"~r([^~]+)")
_PASSED = (Quantize, Rescale, Requant, GroupScale, Dequantize, Reshape, Truncate)


def check_rotations(model: Model) -> None:
    """Raise UserError at the first weight whose fused rotations the graph does not provide."""
    bases: dict[str, str] = {}
    for segment in model.segments:
        graph = segment.graph
        producers = {n.name: n for n in graph.nodes}
        for node in graph.nodes:
            if isinstance(node.op, Linear):
                weight = node.inputs[1]
                found, fused = _online_order(producers, node.inputs[0]), _fused_order(weight)
                if found != fused:
                    raise UserError(
                        f"{segment.name}/{node.name}: weight {weight!r} expects {_say(fused)} on "
                        f"its input but the graph has {_say(found)}; rotate both or neither"
                    )
            if isinstance(node.op, Contract):
                _check_state(segment.name, producers, node)
            if isinstance(node.op, Linear | Embed):
                weight = node.inputs[1]
                if _touches_residual(weight):
                    bases[weight] = "".join(_BASIS.findall(weight))
    if len(set(bases.values())) > 1:
        sides = ", ".join(f"{w!r} in basis {b or 'none'}" for w, b in list(bases.items())[:4])
        raise UserError(f"model {model.name}: the residual is not in one basis: {sides}")


def _touches_residual(weight: str) -> bool:
    return any(part in weight for part in ("embeddings", "in_proj", "out_proj", "lm_head"))


def _fused_order(weight: str) -> int:
    match = _ONLINE.search(weight)
    return int(match[1]) if match else 0


def _check_state(segment: str, producers: dict[str, Node], read: Node) -> None:
    """Raise UserError where B, which the state was written with, and C are rotated unlike."""
    update = _maker(producers, read.inputs[0])
    if update is None or not isinstance(update.op, DecayUpdate):
        return
    written = _online_order(producers, update.inputs[3])
    asked = _online_order(producers, read.inputs[1])
    if written != asked:
        raise UserError(
            f"{segment}/{read.name}: the state is written with {_say(written)} on B but read with "
            f"{_say(asked)} on C; rotate both or neither"
        )


def _maker(producers: dict[str, Node], name: str) -> Node | None:
    """Walk back from a value over what only rescales or reshapes it to the node that made it."""
    while name in producers and isinstance(producers[name].op, _PASSED):
        name = producers[name].inputs[0]
    return producers.get(name)


def _online_order(producers: dict[str, Node], name: str) -> int:
    """Return the order of the Hadamard that made a value, 0 if none did."""
    maker = _maker(producers, name)
    return maker.op.order if maker is not None and isinstance(maker.op, Hadamard) else 0


def _say(order: int) -> str:
    return f"a Hadamard of order {order}" if order else "no Hadamard"

"""Refuse integer graphs whose online rotations and fused inverses do not match.

A weight's name says what is fused into it: `~h384` an online Hadamard of order 384 on its input,
`~r192s0` the residual's basis. The graph says what is really there.
"""

from __future__ import annotations

import re

from cosim.ir.errors import UserError
from cosim.ir.graph import Node
from cosim.ir.model import Model
from cosim.ops import Embed, GroupScale, Hadamard, Linear, Quantize, Requant, Rescale

_ONLINE = re.compile(r"~h(\d+)")
_BASIS = re.compile(r"~r([^~]+)")
_PASSED = (Quantize, Rescale, Requant, GroupScale)


def check_rotations(model: Model) -> None:
    """Raise UserError at the first weight whose fused rotations the graph does not provide."""
    bases: dict[str, str] = {}
    for segment in model.segments:
        graph = segment.graph
        producers = {n.name: n for n in graph.nodes}
        for node in graph.nodes:
            if isinstance(node.op, Linear):
                weight = node.inputs[1]
                found, fused = _online_order(producers, node), _fused_order(weight)
                if found != fused:
                    raise UserError(
                        f"{segment.name}/{node.name}: weight {weight!r} expects {_say(fused)} on "
                        f"its input but the graph has {_say(found)}; rotate both or neither"
                    )
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


def _online_order(producers: dict[str, Node], node: Node) -> int:
    """Walk back from a linear layer through its quantiser to a Hadamard, if there is one."""
    name = node.inputs[0]
    while name in producers and isinstance(producers[name].op, _PASSED):
        name = producers[name].inputs[0]
    op = producers[name].op if name in producers else None
    return op.order if isinstance(op, Hadamard) else 0


def _say(order: int) -> str:
    return f"a Hadamard of order {order}" if order else "no Hadamard"

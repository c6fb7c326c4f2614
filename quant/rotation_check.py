"""Refuse integer graphs whose online rotations and fused inverses do not match.

A weight's name says what is fused into it: `~h384` an online Hadamard of order 384 on its input,
`~r192s0` the residual's basis, `~v64` the rotation of attention's values or its inverse. The graph
says what is really there. Where a state holds products with B and is read by C, both halves are
online: B and C must be rotated alike, and so must queries and the keys of the cache they attend to.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TypeAlias

from cosim.ir.errors import UserError
from cosim.ir.graph import Node
from cosim.ir.model import Model, Segment
from cosim.ir.op import Op
from cosim.ops import (
    Add,
    Attend,
    CacheWrite,
    Clip,
    Contract,
    DecayUpdate,
    Dequantize,
    Divide,
    Embed,
    GroupScale,
    Hadamard,
    Linear,
    Quantize,
    Requant,
    Rescale,
    Reshape,
    Slice,
    SpikeEncode,
    SpikeLinear,
    Truncate,
)
from quant.lower.source import touches_residual

Makers: TypeAlias = Mapping[str, Node]

_ONLINE = re.compile(r"~h(\d+)")
_BASIS = re.compile(r"~r([^~]+)")
_VALUES = re.compile(r"~v(\d+)")
_PASSED: tuple[type[Op], ...] = (
    Quantize,
    Rescale,
    Requant,
    GroupScale,
    Dequantize,
    Reshape,
    Truncate,
    Clip,
    SpikeEncode,
)


def check_rotations(model: Model) -> None:
    """Raise UserError at the first weight whose fused rotations the graph does not provide."""
    bases: dict[str, str] = {}
    for segment in model.segments:
        graph = segment.graph
        producers = {n.name: n for n in graph.nodes}
        for node in graph.nodes:
            if isinstance(node.op, Linear | SpikeLinear):
                weight = node.inputs[1]
                found, fused = _online_order(producers, node.inputs[0]), _fused_order(weight)
                if found != fused:
                    raise UserError(
                        f"{segment.name}/{node.name}: weight {weight!r} expects {_say(fused)} on "
                        f"its input but the graph has {_say(found)}; rotate both or neither"
                    )
            if isinstance(node.op, Contract):
                _check_state(segment.name, producers, node)
            if isinstance(node.op, Attend):
                _check_keys(model, segment, producers, node)
            if isinstance(node.op, Linear | SpikeLinear):
                _check_values(model, segment, producers, node)
            if isinstance(node.op, Linear | SpikeLinear | Embed):
                weight = node.inputs[1]
                if touches_residual(weight):
                    bases[weight] = "".join(_BASIS.findall(weight))
    if len(set(bases.values())) > 1:
        sides = ", ".join(f"{w!r} in basis {b or 'none'}" for w, b in list(bases.items())[:4])
        raise UserError(f"model {model.name}: the residual is not in one basis: {sides}")


def _fused_order(weight: str) -> int:
    match = _ONLINE.search(weight)
    return int(match[1]) if match else 0


def _check_state(segment: str, producers: Makers, read: Node) -> None:
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


def _check_keys(model: Model, segment: Segment, makers: Makers, node: Node) -> None:
    """Raise UserError where queries and the keys in the cache are rotated unlike."""
    asked = _online_order(makers, node.inputs[0])
    for written_in, row in _rows(model, segment, node.inputs[1]):
        written = _online_order(written_in, row)
        if asked != written:
            raise UserError(
                f"{segment.name}/{node.name}: keys are cached with {_say(written)} but queries "
                f"have {_say(asked)}; rotate both or neither"
            )


def _check_values(model: Model, segment: Segment, makers: Makers, node: Node) -> None:
    """Raise UserError where a matrix takes back another rotation of values than was put in."""
    attend = _maker(makers, node.inputs[0], (*_PASSED, Divide))
    fused = "".join(_VALUES.findall(node.inputs[1]))
    if attend is None or not isinstance(attend.op, Attend):
        return
    for written_in, row in _rows(model, segment, attend.inputs[2]):
        linear = _maker(written_in, row, (*_PASSED, Slice, Add))
        put_in = "".join(_VALUES.findall(linear.inputs[1])) if linear else ""
        if put_in != fused:
            raise UserError(
                f"{segment.name}/{node.name}: values are cached with {_say(int(put_in or 0))} but "
                f"weight {node.inputs[1]!r} takes back {_say(int(fused or 0))}; rotate both or "
                "neither"
            )


def _rows(model: Model, segment: Segment, cache: str) -> Iterator[tuple[Makers, str]]:
    """Yield what is written into a cache: the nodes there, and the row's name.

    A cache that is only read is followed to the earlier segment that wrote it.
    """
    makers = {n.name: n for n in segment.graph.nodes}
    node = makers.get(cache)
    if node is not None and isinstance(node.op, CacheWrite):
        yield makers, node.inputs[1]
    elif cache in segment.states_from:
        source, state = segment.states_from[cache].split("/", 1)
        earlier = next(s for s in model.segments if s.name == source)
        yield from _rows(model, earlier, earlier.graph.states[state].next)


def _maker(producers: Makers, name: str, passed: tuple[type[Op], ...] = _PASSED) -> Node | None:
    """Walk back from a value over what only rescales or reshapes it to the node that made it."""
    while name in producers and isinstance(producers[name].op, passed):
        name = producers[name].inputs[0]
    return producers.get(name)


def _online_order(producers: Makers, name: str) -> int:
    """Return the order of the Hadamard that made a value, 0 if none did."""
    maker = _maker(producers, name)
    return maker.op.order if maker is not None and isinstance(maker.op, Hadamard) else 0


def _say(order: int) -> str:
    return f"a Hadamard of order {order}" if order else "no Hadamard"

"""Save a model to a folder and load it: `graph.json` and `tensors.safetensors`, hashed.

`graph.json` holds the schema version, the structure and a sha256 over the structure and every
tensor's name, shape and values. Constants are stored in the narrowest numpy type that holds
their declared width; a folder without `tensors.safetensors` is a model without weights.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from cosim.ir.errors import InternalError, UserError
from cosim.ir.graph import Graph, GraphBuilder
from cosim.ir.model import Model, Segment
from cosim.ir.op import Op
from cosim.ir.types import IntType, TensorType
from cosim.ir.write import new_folder, refuse_foreign

SCHEMA = 1
GRAPH_FILE = "graph.json"
TENSOR_FILE = "tensors.safetensors"


def save_model(model: Model, folder: Path) -> str:
    """Write the model folder in one step and return its content hash.

    Raise UserError where the disk refuses, or where the folder exists and holds anything else.
    """
    folder = Path(folder)
    refuse_foreign(folder, (GRAPH_FILE, TENSOR_FILE))
    structure = _model_json(model)
    tensors = _tensors(model)
    digest = _digest(structure, tensors)
    text = json.dumps({"schema": SCHEMA, "hash": digest, "model": structure}, indent=1)
    with new_folder(folder) as temporary:
        (temporary / GRAPH_FILE).write_text(text + "\n")
        if tensors:
            try:
                save_file(tensors, temporary / TENSOR_FILE)
                (temporary / TENSOR_FILE).chmod(0o644)  # safetensors makes it private
            except SafetensorError as error:  # how the library reports a full disk
                raise OSError(str(error)) from error
    return digest


def content_hash(model: Model) -> str:
    """Return the content hash that a saved model would carry."""
    return _digest(_model_json(model), _tensors(model))


def load_model(folder: Path, ops: Mapping[str, type[Op]]) -> Model:
    """Read a model folder, prove its types again and check its hash; raise UserError if bad."""
    folder = Path(folder)
    path = folder / GRAPH_FILE
    if not path.is_file():
        raise UserError(f"{folder}: no {GRAPH_FILE} there; give a folder that `quantize` wrote")
    try:
        data = json.loads(path.read_text())
        schema, digest, structure = data["schema"], data["hash"], data["model"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f"{path}: not a graph file ({error!r}); quantise the model again") from None
    if schema != SCHEMA:
        raise UserError(
            f"{path}: schema {schema}, this version reads {SCHEMA}; use the version that wrote it "
            "or quantise the model again"
        )
    tensors: dict[str, np.ndarray] = {}
    if (folder / TENSOR_FILE).is_file():
        try:
            tensors = load_file(folder / TENSOR_FILE)
        except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"{folder / TENSOR_FILE}: cannot be read ({error}); quantise the model again"
            ) from None
    if _digest(structure, tensors) != digest:
        raise UserError(
            f"{folder}: the content does not match its hash {str(digest)[:12]}...; the files "
            "were changed or cut; quantise the model again"
        )
    try:
        return _model_of(structure, tensors, ops)
    except (LookupError, ValueError, TypeError, AttributeError, InternalError) as error:
        raise UserError(
            f"{path}: not a graph of this version ({error!r}); quantise the model again"
        ) from None


def _model_json(model: Model) -> dict[str, Any]:
    return {
        "name": model.name,
        "inputs": {n: _type_json(t) for n, t in model.inputs.items()},
        "segments": [
            {
                "name": s.name,
                "direction": s.direction,
                "look_ahead": s.look_ahead,
                "wires": dict(s.wires),
                "graph": _graph_json(s.graph),
                **({"states_from": dict(s.states_from)} if s.states_from else {}),
            }
            for s in model.segments
        ],
        "outputs": dict(model.outputs),
    }


def _type_json(t: TensorType) -> list[Any]:
    return [str(t.dtype), list(t.shape), t.lo, t.hi]


def _type_of(data: list[Any]) -> TensorType:
    return TensorType(IntType.parse(data[0]), tuple(data[1]), int(data[2]), int(data[3]))


def _graph_json(g: Graph) -> dict[str, Any]:
    return {
        "name": g.name,
        "inputs": {n: _type_json(g.types[n]) for n in g.inputs},
        "consts": {n: _type_json(g.types[n]) for n in g.consts},
        "states": {n: [_type_json(s.type), s.next, s.init] for n, s in g.states.items()},
        "nodes": [
            [n.name, n.op.name, {k: _plain(v) for k, v in n.op.attributes().items()}, *n.inputs]
            for n in g.nodes
        ],
        "outputs": dict(g.outputs),
        "scales": dict(g.scales),
    }


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, IntType) else value


def _op_of(cls: type[Op], data: dict[str, Any]) -> Op:
    hints = get_type_hints(cls)
    given = {}
    for f in fields(cls):  # type: ignore[arg-type]
        value = data[f.name]
        if hints[f.name] is IntType:
            value = IntType.parse(value)
        given[f.name] = tuple(value) if isinstance(value, list) else value
    if set(data) != set(given):
        raise KeyError(f"attributes {sorted(data)} of operator {cls.name}")
    return cls(**given)


def _graph_of(
    data: dict[str, Any],
    prefix: str,
    tensors: Mapping[str, np.ndarray],
    ops: Mapping[str, type[Op]],
) -> Graph:
    b = GraphBuilder(data["name"])
    scales = data["scales"]
    for name, t in data["inputs"].items():
        b.input(name, _type_of(t), scales.get(name))
    for name, t in data["consts"].items():
        type_ = _type_of(t)
        array = tensors.get(prefix + name)
        if array is None:
            b.const(name, type_, scale=scales.get(name))
        else:
            b.const(name, array.astype(np.int64), type_.dtype, scales.get(name))
    for name, (t, _, init) in data["states"].items():
        b.state(name, _type_of(t), scales.get(name), init)
    for name, op, attributes, *inputs in data["nodes"]:
        b.add(name, _op_of(ops[op], attributes), *inputs, scale=scales.get(name))
    for name, (_, value, _) in data["states"].items():
        b.update(name, value)
    for name, value in data["outputs"].items():
        b.output(name, value)
    return b.build()


def _model_of(
    data: dict[str, Any], tensors: Mapping[str, np.ndarray], ops: Mapping[str, type[Op]]
) -> Model:
    segments = tuple(
        Segment(
            name=s["name"],
            graph=_graph_of(s["graph"], f"{s['name']}/", tensors, ops),
            wires=s["wires"],
            direction=s["direction"],
            look_ahead=s["look_ahead"],
            states_from=s.get("states_from", {}),
        )
        for s in data["segments"]
    )
    inputs = {n: _type_of(t) for n, t in data["inputs"].items()}
    return Model(data["name"], inputs, segments, data["outputs"])


def _tensors(model: Model) -> dict[str, np.ndarray]:
    return {
        f"{s.name}/{name}": _narrow(data, s.graph.types[name].dtype)
        for s in model.segments
        for name, data in s.graph.tensors.items()
    }


def _narrow(data: np.ndarray, dtype: IntType) -> np.ndarray:
    for bits in (8, 16, 32, 64):
        if dtype.bits <= bits - (0 if dtype.signed else 1):
            return data.astype(f"int{bits}")
    raise AssertionError(dtype)


def _digest(structure: dict[str, Any], tensors: Mapping[str, np.ndarray]) -> str:
    sha = hashlib.sha256(json.dumps(structure, sort_keys=True).encode())
    for name in sorted(tensors):
        array = tensors[name]
        sha.update(f"{name} {array.dtype} {array.shape}".encode())
        sha.update(array.tobytes())
    return sha.hexdigest()

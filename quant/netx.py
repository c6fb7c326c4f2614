"""Read a netx file (HDF5, as Lava's lava-dl writes it) of dense spiking layers as a model.

The neurons are Loihi's: currents and potentials of 24 bits that decay by 12-bit fractions toward
zero, spikes where the potential passes vThMant * 64, weights times 64, axonal delays in steps.
Each layer, and the output, reads the spikes that the layer before sent one step earlier.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from cosim.ir.errors import UserError
from cosim.ir.graph import GraphBuilder
from cosim.ir.model import Model, Segment
from cosim.ir.types import TensorType, smallest_type, u
from cosim.ops import Linear
from quant.lower.neuron import Neuron, add_delays, add_neurons

WEIGHT_SCALE = 64  # of netx: weights and thresholds are mantissas of 2^6
PASSED = ("input", "flatten", "average")


def read_netx(path: Path) -> Model:
    """Return the model of a file: input and output spikes [N] of each step.

    The output is that of the last dense layer. Raise UserError for files and layers of another
    kind, weights or delays that are no integers, and where h5py is missing.
    """
    try:
        import h5py
    except ImportError:
        raise UserError(
            f"{path}: reading HDF5 needs h5py; install it with the extra `neuromorphic`"
        ) from None
    try:
        with h5py.File(path) as file:
            return _model(path, file["layer"])
    except (OSError, KeyError) as error:
        raise UserError(
            f"{path}: not a netx file ({error}); export one with lava-dl's export_hdf5"
        ) from None


def _model(path: Path, layers: Any) -> Model:
    b = GraphBuilder("step")
    spikes, inputs = "", {}
    for key in sorted(layers, key=int):
        layer, name = layers[key], f"layer{key}"
        kind = bytes(np.asarray(layer["type"]).reshape(-1)[0]).decode()
        if kind in PASSED:
            continue
        if kind != "dense":
            raise UserError(
                f"{path}: layer {key} is of type {kind!r}; there are dense, {', '.join(PASSED)}"
            )
        weight = _integers(f"{path}: weights of layer {key}", layer["weight"][()])
        if not spikes:
            inputs["spikes"] = TensorType.full(u(1), (weight.shape[1],))
            spikes = b.input("spikes", inputs["spikes"])
        before = add_delays(b, f"{name}.synapse", spikes, np.ones(weight.shape[1], dtype=np.int64))
        low, high = int(weight.min()), int(weight.max())
        w = b.const(f"{name}.weight", weight, smallest_type(min(low, -1), high))
        scale = np.full((len(weight), 1), WEIGHT_SCALE)
        m = b.const(f"{name}.scale", scale, smallest_type(0, WEIGHT_SCALE))
        drive = b.add(f"{name}.drive", Linear(weight.shape[1]), before, w, m)
        spikes = add_neurons(b, name, drive, _neuron(path, key, layer["neuron"]))
        if "delay" in layer:
            delays = _integers(f"{path}: delays of layer {key}", layer["delay"][()])
            spikes = add_delays(b, f"{name}.axon", spikes, delays)
    if not spikes:
        raise UserError(f"{path}: no dense layer in it; there is nothing to run")
    ends = np.ones(b.types[spikes].size, dtype=np.int64)
    b.output("fired", add_delays(b, "output", spikes, ends))
    graph = b.build()
    segment = Segment("step", graph, {"spikes": "spikes"})
    return Model(path.stem, inputs, (segment,), {"fired": "step.fired"})


def _neuron(path: Path, key: str, found: Any) -> Neuron:
    kind = found["type"][()]
    if kind not in (b"LOIHI", b"CUBA"):
        raise UserError(f"{path}: neurons of layer {key} are {kind!r}; there are LOIHI and CUBA")
    return Neuron(
        threshold=int(found["vThMant"][()]) * WEIGHT_SCALE,
        voltage_decay=int(found["vDecay"][()]),
        current_decay=int(found["iDecay"][()]),
    )


def _integers(what: str, values: np.ndarray) -> np.ndarray:
    """Return whole numbers that a file stores as floats."""
    whole = np.rint(values)
    if not np.array_equal(whole, values):
        raise UserError(f"{what} are not integers (such as {values.reshape(-1)[0]}); quantise them")
    return whole.astype(np.int64)

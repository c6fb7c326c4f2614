"""Read a netx file (HDF5, as Lava's lava-dl writes it) of dense spiking layers.

The neurons are Loihi's: currents and potentials of 24 bits that decay by 12-bit fractions toward
zero, spikes where the potential passes vThMant * 64, weights times 64, axonal delays in steps.
Each layer, and the output, reads the spikes that the layer before sent one step earlier.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from cosim.ir.errors import UserError
from cosim.ir.model import Model
from quant.lower.neuron import Neuron
from quant.spiking_network import SpikingLayer, SpikingNetwork, whole

WEIGHT_SCALE = 64  # of netx: weights and thresholds are mantissas of 2^6
HOP_STEPS = 1  # from a layer's spikes to the next layer's currents
PASSED = ("input", "flatten", "average")


def read_netx(path: Path) -> Model:
    """Return the model of a file: input and output spikes [N] of each step."""
    return netx_network(path).model()


def netx_network(path: Path) -> SpikingNetwork:
    """Return the network of a file; the output is that of the last dense layer.

    Raise UserError for files and layers of another kind, weights or delays that are no integers,
    and where h5py is missing.
    """
    try:
        import h5py
    except ImportError:
        raise UserError(
            f"{path}: reading HDF5 needs h5py; install it with the extra `neuromorphic`"
        ) from None
    try:
        with h5py.File(path) as file:
            return _network(path, file["layer"])
    except (OSError, KeyError) as error:
        raise UserError(
            f"{path}: not a netx file ({error}); export one with lava-dl's export_hdf5"
        ) from None


def _network(path: Path, found: Any) -> SpikingNetwork:
    layers: list[SpikingLayer] = []
    delays: np.ndarray | None = None
    for key in sorted(found, key=int):
        layer = found[key]
        kind = bytes(np.asarray(layer["type"]).reshape(-1)[0]).decode()
        if kind in PASSED:
            continue
        if kind != "dense":
            raise UserError(
                f"{path}: layer {key} is of type {kind!r}; there are dense, {', '.join(PASSED)}"
            )
        weight = whole(f"{path}: weights of layer {key}", layer["weight"][()])
        if delays is None:
            delays = np.full(weight.shape[1], HOP_STEPS)
        neuron = _neuron(path, key, layer["neuron"])
        layers.append(SpikingLayer(f"layer{key}", weight, WEIGHT_SCALE, neuron, delays))
        delays = np.full(weight.shape[0], HOP_STEPS)
        if "delay" in layer:
            delays = delays + whole(f"{path}: delays of layer {key}", layer["delay"][()])
    ends = np.zeros(0, dtype=np.int64) if delays is None else delays
    return SpikingNetwork(path.name, tuple(layers), ends)


def _neuron(path: Path, key: str, found: Any) -> Neuron:
    kind = found["type"][()]
    if kind not in (b"LOIHI", b"CUBA"):
        raise UserError(f"{path}: neurons of layer {key} are {kind!r}; there are LOIHI and CUBA")
    return Neuron(
        threshold=int(found["vThMant"][()]) * WEIGHT_SCALE,
        voltage_decay=int(found["vDecay"][()]),
        current_decay=int(found["iDecay"][()]),
    )

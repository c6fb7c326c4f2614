"""Write and read NIR files of feed-forward spiking networks; with a profile beside them, exactly.

Glossary, by forward Euler with the step dt (snnTorch and SpikingJelly export so):
    decay / 2^bits = dt / tau    r = tau / dt, w_in = tau_syn / dt: an input of 1 adds 1
Without a profile, tau and float weights are made integers here: decays of 12 bits, weights and
threshold on one power of two per layer such that weights have 8 bits.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from cosim.ir.errors import UserError
from quant.lower.neuron import Neuron
from quant.nir_profile import (
    Profile,
    check_vectors,
    read_profile,
    scaled_layer,
    write_profile,
)  # fmt: skip
from quant.spiking_network import SpikingLayer, SpikingNetwork, whole

STEP_S = 1e-4  # of snnTorch's and SpikingJelly's exports
DECAY_BITS, WEIGHT_PEAK = 12, 127
NEURONS = ("CubaLIF", "LIF", "IF")
KNOWN = ("Input", "Output", "Linear", "Affine", "Flatten", "Delay", *NEURONS)


def write_nir(path: Path, network: SpikingNetwork, step_s: float = STEP_S) -> None:
    """Write a network and its integer profile; raise UserError for what NIR has no node for."""
    nir = _package(path)
    first, last = network.layers[0].weight.shape[1], network.layers[-1].weight.shape[0]
    nodes: dict[str, Any] = {"input": nir.Input({"input": np.array([first])})}
    for layer in network.layers:
        if layer.delays.any():
            nodes[f"{layer.name}_delay"] = nir.Delay(layer.delays * step_s)
        nodes[f"{layer.name}_weight"] = nir.Linear(scaled_layer(layer))
        nodes[layer.name] = _node(nir, path, layer, step_s)
    if network.output_delays.any():
        nodes["output_delay"] = nir.Delay(network.output_delays * step_s)
    nodes["output"] = nir.Output({"output": np.array([last])})
    names = list(nodes)
    nir.write(path, nir.NIRGraph(nodes, list(pairwise(names))))
    write_profile(path, network, step_s)


def read_nir(path: Path, step_s: float | None = None) -> SpikingNetwork:
    """Read a network; with a profile beside the file, demand its conformance vectors.

    Raise UserError for unknown nodes, graphs that are no chain, thresholds that are no numbers,
    and continuous-time parameters where neither a profile nor `step_s` gives the time step.
    """
    nir = _package(path)
    try:
        graph = nir.read(path)
    except Exception as error:
        raise UserError(f"{path}: not a NIR file ({error}); there are {', '.join(KNOWN)}") from None
    profile = read_profile(path)
    if profile is None and step_s is None:
        raise UserError(
            f"{path}: its time constants are continuous and no profile is beside it; give the time "
            f"step in seconds, such as {STEP_S}"
        )
    if step_s is not None and not 0 < step_s < np.inf:
        raise UserError(f"{path}: a time step of {step_s} s; give a positive number of seconds")
    network = _network(path, _chain(path, graph), profile, step_s or 0.0)
    if profile is not None:
        check_vectors(path, network)
    return network


def _network(
    path: Path, nodes: Mapping[str, Any], profile: Profile | None, step_s: float
) -> SpikingNetwork:
    dt = profile.step_s if profile is not None else step_s
    layers: list[SpikingLayer] = []
    weight: np.ndarray | None = None
    late: np.ndarray | None = None
    for name, node in nodes.items():
        kind = type(node).__name__
        if kind == "Delay":
            steps = _numbers(path, name, "delay", node.delay) / dt
            late = whole(f"{path}: delays of {name!r} in steps of {dt} s", np.round(steps, 6))
        elif kind in ("Linear", "Affine"):
            if weight is not None:
                raise UserError(f"{path}: two matrices before {name!r} without neurons between")
            weight = _numbers(path, name, "weight", node.weight)
            if kind == "Affine" and np.any(node.bias):
                raise UserError(f"{path}: {name!r} has a bias; fold it into the thresholds first")
        elif kind in NEURONS:
            if weight is None:
                raise UserError(f"{path}: no weights before {name!r}; put a Linear there")
            if profile is not None and name not in profile.layers:
                raise UserError(f"{path}: its profile has no layer {name!r}; write both again")
            made = (
                _given(weight, *profile.layers[name])
                if profile
                else _made(path, name, node, weight, dt)
            )
            before = np.zeros(weight.shape[1], np.int64) if late is None else late
            layers.append(SpikingLayer(name, *made, before))
            weight = late = None
    size = layers[-1].weight.shape[0] if layers else 0
    ends = np.zeros(size, np.int64) if late is None else late
    return SpikingNetwork(path.name, tuple(layers), ends)


def _given(weight: np.ndarray, scale: int, neuron: Neuron) -> tuple[np.ndarray, int, Neuron]:
    return whole("weights by the profile's scale", weight / scale), scale, neuron


def _made(
    path: Path, name: str, node: Any, weight: np.ndarray, dt: float
) -> tuple[np.ndarray, int, Neuron]:
    """Make integers of a layer: weights of 8 bits, the threshold on the same scale."""
    kind = type(node).__name__
    if np.any(node.v_reset) or (kind != "IF" and np.any(node.v_leak)):
        raise UserError(f"{path}: {name!r} rests or resets at another potential than 0; move it")
    theta = _one(path, name, "v_threshold", node.v_threshold)
    gain = _one(path, name, "r", node.r) * dt
    voltage, current = 0, None
    if kind != "IF":
        tau = _one(path, name, "tau", node.tau if kind == "LIF" else node.tau_mem)
        voltage, gain = _decay(path, name, tau, dt), gain / tau
    if kind == "CubaLIF":
        tau = _one(path, name, "tau_syn", node.tau_syn)
        current = _decay(path, name, tau, dt)
        gain *= _one(path, name, "w_in", node.w_in) * dt / tau
    felt = weight * gain
    peak = max(float(np.abs(felt).max()), 1e-30)
    scale = 2.0 ** np.floor(np.log2(WEIGHT_PEAK / peak))
    threshold = int(np.rint(theta * scale))
    try:
        neuron = Neuron(threshold, voltage, current, DECAY_BITS)
    except UserError as error:
        raise UserError(f"{path}: node {name!r}, in integers: {error}") from None
    return np.rint(felt * scale).astype(np.int64), 1, neuron


def _decay(path: Path, name: str, tau: float, dt: float) -> int:
    if tau < dt:
        raise UserError(
            f"{path}: {name!r} has tau {tau} s below the time step {dt} s; take a finer"
        )
    return int(np.rint(dt / tau * (1 << DECAY_BITS)))


def _numbers(path: Path, name: str, what: str, values: Any) -> np.ndarray:
    found = np.asarray(values, dtype=np.float64)
    if not np.isfinite(found).all():
        raise UserError(
            f"{path}: {what} of {name!r} has {found[~np.isfinite(found)].reshape(-1)[0]} in it; "
            "give numbers"
        )
    return found


def _one(path: Path, name: str, what: str, values: Any) -> float:
    """Return the one value that all neurons of a layer share."""
    found = np.unique(_numbers(path, name, what, values))
    if found.size != 1:
        raise UserError(
            f"{path}: {what} of {name!r} differs between neurons ({found[0]} to {found[-1]}); give "
            "each value a layer of its own"
        )
    return float(found[0])


def _node(nir: ModuleType, path: Path, layer: SpikingLayer, dt: float) -> Any:
    form, one = layer.neuron, np.ones(layer.weight.shape[0])
    theta = one * form.threshold
    full = 1 << form.decay_bits
    if form.current_decay is None and form.voltage_decay == 0:
        return nir.IF(r=one / dt, v_threshold=theta)
    if form.voltage_decay == 0 or form.current_decay == 0:
        raise UserError(f"{path}: {layer.name} never leaks; NIR's LIF needs a finite tau")
    tau = dt * full / form.voltage_decay
    if form.current_decay is None:
        return nir.LIF(tau=one * tau, r=one * tau / dt, v_leak=0 * one, v_threshold=theta)
    slow = dt * full / form.current_decay
    return nir.CubaLIF(
        tau_syn=one * slow, tau_mem=one * tau, r=one * tau / dt, v_leak=0 * one,
        v_threshold=theta, w_in=one * slow / dt,
    )  # fmt: skip


def _chain(path: Path, graph: Any) -> dict[str, Any]:
    """Return the nodes in the order of the one way through the graph."""
    kinds = {name: type(node).__name__ for name, node in graph.nodes.items()}
    for name, kind in kinds.items():
        if kind not in KNOWN:
            raise UserError(
                f"{path}: node {name!r} is a {kind}; there are {', '.join(KNOWN)}: replace it"
            )
    following = dict(graph.edges)
    starts = [n for n, kind in kinds.items() if kind == "Input"]
    order = starts[:1]
    while order and order[-1] in following and len(order) <= len(kinds):
        order.append(following[order[-1]])
    if len(order) != len(kinds) or len(graph.edges) != len(kinds) - 1:
        raise UserError(
            f"{path}: {len(kinds)} nodes and {len(graph.edges)} edges are no chain from an Input "
            "to an Output; only feed-forward chains are read"
        )
    return {name: graph.nodes[name] for name in order}


def _package(path: Path) -> ModuleType:
    try:
        import nir
    except ImportError:
        raise UserError(
            f"{path}: NIR files need the package nir; install it with the extra `neuromorphic`"
        ) from None
    found: ModuleType = nir
    return found

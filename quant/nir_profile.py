"""Write and check the integer profile beside a NIR file: what NIR has no words for.

NIR (Nature Communications 2024, s41467-024-52259-9) describes neurons by differential equations,
so that every platform steps, rounds and resets in its own way. The profile (`FILE.json`) says
which integers the file means: decays, widths, comparator, reset, delays in steps; and conformance
vectors, spikes in and out, that whoever reads both can demand.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cosim.ir.errors import UserError
from cosim.ir.types import IntType
from cosim.ir.write import write_file
from cosim.reference import run
from quant.lower.neuron import Neuron
from quant.spiking_network import SpikingLayer, SpikingNetwork

SCHEMA = "cosim integer profile of NIR, 1"
VECTOR_STEPS, VECTOR_RATE = 64, 0.2


@dataclass(frozen=True)
class Profile:
    """Hold the time step in seconds, and each layer's scale and neuron by name."""

    step_s: float
    layers: dict[str, tuple[int, Neuron]]


def profile_path(path: Path) -> Path:
    """Return where the profile of a NIR file stands."""
    return path.with_name(path.name + ".json")


def write_profile(path: Path, network: SpikingNetwork, step_s: float) -> None:
    """Write the profile of a NIR file that is there already."""
    layers = {
        layer.name: {
            "scale": layer.scale,
            "neuron": {**asdict(layer.neuron), "potential": str(layer.neuron.potential)},
        }
        for layer in network.layers
    }
    width = network.layers[0].weight.shape[1]
    spikes = (np.random.default_rng(0).random((VECTOR_STEPS, width)) < VECTOR_RATE).astype(np.int64)
    document = {
        "schema": SCHEMA,
        "nir_sha256": _digest(path),
        "step_s": step_s,
        "leak": "toward zero: sign(z) * floor(|z| * (2^decay_bits - decay) / 2^decay_bits)",
        "order": "current, potential, comparison, reset",
        "layers": layers,
        "vectors": {"spikes": _events(spikes), "fired": _events(_fired(network, spikes)),
                    "steps": VECTOR_STEPS},
    }  # fmt: skip
    write_file(profile_path(path), json.dumps(document, indent=1) + "\n")


def read_profile(path: Path) -> Profile | None:
    """Return the profile beside a NIR file, None where there is none.

    Raise UserError where it is of another file or another schema, or not readable.
    """
    place = profile_path(path)
    if not place.is_file():
        return None
    document = _document(place)
    if document["nir_sha256"] != _digest(path):
        raise UserError(
            f"{place} is the profile of another file than {path.name}; write both again, or take "
            "it away and give a time step"
        )
    try:
        layers = {
            name: (int(own["scale"]), _neuron(own["neuron"]))
            for name, own in document["layers"].items()
        }
        return Profile(float(document["step_s"]), layers)
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{place}: not an integer profile ({error!r}); write it again") from None


def check_vectors(path: Path, network: SpikingNetwork) -> int:
    """Run the conformance vectors, return the spikes compared; raise UserError at a difference."""
    vectors = _document(profile_path(path))["vectors"]
    steps = int(vectors["steps"])
    spikes = _spikes(vectors["spikes"], steps, network.layers[0].weight.shape[1])
    want = _spikes(vectors["fired"], steps, network.layers[-1].weight.shape[0])
    wrong = np.argwhere(_fired(network, spikes) != want)
    if wrong.size:
        step, neuron = wrong[0].tolist()
        raise UserError(
            f"{path}: {len(wrong)} spikes differ from the conformance vectors, first at step "
            f"{step}, neuron {neuron}; the file and its profile do not mean the same network"
        )
    return int(want.size)


def _document(place: Path) -> dict[str, Any]:
    try:
        document = json.loads(place.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{place}: not JSON ({error}); write it again") from None
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        raise UserError(f"{place}: not a {SCHEMA!r}; write it again with this version")
    return document


def _neuron(own: dict[str, Any]) -> Neuron:
    return Neuron(**{**own, "potential": IntType.parse(own["potential"])})


def _fired(network: SpikingNetwork, spikes: np.ndarray) -> np.ndarray:
    return run(network.model(), {"spikes": spikes}).outputs["fired"]


def _events(spikes: np.ndarray) -> list[list[int]]:
    """Return (step, neuron) of every spike."""
    found: list[list[int]] = np.argwhere(spikes).tolist()
    return found


def _spikes(events: list[list[int]], steps: int, size: int) -> np.ndarray:
    spikes = np.zeros((steps, size), np.int64)
    for step, neuron in events:
        spikes[step, neuron] = 1
    return spikes


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def scaled_layer(layer: SpikingLayer) -> np.ndarray:
    """Return the weights as the neurons feel them."""
    return layer.weight.astype(np.float64) * layer.scale

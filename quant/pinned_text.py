"""Read windows of text out of installed packages, each file pinned by version and sha256.

typeseg labels bytes of any kind of file; these windows are what its integer graphs are calibrated
and scored on. Nothing of the files is copied here: `zoo/typeseg-text/files.json` only names them.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from cosim.ir.errors import UserError
from quant.models.bimamba import encode

PINS = Path(__file__).parent / "zoo" / "typeseg-text" / "files.json"
# In the order they were drawn; what they are for stands in zoo/typeseg-text/README.md.
Use = Literal["evaluate", "calibrate", "confirm", "develop"]
ORDER: tuple[Use, ...] = ("evaluate", "calibrate", "confirm", "develop")


@dataclass(frozen=True)
class Pin:
    """Name one window of one file of one release of a package."""

    package: str
    version: str
    path: str
    sha256: str
    start: int


def read_pins(use: Use) -> tuple[int, list[Pin]]:
    """Return the window's size in bytes and the pinned windows of a use."""
    data = json.loads(PINS.read_text())
    return int(data["window_bytes"]), [Pin(**entry) for entry in data[use]]


def pinned_windows(use: Use) -> Tensor:
    """Return the windows [B, 512] as typeseg's tokens; raise UserError where a file differs."""
    size, pins = read_pins(use)
    return torch.cat([encode(_read(pin)[pin.start : pin.start + size]) for pin in pins])


def _read(pin: Pin) -> bytes:
    where = f"{pin.package} {pin.version}: {pin.path}"
    try:
        path = importlib.metadata.distribution(pin.package).locate_file(pin.path)
        raw = Path(str(path)).read_bytes()
    except (importlib.metadata.PackageNotFoundError, OSError):
        raise UserError(
            f"{where} is not installed; install the pinned packages of constraints.txt, or give a "
            "text of your own"
        ) from None
    digest = hashlib.sha256(raw).hexdigest()
    if digest != pin.sha256:
        raise UserError(
            f"{where} has sha256 {digest[:12]}..., pinned is {pin.sha256[:12]}...; install the "
            "pinned packages of constraints.txt, or give a text of your own"
        )
    return raw

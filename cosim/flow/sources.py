"""Find a float model by name: shipped with the project, of an installed package, or a folder."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import dataclass
from pathlib import Path

from cosim.flow.folder import PROJECT, file_digest
from cosim.ir.errors import UserError

ZOO = PROJECT / "quant" / "zoo"
TYPESEG = "typeseg"
HELD_OUT = "held_out.txt"
CALIBRATION = "calibration.txt"


@dataclass(frozen=True)
class Source:
    """Say what `quant.models.load_model` takes, and which texts lie beside the model, if any.

    `text` is scored, `calibration` calibrates. typeseg has windows of installed packages instead.
    """

    name: str
    where: str
    about: str
    text: Path | None = None
    calibration: Path | None = None

    def digest(self) -> str:
        """Return the sha256 of the files that make the model."""
        if self.where == TYPESEG:
            return file_digest(_typeseg_files())
        return file_digest(
            [p for p in Path(self.where).iterdir() if p.suffix in {".json", ".safetensors"}]
        )

    def vocabulary(self) -> int | None:
        """Return how many tokens the config speaks of, without loading the model; None: load it."""
        size = None if self.where == TYPESEG else _config(Path(self.where)).get("vocab_size")
        return size if isinstance(size, int) and size > 0 else None


def list_sources() -> list[Source]:
    """Return the models that can be named: the shipped ones, and typeseg where it is installed."""
    shipped = [_of_folder(f) for f in sorted(ZOO.glob("*/")) if (f / "config.json").is_file()]
    return [*shipped, *([_typeseg()] if _typeseg_files() else [])]


def find_source(name: str) -> Source:
    """Return the model of a name or folder; raise UserError listing the names there are."""
    known = {source.name: source for source in list_sources()}
    if name in known:
        return known[name]
    if name == TYPESEG:
        return _typeseg()  # loading it says how to install it
    if "/" not in name and not Path(name).exists():
        names = ", ".join(known) or "none is installed"
        raise UserError(
            f"there is no model {name!r}; name one of {names}, or give a Hugging Face folder"
        )
    if not Path(name).is_dir():
        from quant.models import load_model

        load_model(name)  # says why a file, or nothing, is no model
    return _of_folder(Path(name))


def _config(folder: Path) -> dict[str, object]:
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}  # loading the model says what is wrong
    return config if isinstance(config, dict) else {}


def _of_folder(folder: Path) -> Source:
    config = _config(folder)
    about = f"{config.get('model_type')}, {config.get('num_hidden_layers')} layers"
    text, other = (f if f.is_file() else None for f in (folder / HELD_OUT, folder / CALIBRATION))
    return Source(folder.resolve().name, str(folder), about, text, other)


def _typeseg() -> Source:
    return Source(TYPESEG, TYPESEG, "bidirectional Mamba of the package typeseg, 6 layers")


def _typeseg_files() -> list[Path]:
    spec = importlib.util.find_spec(TYPESEG)
    if spec is None or spec.origin is None:
        return []
    return sorted((Path(spec.origin).parent / "data").glob("m*.*"))

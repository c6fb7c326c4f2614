"""Find the tensors of a folder's safetensors files, and read each when it is asked for.

Nothing stays mapped to the files: a tensor that was read is a copy.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from cosim.ir.errors import UserError

INDEX = "model.safetensors.index.json"
PICKLES = (".bin", ".pt", ".pth", ".pkl")
# Buffers that older exports keep beside the weights: 0, 1, 2, ... of BERT's positions.
NO_WEIGHTS = {"embeddings.position_ids"}
_STORED = ("F64", "F32", "F16", "BF16")


@dataclass(frozen=True)
class Place:
    """Say where a tensor is stored, its shape, and its dtype in safetensors' letters."""

    file: Path
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class StoredTensors(Mapping[str, Tensor]):
    """Read tensors by name from safetensors files, each only when it is asked for."""

    places: dict[str, Place]
    rounding: torch.dtype = torch.float32

    def __getitem__(self, name: str) -> Tensor:
        """Return a float32 copy; raise UserError for values that are not finite."""
        file = self.places[name].file
        try:
            with safe_open(file, framework="pt") as opened:
                stored = opened.get_tensor(name)
        except (OSError, SafetensorError) as error:
            raise _unreadable(file, error) from None
        tensor = stored.to(self.rounding).to(torch.float32, copy=True)
        bad = int(tensor.numel() - torch.isfinite(tensor).sum())
        if bad:
            raise UserError(
                f"{file}: {name} holds {bad} of {tensor.numel()} values that are NaN or infinite"
                f" (stored as {self.places[name].dtype}, used as {_dtype_name(self.rounding)})."
                " Training may have diverged, or the file is damaged; export the model again."
            )
        return tensor

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names."""
        return iter(self.places)

    def __len__(self) -> int:
        """Return the number of tensors."""
        return len(self.places)


def read_places(folder: Path) -> dict[str, Place]:
    """Find every tensor of a model folder; raise UserError for missing or unreadable files."""
    if (folder / "model.safetensors").is_file():  # first, as transformers looks for it
        return _places_of([folder / "model.safetensors"])
    if (folder / INDEX).is_file():
        return _indexed_places(folder)
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        pickles = sorted(path for path in folder.iterdir() if path.suffix in PICKLES)
        if pickles:
            raise refuse_pickles(pickles)
        raise UserError(
            f"{folder} holds no weights: there is neither model.safetensors nor {INDEX}."
            " Download or save them there."
        )
    return _places_of(files)


def _indexed_places(folder: Path) -> dict[str, Place]:
    index = folder / INDEX
    table = read_json(index, "the list of shards").get("weight_map")
    if not isinstance(table, dict) or not all(isinstance(shard, str) for shard in table.values()):
        raise UserError(
            f"{index} has no weight_map from tensor names to file names; save it again."
        )
    shards = sorted(set(table.values()))
    for shard in shards:
        if Path(shard).name != shard or not shard.endswith(".safetensors"):
            raise UserError(
                f"{index} names the shard {shard!r}, but a shard is a *.safetensors file beside it."
            )
        if not (folder / shard).is_file():
            raise UserError(
                f"{folder / shard} is missing: {INDEX} names {len(shards)} shards. Copy it there."
            )
    places = _places_of([folder / shard for shard in shards])
    lost = [name for name, shard in table.items() if name not in places]
    if lost:
        raise UserError(
            f"{folder}: {INDEX} promises {listing(lost)}, but the shards do not hold it."
            " Copy index and shards again, together."
        )
    return places


def _places_of(files: list[Path]) -> dict[str, Place]:
    places: dict[str, Place] = {}
    for file in files:
        try:
            with safe_open(file, framework="pt") as opened:
                for name in sorted(set(opened.keys()) - NO_WEIGHTS):
                    stored = opened.get_slice(name)
                    place = Place(file, tuple(stored.get_shape()), stored.get_dtype())
                    _check_place(name, place, places)
                    places[name] = place
        except (OSError, SafetensorError) as error:
            raise _unreadable(file, error) from None
    return places


def _check_place(name: str, place: Place, places: Mapping[str, Place]) -> None:
    if name in places:
        raise UserError(
            f"{name} is in {places[name].file} and again in {place.file}; keep one of the files."
        )
    if place.dtype not in _STORED:
        raise UserError(
            f"{place.file}: {name} is stored as {place.dtype}, but only {', '.join(_STORED)} are"
            " read. Give the float checkpoint; quantising it is our part."
        )


def _unreadable(file: Path, error: Exception) -> UserError:
    return UserError(
        f"{file} cannot be read as safetensors ({error}). It may be truncated; copy it again."
    )


def _dtype_name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def refuse_pickles(paths: list[Path]) -> UserError:
    """Return the error for weights that only unpickling could read."""
    return UserError(
        f"{', '.join(map(str, paths))}: this is a Python pickle, which can run any code when it is"
        " read, so it is not. Convert the weights to safetensors first (transformers:"
        " model.save_pretrained(folder))."
    )


def _decode(value: dict[str, object]) -> object:
    """Undo transformers' spelling of the floats that JSON lacks: {"__float__": "Infinity"}."""
    if value.keys() == {"__float__"}:
        return float(str(value["__float__"]))
    return value


def read_json(path: Path, what: str) -> dict[str, object]:
    """Return the object in a JSON file; `what` says in errors what the file is for."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"), object_hook=_decode)
    except FileNotFoundError:
        raise UserError(
            f"{path}, {what}, is missing. Give a folder as written by transformers'"
            " model.save_pretrained(folder)."
        ) from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from None
    except (ValueError, RecursionError) as error:
        raise UserError(
            f"{path} is not valid JSON ({error}). Copy the file again from where it came."
        ) from None
    if not isinstance(value, dict):
        raise UserError(f"{path} holds a JSON {type(value).__name__}, but must hold an object.")
    return value


def listing(names: Iterable[str], most: int = 4) -> str:
    """Name the first few.

    >>> listing({"c", "a", "b"}, most=2)
    'a, b and 1 more'
    """
    ordered = sorted(names)
    rest = f" and {len(ordered) - most} more" if len(ordered) > most else ""
    return ", ".join(ordered[:most]) + rest

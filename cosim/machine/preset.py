"""Read a machine from YAML along its dataclasses: a wrong key, type or value is one sentence.

The file is walked as a tree of YAML nodes, not as Python values, so that every sentence can name
the line and a key that stands twice is seen.
"""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import yaml

from cosim.ir.errors import UserError
from cosim.machine.board import KINDS, Kind, Machine, Source
from cosim.machine.memory import Memory

T = TypeVar("T")
NUMBER_KEYS = ("value", "kind", "source")
LARGEST, SMALLEST = 10**18, 1e-9
TAG = "tag:yaml.org,2002:"


def list_machines() -> list[str]:
    """Return the names of the presets that ship with the toolkit, in order.

    >>> [name for name in list_machines() if "-" not in name]
    ['kv260', 'u280', 'u50', 'u55c', 'vck190', 'zcu102', 'zcu104']
    """
    folder = resources.files("cosim") / "machines"
    names = (entry.name for entry in folder.iterdir())
    return sorted(name.removesuffix(".yaml") for name in names if name.endswith(".yaml"))


def load_machine(name_or_path: str | Path) -> Machine:
    """Load a preset by name, or a file by path (one that ends in .yaml or .yml, or has a slash).

    Raise UserError for an unknown name and for a file that breaks the schema.
    """
    text = str(name_or_path)
    if isinstance(name_or_path, Path) or "/" in text or text.endswith((".yaml", ".yml")):
        try:
            content = Path(name_or_path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or "it is not UTF-8 text"
            raise UserError(f"machine file {text}: {why}; check the path") from error
        return read_machine(content, text)
    known = list_machines()
    if text not in known:
        raise UserError(
            f"machine {text!r} is unknown; choose one of {', '.join(known)}, or give a YAML file"
        )
    preset = resources.files("cosim") / "machines" / f"{text}.yaml"
    return read_machine(preset.read_text(encoding="utf-8"), f"{text}.yaml")


def read_machine(text: str, where: str) -> Machine:
    """Read a machine from the text of a preset; `where` names it in the sentences."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except RecursionError as error:
        raise UserError(f"machine file {where}: it is nested too deeply; mend it") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "unreadable"
        raise UserError(f"machine file {where}{line}: not YAML ({problem}); mend it") from error
    if root is None:
        raise UserError(f"machine file {where}: it is empty; copy a preset and change it")
    sources: dict[str, Source] = {}
    return _Reader(where, sources).record(root, Machine, "", sources=sources)


class _Reader:
    """Turn YAML nodes into dataclasses, and note the source of every number on the way."""

    def __init__(self, where: str, sources: dict[str, Source]) -> None:
        self.where = where
        self.sources = sources

    def fault(self, node: yaml.Node, sentence: str) -> UserError:
        """Make the error of one place."""
        return UserError(f"machine file {self.where}:{node.start_mark.line + 1}: {sentence}")

    def record(self, node: yaml.Node, kind: type[T], path: str, **given: object) -> T:
        """Read a dataclass from a mapping whose keys are its fields."""
        hints = get_type_hints(kind)
        names = [f.name for f in fields(kind) if f.name not in given]  # type: ignore[arg-type]
        parts = self.mapping(node, path, names)
        made: dict[str, Any] = {}
        for name, part in parts.items():
            below = f"{path}.{name}" if path else name
            hint = hints[name]
            if name == "memories":
                made[name] = self.memories(part, below)
            elif isinstance(hint, type) and is_dataclass(hint):
                made[name] = self.record(part, hint, below)
            elif hint is str:
                made[name] = self.word(part, below)
            elif get_origin(hint) is Literal:
                made[name] = self.choice(part, below, get_args(hint))
            else:
                made[name] = self.number(part, below, whole=hint is int)
        return kind(**made, **given)

    def memories(self, node: yaml.Node, path: str) -> tuple[Memory, ...]:
        """Read a sequence of memories; their numbers are filed under their names."""
        if not isinstance(node, yaml.SequenceNode):
            raise self.fault(node, f"{path} must be a list of memories, got {_kind(node)}")
        made = []
        for i, item in enumerate(node.value):
            memory = self.record(item, Memory, f"{path}.{i}")
            for key in [k for k in self.sources if k.startswith(f"{path}.{i}.")]:
                end = key.removeprefix(f"{path}.{i}.")
                self.sources[f"{path}.{memory.name}.{end}"] = self.sources.pop(key)
            made.append(memory)
        return tuple(made)

    def mapping(self, node: yaml.Node, path: str, names: list[str]) -> dict[str, yaml.Node]:
        """Return the parts of a mapping; raise unless its keys are exactly the names."""
        what = path or "the file"
        if not isinstance(node, yaml.MappingNode):
            raise self.fault(node, f"{what} must be a mapping, got {_kind(node)}")
        found: dict[str, yaml.Node] = {}
        for key, part in node.value:
            name = key.value if isinstance(key, yaml.ScalarNode) else _kind(key)
            if name in found:
                raise self.fault(key, f"key {name!r} stands twice in {what}; remove one")
            if name not in names:
                raise self.fault(
                    key, f"key {name!r} is unknown in {what}; it takes {', '.join(names)}"
                )
            found[name] = part
        missing = [n for n in names if n not in found]
        if missing:
            raise self.fault(node, f"{what} lacks {', '.join(missing)}; add each")
        return found

    def word(self, node: yaml.Node, path: str) -> str:
        """Read a text."""
        if not isinstance(node, yaml.ScalarNode) or node.tag != f"{TAG}str" or not node.value:
            raise self.fault(node, f"{path} must be a text, got {_kind(node)}")
        return str(node.value)

    def choice(self, node: yaml.Node, path: str, names: tuple[str, ...]) -> str:
        """Read a text that is one of some names."""
        word = self.word(node, path)
        if word not in names:
            raise self.fault(node, f"{path} is {word!r}; choose one of {', '.join(names)}")
        return word

    def number(self, node: yaml.Node, path: str, whole: bool) -> int | float:
        """Read a number with its kind and source, and note them."""
        parts = self.mapping(node, path, list(NUMBER_KEYS))
        kind: Kind = self.choice(parts["kind"], f"{path}.kind", KINDS)  # type: ignore[assignment]  # one of KINDS
        self.sources[path] = Source(kind, self.word(parts["source"], f"{path}.source"))
        value, kinds = parts["value"], ("int",) if whole else ("int", "float")
        if value.tag not in {f"{TAG}{k}" for k in kinds}:
            want = "a whole number" if whole else "a number"
            raise self.fault(value, f"{path}.value must be {want}, got {_kind(value)}")
        made = yaml.safe_load(value.value)
        if not isinstance(made, int | float) or not abs(made) < LARGEST:
            raise self.fault(value, f"{path}.value must be a number below 1e18, got {value.value}")
        if made and abs(made) < SMALLEST:
            raise self.fault(value, f"{path}.value is {made:g}, which is too near to 0; mend it")
        return int(made) if whole else float(made)


def _kind(node: yaml.Node) -> str:
    if isinstance(node, yaml.ScalarNode):
        return f"{node.tag.removeprefix(TAG)} {node.value!r}"
    return "a list" if isinstance(node, yaml.SequenceNode) else "a mapping"

"""Read YAML as plain values that remember their lines, so that a sentence can name the line."""

from __future__ import annotations

from dataclasses import dataclass, field

import yaml

from cosim.ir.errors import UserError

Plain = str | int | float | bool | None | list["Plain"] | dict[str, "Plain"]
Path = tuple[str | int, ...]
# A study of people holds hundreds; aliases of aliases could ask for any number.
MOST_VALUES = 100_000


@dataclass(frozen=True)
class Document:
    """Hold the values of a YAML text, and the line on which each path begins."""

    where: str
    value: Plain
    lines: dict[Path, int] = field(repr=False)

    def fault(self, path: Path, sentence: str) -> UserError:
        """Make an error that names the line of a path, or of what it lies in."""
        while path and path not in self.lines:
            path = path[:-1]
        return UserError(f"{self.where}:{self.lines.get(path, 1)}: {sentence}")


def read_yaml(text: str, where: str) -> Document:
    """Read a text; raise UserError where it is not YAML, or where a key stands twice."""
    lines: dict[Path, int] = {}
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        value = None if root is None else _value(root, (), where, lines)
    except RecursionError:
        raise UserError(f"{where}: it is nested too deeply, or holds itself; mend it") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "unreadable"
        raise UserError(f"{where}{line}: not YAML ({problem}); mend it") from None
    return Document(where, value, lines)


def dotted(path: Path) -> str:
    """Write a path as people do.

    >>> dotted(("knobs", "rows", 2))
    'knobs.rows[2]'
    """
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text or "the file"


def _value(node: yaml.Node, path: Path, where: str, lines: dict[Path, int]) -> Plain:
    lines[path] = node.start_mark.line + 1
    if len(lines) > MOST_VALUES:
        raise UserError(f"{where}: it holds more than {MOST_VALUES:,} values; make it shorter")
    if isinstance(node, yaml.SequenceNode):
        return [_value(part, (*path, i), where, lines) for i, part in enumerate(node.value)]
    if isinstance(node, yaml.MappingNode):
        return _mapping(node, path, where, lines)
    return _scalar(node, where)


def _mapping(
    node: yaml.MappingNode, path: Path, where: str, lines: dict[Path, int]
) -> dict[str, Plain]:
    found: dict[str, Plain] = {}
    for key, part in node.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode):
            raise UserError(f"{where}:{line}: a key of {dotted(path)} is no text; write a name")
        if key.value in found:
            raise UserError(
                f"{where}:{line}: key {key.value!r} stands twice in {dotted(path)}, first on line "
                f"{lines[*path, key.value]}; remove one"
            )
        found[key.value] = _value(part, (*path, key.value), where, lines)
        lines[*path, key.value] = line
    return found


def _scalar(node: yaml.Node, where: str) -> Plain:
    try:
        made = yaml.SafeLoader("").construct_object(node)
    except (yaml.YAMLError, ValueError):
        made = node
    if made is None or isinstance(made, str | int | float):
        return made
    raise UserError(
        f"{where}:{node.start_mark.line + 1}: {node.value!r} is read as "
        f"{node.tag.rpartition(':')[2]}; write a number, or a text between quotes"
    )

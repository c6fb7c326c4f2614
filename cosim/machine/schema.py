"""Write the JSON Schema of a machine file, read off the dataclasses that hold it.

What a schema cannot say is left to `read_machine`: keys that stand twice, names that two memories
share, a stated bandwidth that the channels do not give, what may be 0 and is all but 0.
"""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Literal, TypeAlias, get_args, get_origin, get_type_hints

from cosim.machine.board import KINDS, Machine
from cosim.machine.limits import Limits, limits_of
from cosim.machine.memory import Memory
from cosim.machine.preset import LARGEST, SMALLEST

Json: TypeAlias = dict[str, object]
DRAFT = "https://json-schema.org/draft/2020-12/schema"


def machine_schema() -> Json:
    """Return the JSON Schema of a machine file, as JSON values."""
    schema = _record(Machine, without=("sources",))
    return {"$schema": DRAFT, "title": "A machine of cosim", **schema}


def _record(kind: type, without: tuple[str, ...] = ()) -> Json:
    """Describe a dataclass: exactly its fields."""
    hints, limits = get_type_hints(kind), limits_of(kind)
    names = [f.name for f in fields(kind) if f.name not in without]
    return {
        "type": "object",
        "description": (kind.__doc__ or "").split("\n", maxsplit=1)[0],
        "properties": {n: _value(hints[n], limits.get(n)) for n in names},
        "required": names,
        "additionalProperties": False,
    }


def _value(hint: object, limits: Limits | None) -> Json:
    """Describe a field by its type."""
    if isinstance(hint, type) and is_dataclass(hint):
        return _record(hint)
    if get_origin(hint) is Literal:
        return {"enum": list(get_args(hint))}
    if get_origin(hint) is tuple:
        return {"type": "array", "items": _record(Memory), "minItems": 1}
    if hint is str:
        return {"type": "string", "minLength": 1}
    assert limits is not None, "every number of a machine has limits"
    return _number(whole=hint is int, limits=limits)


def _number(whole: bool, limits: Limits) -> Json:
    """Describe a number: its value within its limits, its kind, its source."""
    value: Json = {"type": "integer" if whole else "number", "exclusiveMaximum": LARGEST}
    value["minimum"] = 0 if limits.zero_is_fine else 1 if whole else SMALLEST
    if limits.most is not None:
        value["maximum"] = limits.most
    return {
        "type": "object",
        "properties": {
            "value": value,
            "kind": {"enum": list(KINDS)},
            "source": {"type": "string", "minLength": 1},
        },
        "required": ["value", "kind", "source"],
        "additionalProperties": False,
    }

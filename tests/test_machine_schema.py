"""The schema that `cosim machines --schema` prints says of a file what `read_machine` says."""

import copy
import json
from importlib import resources

import jsonschema
import pytest
import yaml

from cosim.ir.errors import UserError
from cosim.machine import list_machines, read_machine
from cosim.machine.schema import machine_schema

FOLDER = resources.files("cosim") / "machines"


def preset(name: str) -> dict:
    return yaml.safe_load((FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def validator():
    schema = json.loads(json.dumps(machine_schema()))
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def is_read(tree: dict) -> bool:
    try:
        read_machine(yaml.safe_dump(tree, sort_keys=False), "changed.yaml")
    except UserError:
        return False
    return True


@pytest.mark.parametrize("name", list_machines())
def test_every_preset_fits_the_schema(validator, name):
    tree = preset(name)
    assert [e.message for e in validator.iter_errors(tree)] == []
    assert is_read(tree)


def at(tree, path):
    for step in path:
        tree = tree[step]
    return tree


HBM = ("memories", 0)
SET = {
    "a key missing": (("logic",), "luts", None),
    "a key unknown": (("logic",), "lutz", 3),
    "a key unknown at the top": ((), "colour", "red"),
    "a memory's key unknown": (HBM, "bandwidth_gb_s", 460),
    "a number bare": (("clock",), "frequency_mhz", 300),
    "a number as text": ((*HBM, "rate_mt_s"), "value", "1800"),
    "a part for a whole": (("logic", "dsps"), "value", 1.5),
    "a clock of zero": (("clock", "frequency_mhz"), "value", 0),
    "a bandwidth of zero": ((*HBM, "rate_mt_s"), "value", 0),
    "a clock of all but zero": (("clock", "frequency_mhz"), "value", 1e-12),
    "fewer than none": (("logic", "urams"), "value", -1),
    "a share above one": ((*HBM, "efficiency"), "value", 1.01),
    "a share of zero": (("logic", "lut_share"), "value", 0),
    "a number too large": (("logic", "luts"), "value", 10**18),
    "a kind that is none": (("logic", "luts"), "kind", "guessed"),
    "a source missing": (("logic", "luts"), "source", None),
    "a source empty": (("logic", "luts"), "source", ""),
    "a family that is none": (("logic",), "family", "stratix"),
    "no memory": ((), "memories", []),
    "memories not in a list": ((), "memories", {}),
    "a title that is a number": ((), "title", 5),
    "a truth for a number": (("logic", "luts"), "value", True),
}


@pytest.mark.parametrize("what", SET)
def test_what_the_schema_refuses_the_reader_refuses(validator, what):
    path, key, value = SET[what]
    tree = copy.deepcopy(preset("u280"))
    if value is None:
        del at(tree, path)[key]
    else:
        at(tree, path)[key] = value
    assert not validator.is_valid(tree), what
    assert not is_read(tree), what


@pytest.mark.parametrize(
    ("path", "value"),
    [(("logic", "urams", "value"), 0), (("power", "static_w", "value"), 0.0),
     ((*HBM, "efficiency", "value"), 1), (("clock", "frequency_mhz", "value"), 0.5)],
)  # fmt: skip
def test_what_the_schema_allows_the_reader_allows(validator, path, value):
    tree = copy.deepcopy(preset("u280"))
    at(tree, path[:-1])[path[-1]] = value
    assert validator.is_valid(tree)
    assert is_read(tree)


def test_what_only_the_reader_sees(validator):
    """Two memories of one name, watts of all but 0, a bandwidth that the channels do not give."""
    tree = preset("u280")
    tree["memories"] *= 2
    assert validator.is_valid(tree)
    assert not is_read(tree)
    tree = preset("u280")
    at(tree, ("power", "static_w"))["value"] = 1e-12
    assert validator.is_valid(tree)
    assert not is_read(tree)
    tree = preset("u280")
    at(tree, (*HBM, "channels"))["value"] = 16
    assert validator.is_valid(tree)
    assert not is_read(tree)

"""The project keeps the rules of the house, and each rule can be broken."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests import house_rules as rules

ROOT = Path(__file__).resolve().parents[1]
HEAVY = (
    "torch", "pyrtl", "brevitas", "transformers", "numba", "scipy", "matplotlib", "plotly",
    "optuna", "pyarrow", "ray", "pydantic",
)  # fmt: skip


def names_of(requirements: list[str]) -> set[str]:
    """Take the distribution names out of requirement lines, in one spelling."""
    found = [re.match(r"[A-Za-z0-9._-]+", line) for line in requirements]
    return {re.sub(r"[-_.]+", "-", match.group()).lower() for match in found if match}


@pytest.fixture(scope="module")
def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def declared(project) -> set[str]:
    extras = project["optional-dependencies"]
    # What only developers have, the packages must not import.
    used = [line for name, lines in extras.items() if name != "dev" for line in lines]
    return names_of(project["dependencies"] + used)


@pytest.fixture(scope="module")
def files() -> list[str]:
    return rules.our_files(ROOT)


def test_imports_go_down_only():
    assert rules.rank_faults(ROOT) == []


def test_packages_of_others_stay_where_they_belong(declared):
    assert rules.outside_faults(ROOT, declared) == []


def test_no_file_is_two_things(files):
    assert rules.size_faults(ROOT, files) == []


def test_each_folder_is_a_package():
    assert rules.package_faults(ROOT) == []


def test_each_operator_has_a_test_of_its_name():
    assert rules.operator_faults(ROOT) == []


def test_ranks_0_and_1_are_documented():
    assert rules.docstring_faults(ROOT) == []


def test_no_file_names_a_path_of_one_machine(files):
    assert rules.machine_path_faults(ROOT, files) == []


def test_each_requirement_is_pinned(project):
    """An unpinned one would differ between two installs of the same commit."""
    pins = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line]
    extras = project["optional-dependencies"].values()
    wanted = project["dependencies"] + [line for lines in extras for line in lines]
    assert names_of(wanted) - names_of(pins) == set()


def test_each_requirement_is_used(project):
    assert rules.unused_requirements(ROOT, names_of(project["dependencies"])) == []


def loaded_by(code: str) -> list[str]:
    """Run code in a new interpreter and return which heavy packages it has loaded."""
    script = f"{code}\nimport sys\nprint('loaded', [m for m in {HEAVY!r} if m in sys.modules])"
    ran = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    last = ran.stdout.splitlines()[-1]
    return re.findall(r"'(\w+)'", last.removeprefix("loaded"))


def test_operators_load_nothing_heavy():
    assert loaded_by("import cosim.ops") == []


def test_help_loads_nothing_heavy():
    code = (
        "import contextlib, sys\n"
        "from cosim.cli import main\n"
        "sys.argv = ['cosim', '--help']\n"
        "with contextlib.suppress(SystemExit): main()"
    )
    assert loaded_by(code) == []


# Each rule below meets a tree that breaks it.


def grow(root: Path, **texts: str) -> Path:
    """Write files, `a__b__c="..."` as a/b/c.py, with an __init__.py in each folder."""
    for name, text in texts.items():
        path = root.joinpath(*name.split("__")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        for folder in path.relative_to(root).parents:
            if folder.parts:
                (root / folder / "__init__.py").touch()
    return root


@pytest.mark.parametrize(
    ("place", "text", "said"),
    [
        ("cosim__ir__a", "import cosim.ops.add", "(rank 0) imports cosim.ops.add (rank 1)"),
        ("cosim__ops__a", "from cosim import compare", "imports cosim.compare (rank 2)"),
        ("cosim__compare", "def f():\n    import quant.x", "compare.py:2 (rank 2)"),
        ("quant__a", "import hw_models", "quant and hw_models never meet"),
        ("rtl__a", "from quant.models import mamba", "rtl and quant never meet"),
        (
            "hw_models__a",
            "from importlib import import_module as i\nimport_module('rtl')",
            "a.py:2",
        ),
        ("quant__passes__a", "from ...cosim.cli import main", "imports cosim.cli (rank 5)"),
        ("cosim__other", "", "cosim/other.py has no rank"),
        ("reports__a", "import cosim.other", "imports cosim.other, which has no rank"),
    ],
)
def test_an_import_that_goes_up_is_named(tmp_path, place, text, said):
    [fault] = rules.rank_faults(grow(tmp_path, **{place: text}))
    assert said in fault


@pytest.mark.parametrize(
    ("place", "text"),
    [
        ("cosim__ops__a", "from cosim.ir import types\nfrom cosim.ops import add\nimport numpy"),
        ("cosim__compare", "from cosim.reference import run\nfrom . import design"),
        ("quant__a", "from quant.models import mamba\nfrom .b import c\nimport cosim.torch_exec"),
        ("reports__a", "import quant, rtl, hw_models"),
        ("cosim__cli__a", "import cosim.flow, reports.page"),
    ],
)
def test_an_import_that_goes_down_is_no_fault(tmp_path, place, text):
    assert rules.rank_faults(grow(tmp_path, **{place: text})) == []


@pytest.mark.parametrize(
    ("place", "text", "said"),
    [
        ("cosim__ir__a", "import torch", "ranks 0 and 1 import only"),
        ("cosim__ops__a", "def f():\n    from torch import nn", "cosim/ops/a.py:2 imports torch"),
        ("hw_models__a", "import pyrtl", "only rtl may"),
        ("quant__a", "import transformers", "only tests may"),
        ("quant__a", "from tests.browser import Browser", "only tests may"),
        ("quant__a", "import requests", "pyproject.toml does not name"),
        ("quant__a", "import yaml", "pyproject.toml does not name"),
    ],
)
def test_a_package_of_others_in_the_wrong_place_is_named(tmp_path, place, text, said):
    [fault] = rules.outside_faults(grow(tmp_path, **{place: text}), {"torch", "pyrtl"})
    assert said in fault


def test_a_second_brevitas_file_is_named(tmp_path):
    root = grow(tmp_path, quant__a="import brevitas", quant__b="import brevitas.nn")
    assert "keep it in one file" in rules.outside_faults(root, {"brevitas"})[-1]


def test_a_requirement_that_nobody_imports_is_named(tmp_path):
    root = grow(tmp_path, quant__a="import yaml\nfrom torch import nn")
    assert rules.unused_requirements(root, {"pyyaml", "torch", "scipy"}) == ["scipy"]


def test_a_long_file_is_named(tmp_path):
    grow(tmp_path, long="x = 1\n" * 401, short="x = 1\n" * 400)
    [fault] = rules.size_faults(tmp_path, ["long.py", "short.py"])
    assert fault.startswith("long.py has 401 lines")


def test_a_folder_without_init_is_named(tmp_path):
    grow(tmp_path, quant__passes__a="")
    (tmp_path / "quant/passes/__init__.py").unlink()
    assert rules.package_faults(tmp_path) == ["quant/passes has Python files and no __init__.py"]


def test_an_operator_without_test_is_named(tmp_path):
    grow(tmp_path, cosim__ops__add="", cosim__ops__mul="", tests__ops__test_add="")
    [fault] = rules.operator_faults(tmp_path)
    assert fault == "cosim/ops/mul.py has no tests/ops/test_mul.py"


def test_a_missing_docstring_is_named(tmp_path):
    text = '"""A."""\ndef _f(): ...\ndef g(): ...\nclass C:\n    """C."""\n'
    grow(tmp_path, cosim__ops__a=text)
    (tmp_path / "cosim/ops/__init__.py").write_text('"""Operators."""')
    assert rules.docstring_faults(tmp_path) == ["cosim/ops/a.py:3 g has no docstring"]


@pytest.mark.parametrize(
    ("line", "is_fault"),
    [
        ("open('" + "/" + "home/me/model')", True),
        ("/" + "tmp/x", True),
        ("golden = '.." + "/shared/x'", True),
        ("golden = environ.get('COSIM_GOLDEN', '.." + "/shared')", True),
        ("see https://example.org/home/page and a/work/b", False),
        ("/usr/bin/chromium", False),
    ],
)
def test_a_path_of_one_machine_is_named(tmp_path, line, is_fault):
    (tmp_path / "a.md").write_text(f"first\n{line}\n")
    assert bool(rules.machine_path_faults(tmp_path, ["a.md"])) is is_fault


def test_golden_default_is_allowed_in_tests(tmp_path):
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests/a.py").write_text("environ.get('COSIM_GOLDEN', '.." + "/shared')")
    assert rules.machine_path_faults(tmp_path, ["tests/a.py"]) == []


def test_a_heavy_import_is_seen():
    assert loaded_by("import matplotlib") == ["matplotlib"]

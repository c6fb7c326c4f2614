"""Check an installed wheel: it holds every tracked file of the packages, and they all import.

Run by `.ci/run` with the Python of an environment that holds nothing but the wheel and what it
requires, the extras `rtl` and `sweep` included: `python wheel_is_whole.py CHECKOUT WHEEL`.
"""

import importlib
import pkgutil
import subprocess
import sys
import zipfile
from pathlib import Path

PACKAGES = ("cosim", "quant", "hw_models", "rtl", "reports")


def main(checkout: Path, wheel: Path) -> int:
    """Print each fault and return the exit status."""
    listed = subprocess.run(
        ["git", "ls-files", *PACKAGES], cwd=checkout, capture_output=True, text=True, check=True
    )
    missing = set(listed.stdout.split("\n")) - {""} - set(zipfile.ZipFile(wheel).namelist())
    for name in sorted(missing):
        print(f"{name} is tracked and not in the wheel: name it in package-data", file=sys.stderr)
    modules = 0
    for package in PACKAGES:
        home = importlib.import_module(package)
        place = Path(home.__file__ or "").resolve()
        if checkout.resolve() in place.parents:
            print(f"{package} was imported from the checkout, not the wheel", file=sys.stderr)
            return 1
        for found in pkgutil.walk_packages(home.__path__, f"{package}."):
            if not found.name.endswith("__main__"):
                importlib.import_module(found.name)
                modules += 1
    print(f"the wheel is whole: {len(listed.stdout.split())} files, {modules} modules import")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))

"""Say which version this is."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def version_text() -> str:
    """Return the version of the installed distribution."""
    try:
        return version("cosim-toolkit")
    except PackageNotFoundError:
        return "unknown (not installed)"

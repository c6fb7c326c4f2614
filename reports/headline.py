"""Describe a number that stands at the top of a page."""

from __future__ import annotations

from dataclasses import dataclass

from reports.table import Origin


@dataclass(frozen=True)
class Headline:
    """Be one number at the top of the page."""

    label: str
    value: str
    origin: Origin
    detail: str = ""

"""List the figures of a design point: their names, which way is better, where they come from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from reports.table import Origin

Better = Literal["more", "less"]


@dataclass(frozen=True)
class Metric:
    """Describe one figure: `name` is its key in files with its unit, `title` is for people."""

    name: str
    title: str
    better: Better
    origin: Origin = "modelled"
    form: str = "4"

    @property
    def sign(self) -> int:
        """Return 1 where less is better, -1 where more is: times the value, least is best."""
        return 1 if self.better == "less" else -1


SPEED = (
    Metric("tokens_per_s", "tokens/s", "more"),
    Metric("latency_us", "latency, µs", "less"),
    Metric("cycles_per_token", "cycles per token", "less", form=",.0f"),
    Metric("energy_uj_per_token", "energy per token, µJ", "less"),
    Metric("power_w", "power, W", "less"),
)
RESOURCES = (
    Metric("luts", "LUTs", "less"),
    Metric("ffs", "FFs", "less"),
    Metric("dsps", "DSPs", "less"),
    Metric("brams", "BRAMs", "less"),
    Metric("urams", "URAMs", "less"),
)
METRICS: dict[str, Metric] = {m.name: m for m in (*SPEED, *RESOURCES)}

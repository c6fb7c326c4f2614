"""Evaluate many designs of one model on one machine: what does not depend on lanes is done once.

A point's figures are those of `hw_models.simulate`, by the same functions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from cosim.design import Choices, Design, GraphKind, Lanes
from cosim.design.graph_kind import folded_segments, kinds_of
from cosim.design.sized import default_places, laid_out
from cosim.ir.errors import UserError
from cosim.ir.model import Model
from cosim.machine import Machine
from hw_models.costs import price_tokens
from hw_models.coverage import cover
from hw_models.energy import price_list, static_pj
from hw_models.pace import Pace, pace_of


@dataclass(frozen=True)
class Point:
    """Hold what a design of some choices does for a token, and what it takes."""

    choices: Choices
    cycles_per_token: float
    latency_cycles: int
    tokens_per_second: float
    energy_pj: Mapping[str, float]
    resources: Mapping[str, int]
    budget: Mapping[str, int]
    binds: str

    @property
    def energy_pj_per_token(self) -> float:
        """Return the energy of one token."""
        return sum(self.energy_pj.values())

    @property
    def fits(self) -> bool:
        """Tell whether the design keeps its budget."""
        return all(used <= self.budget[name] for name, used in self.resources.items())


class Evaluator:
    """Evaluate designs of one model on one machine; raise UserError where no unit carries it."""

    def __init__(self, model: Model, machine: Machine) -> None:
        """Look at a model and a machine."""
        coverage = cover(model)
        if not coverage.is_whole:
            raise UserError(f"model {model.name}: {coverage.text()}; no unit carries that")
        self.model, self.machine = model, machine
        self.prices = price_list(machine)
        self.folded = folded_segments(model)
        self._kinds: dict[object, list[GraphKind]] = {}
        self._energy: dict[object, dict[str, float]] = {}

    def kinds(self, choices: Choices) -> list[GraphKind]:
        """Return the kinds of graphs that some choices ask for."""
        key = choices.order, choices.fused, choices.matrix
        if key not in self._kinds:
            self._kinds[key] = kinds_of(self.folded, *key)
        return self._kinds[key]

    def design(self, choices: Choices | Lanes) -> Design:
        """Return the design of some choices; see `cosim.design.sized_design`."""
        choices = Choices(choices) if isinstance(choices, Lanes) else choices
        kinds = self.kinds(choices)
        if choices.places is None:
            places = default_places(kinds, self.machine, choices.workload.batch)
            choices = replace(choices, places=tuple(places.items()))
        return laid_out(self.model, self.machine, kinds, choices)

    def point(self, choices: Choices | Lanes) -> Point:
        """Return the figures of a token; raise UserError where the design deadlocks."""
        return self.point_of(self.design(choices))

    def point_of(self, design: Design) -> Point:
        """Return the figures of a token of a design."""
        pace = pace_of(self.model, self.kinds(design.choices), design, self.machine)
        clock_hz = self.machine.clock.frequency_mhz * 1e6
        energy = dict(self._token_energy(design, pace))
        energy["clock"] = self.prices.clock_pj(design.resources["ff"], pace.cycles_per_token)
        energy["static"] = static_pj(self.machine, pace.cycles_per_token / clock_hz)
        return Point(
            design.choices, pace.cycles_per_token, pace.latency_cycles,
            clock_hz / pace.cycles_per_token, energy, design.resources, design.budget, design.binds,
        )  # fmt: skip

    def _token_energy(self, design: Design, pace: Pace) -> Mapping[str, float]:
        """Return a token's energy by component, less what time and lanes decide."""
        chosen = design.choices
        key = (
            chosen.order, chosen.fused, chosen.matrix, tuple(design.places.items()),
            chosen.workload, chosen.tile, chosen.tiles, chosen.spills,
        )  # fmt: skip
        if key not in self._energy:
            networks = [(s.timing.network, s.passes) for s in pace.solved][: len(design.layouts)]
            kinds = self.kinds(chosen)
            _, energy = price_tokens(self.model, kinds, design, networks, self.prices)
            self._energy[key] = energy
        return self._energy[key]

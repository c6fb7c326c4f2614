"""Say how near the mapper's own designs come to the bound of their memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cosim.design import Design, default_design
from cosim.ir.errors import UserError
from cosim.ir.model import Model
from cosim.machine import Machine
from hw_models.mapper import map_model
from hw_models.simulate import Simulation, simulate
from hw_models.validate.lightmamba import bytes_per_token

AIM_PERCENT = 95.0


@dataclass(frozen=True)
class Own:
    """Hold a design of ours: speed, the bound of its memory, resources, and what holds it up."""

    machine: str
    model: str
    found_by: str
    tokens_per_s: float
    bound_tokens_per_s: float
    resources: Mapping[str, int]
    budget: Mapping[str, int]
    binds: str
    waits: str

    @property
    def share_percent(self) -> float:
        """Return the speed as a share of the bound."""
        return 100 * self.tokens_per_s / self.bound_tokens_per_s


def own_designs(model: Model, machine: Machine, recipe: str) -> list[Own]:
    """Simulate a token of the design by rules, and of the one that a search for latency finds.

    Raise UserError where the model streams no weights.
    """
    by_rules = default_design(model, machine)
    if by_rules.places["weights"] == "chip":
        raise UserError(
            f"{model.name} {recipe} on {machine.name} keeps its weights on chip, so that no memory "
            "bounds it; choose a larger model"
        )
    searched = map_model(model, machine).design
    return [
        _own(model, machine, recipe, design, how)
        for design, how in ((by_rules, "rules"), (searched, "search"))
    ]


def _own(model: Model, machine: Machine, recipe: str, design: Design, how: str) -> Own:
    found = simulate(model, machine, design)
    bound = found.ceilings.memory_bytes_per_s / bytes_per_token(found)
    return Own(
        machine.name, f"{model.name} {recipe}", how, found.tokens_per_second, bound,
        design.resources, design.budget, design.binds, _waits(found),
    )  # fmt: skip


def _waits(found: Simulation) -> str:
    """Tell what the weights' port and the matrix unit do meanwhile, in shares of the token."""
    whole = found.cycles_per_token
    told = []
    for unit in found.units:
        if unit.unit in {"memory", "memory.weights"} or unit.kind == "matrix":
            name = "weights' port" if unit.kind == "memory" else f"unit {unit.unit}"
            told.append(
                f"{name}: {unit.busy_cycles / whole:.1%} busy, "
                f"{unit.blocked_cycles / whole:.1%} waits for room, "
                f"{unit.starved_cycles / whole:.1%} for input"
            )
    return "; ".join(told)

"""Work out one point: lay the design out, refuse what does not fit, simulate the rest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from cosim.design import Choices, default_design, sized_design
from cosim.design.plan import PLACES
from cosim.ir.errors import UserError
from cosim.ir.model import Model
from cosim.machine import Machine
from cosim.sweep.knobs import CHOICE_KNOBS, LANE_FIELDS, Value
from hw_models.simulate import Simulation, simulate


@dataclass(frozen=True)
class Task:
    """Ask for one point: places of its model and machine in the bench, and its knobs."""

    model: int
    machine: int
    knobs: tuple[tuple[str, Value], ...]


@dataclass(frozen=True)
class Result:
    """Hold what came of a point: figures, or the reason why there is no such design.

    A design that does not fit has a reason, and of figures its resources alone. `excess` is by what
    share it is too large, 1 where it is impossible for another reason.
    """

    figures: Mapping[str, float]
    reason: str = ""
    excess: float = 0.0


@dataclass
class Bench:
    """Hold models and machines, and work out points of them; it travels to workers whole.

    Weights are not needed and do not travel.
    """

    models: tuple[Model, ...]
    machines: tuple[Machine, ...]
    _bases: dict[tuple[int, int], Choices] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        """Leave the weights behind."""
        self.models = tuple(m.without_weights() for m in self.models)

    def __call__(self, task: Task) -> Result:
        """Work one point out; what cannot be built or deadlocks is a result too."""
        model, machine = self.models[task.model], self.machines[task.machine]
        try:
            design = sized_design(model, machine, self._choices(task))
        except UserError as error:
            return Result({}, str(error), 1.0)
        used = {f"{name}s": float(count) for name, count in design.resources.items()}
        over = {n: c for n, c in design.resources.items() if c > design.budget[n]}
        if over:
            excess = {n: (c - design.budget[n]) / max(design.budget[n], 1) for n, c in over.items()}
            name = max(excess, key=lambda n: excess[n])
            return Result(
                used,
                f"the design does not fit {machine.name}: it needs {over[name]:,} {name.upper()} "
                f"of {design.budget[name]:,}",
                excess[name],
            )
        try:
            found = simulate(model, machine, design)
        except UserError as error:
            return Result(used, str(error), 1.0)
        return Result({**_figures(found), **used})

    def _choices(self, task: Task) -> Choices:
        """Return the default design's choices, but for what the knobs say."""
        knobs = dict(task.knobs)
        base = self._base(task.model, task.machine)
        lanes = {LANE_FIELDS[n]: int(v) for n, v in knobs.items() if n in LANE_FIELDS}
        places = dict(base.places or ())
        for name in PLACES:
            if name in knobs:
                places[name] = "chip" if knobs[name] == "chip" else "memory"
        other = {k.name: knobs[k.name] for k in CHOICE_KNOBS if k.name in knobs}
        return replace(
            base,
            lanes=replace(base.lanes, **lanes),
            places=tuple(places.items()),
            **other,  # type: ignore[arg-type]  # Choices checks them
        )

    def _base(self, model: int, machine: int) -> Choices:
        """Return those of the default design, which say what the study does not."""
        if (model, machine) not in self._bases:
            found = default_design(self.models[model], self.machines[machine])
            self._bases[model, machine] = found.choices
        return self._bases[model, machine]


def _figures(found: Simulation) -> dict[str, float]:
    """Return the figures of `cosim.sweep.metrics`, apart from the resources."""
    clock_hz = found.ceilings.clock_hz
    energy_pj = found.energy_pj_per_token
    offchip_bytes = sum(row.offchip_bytes for row in found.operators)  # of one token
    matrix = [u.utilisation for u in found.units if u.kind == "matrix"]
    return {
        "tokens_per_s": found.tokens_per_second,
        "latency_us": found.latency_cycles / clock_hz * 1e6,
        "cycles_per_token": found.cycles_per_token,
        "energy_uj_per_token": energy_pj / 1e6,
        "power_w": energy_pj * 1e-12 * found.tokens_per_second,
        "matrix_share": max(matrix, default=0.0),
        "bandwidth_share": (
            offchip_bytes * found.tokens_per_second / found.ceilings.memory_bytes_per_s
        ),
    }

"""Work out one point: lay the design out, refuse what does not fit, simulate the rest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from cosim.design import Choices, Workload, default_design
from cosim.design.choices import DECODE
from cosim.design.plan import PLACES
from cosim.ir.errors import UserError
from cosim.ir.model import Model
from cosim.machine import Machine
from cosim.sweep.knobs import CHOICE_KNOBS, LANE_FIELDS, Value
from hw_models.evaluate import Evaluator, Point


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
    share it is too large, 1 where it is impossible for another reason. `binds` says what a design
    that fits is held up by.
    """

    figures: Mapping[str, float]
    reason: str = ""
    excess: float = 0.0
    binds: str = ""


@dataclass
class Bench:
    """Hold models and machines, and work out points of them; it travels to workers whole.

    Weights are not needed and do not travel.
    """

    models: tuple[Model, ...]
    machines: tuple[Machine, ...]
    workload: Workload = DECODE
    _stands: dict[tuple[int, int], tuple[Evaluator, Choices]] = field(
        default_factory=dict, repr=False
    )

    def __post_init__(self) -> None:
        """Leave the weights behind."""
        self.models = tuple(m.without_weights() for m in self.models)

    def __call__(self, task: Task) -> Result:
        """Work one point out; what cannot be built or deadlocks is a result too."""
        try:
            evaluator, base = self._stand(task.model, task.machine)
            design = evaluator.design(_choices(base, dict(task.knobs)))
        except UserError as error:
            return Result({}, str(error), 1.0)
        used = {f"{name}s": float(count) for name, count in design.resources.items()}
        over = {n: c for n, c in design.resources.items() if c > design.budget[n]}
        if over:
            excess = {n: (c - design.budget[n]) / max(design.budget[n], 1) for n, c in over.items()}
            name = max(excess, key=lambda n: excess[n])
            return Result(
                used,
                f"the design does not fit {design.machine}: it needs {over[name]:,} {name.upper()} "
                f"of {design.budget[name]:,}",
                excess[name],
            )
        try:
            found = evaluator.point_of(design)
        except UserError as error:
            return Result(used, str(error), 1.0)
        clock_mhz = evaluator.machine.clock.frequency_mhz
        return Result({**_figures(found, clock_mhz), **used}, binds=found.binds)

    def _stand(self, model: int, machine: int) -> tuple[Evaluator, Choices]:
        """Return what evaluates this pair, and the default choices for what knobs do not say."""
        key = model, machine
        if key not in self._stands:
            pair = self.models[model], self.machines[machine]
            self._stands[key] = (
                Evaluator(*pair),
                default_design(*pair, workload=self.workload).choices,
            )
        return self._stands[key]


def _choices(base: Choices, knobs: Mapping[str, Value]) -> Choices:
    """Return the default design's choices, but for what the knobs say."""
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


def _figures(found: Point, clock_mhz: float) -> dict[str, float]:
    """Return the figures of `cosim.sweep.metrics`, apart from the resources."""
    energy_pj = found.energy_pj_per_token
    return {
        "tokens_per_s": found.tokens_per_second,
        "latency_us": found.latency_cycles / clock_mhz,
        "cycles_per_token": found.cycles_per_token,
        "energy_uj_per_token": energy_pj / 1e6,
        "power_w": energy_pj * 1e-12 * found.tokens_per_second,
    }

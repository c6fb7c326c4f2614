"""Break the energy of one token down, and name the source of every constant behind it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cosim.ir.errors import InternalError
from reports.chart import Bar, Bars, Part
from reports.table import Column, Table, si


@dataclass(frozen=True)
class EnergyPart:
    """Hold what one component takes for one token."""

    recipe: str
    component: str
    energy_pj: float


@dataclass(frozen=True)
class Constant:
    """Hold one number that a model was fed with: a machine's, or an energy per operation.

    `process` says at which node and voltage an energy was found; a report refuses to mix them.
    """

    name: str
    value: float
    unit: str
    kind: str
    source: str
    process: str = ""


@dataclass(frozen=True)
class Rule:
    """Say how energies without a constant of their own follow from one that has."""

    name: str
    rule: str
    kind: str
    source: str


# What is drawn together; a component that is none of these is drawn by its own name.
GROUPS = {
    "mac": "multiply-accumulate",
    "mul": "other arithmetic",
    "add": "other arithmetic",
    "shift": "other arithmetic",
    "compare": "other arithmetic",
    "lookup": "table look-up",
    "on chip": "bits on chip",
    "off chip": "bits off chip",
}


def refuse_mixed(constants: Sequence[Constant]) -> None:
    """Raise InternalError where energies of different nodes or voltages would be added."""
    processes = sorted({c.process for c in constants if c.process})
    if len(processes) > 1:
        raise InternalError(f"energies of {' and '.join(processes)} must not be added up")


def grouped(parts: Sequence[EnergyPart]) -> dict[str, float]:
    """Sum the components of one recipe by group, in the order of the groups."""
    order = dict.fromkeys([*GROUPS.values(), *(_group(p.component) for p in parts)])
    sums = {g: sum(p.energy_pj for p in parts if _group(p.component) == g) for g in order}
    return {g: pj for g, pj in sums.items() if pj}


def _group(component: str) -> str:
    return GROUPS.get(component, GROUPS.get(component.split(maxsplit=1)[0], component))


def table(parts: Sequence[EnergyPart]) -> Table:
    """Print a row per recipe and component with its share."""
    totals = {
        r: sum(p.energy_pj for p in parts if p.recipe == r) for r in {p.recipe for p in parts}
    }
    columns = (
        Column("recipe", "recipe"),
        Column("component", "component"),
        Column("energy_pj", "energy per token, pJ", "modelled", "4"),
        Column("share", "share", "modelled", ".1%"),
    )
    rows = tuple(
        (p.recipe, p.component, p.energy_pj, p.energy_pj / (totals[p.recipe] or 1.0)) for p in parts
    )
    return Table("energy", "Energy of one token", columns, rows)


def bars(parts: Sequence[EnergyPart]) -> Bars:
    """Draw a bar per recipe, made of its components."""
    recipes = dict.fromkeys(p.recipe for p in parts)
    drawn = []
    for recipe in recipes:
        sums = grouped([p for p in parts if p.recipe == recipe])
        total = sum(sums.values())
        pieces = tuple(
            Part(name, pj, f"{_joules(pj)}, {pj / (total or 1.0):.1%}") for name, pj in sums.items()
        )
        drawn.append(Bar(recipe, pieces, _joules(total)))
    return Bars("energy", "Energy of one token", "modelled", tuple(drawn))


def constants_table(name: str, title: str, constants: Sequence[Constant]) -> Table:
    """Print the constants with their class and source."""
    columns = (
        Column("name", "constant"),
        Column("value", "value", "given", "6"),
        Column("unit", "unit"),
        Column("kind", "class"),
        Column("process", "process"),
        Column("source", "source"),
    )
    rows = tuple((c.name, c.value, c.unit, c.kind, c.process, c.source) for c in constants)
    return Table(name, title, columns, rows)


def rules_table(rules: Sequence[Rule]) -> Table:
    """Print the rules with their class and source."""
    columns = (
        Column("name", "energy"),
        Column("rule", "follows as"),
        Column("kind", "class"),
        Column("source", "source"),
    )
    rows = tuple((r.name, r.rule, r.kind, r.source) for r in rules)
    return Table("energy_rules", "Energies that follow from constants", columns, rows)


def _joules(energy_pj: float) -> str:
    return si(energy_pj * 1e-12, "J")

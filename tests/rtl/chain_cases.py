"""List the vector chains that the Mamba-2 recipes emit, each distinct one once, on small models."""

import re
from collections.abc import Iterator

from cosim.design import Lanes, sized_design
from cosim.machine import load_machine
from quant.recipes import RECIPES
from rtl.units.plan import UnitPlan, unit_plans
from tests.rtl.units.models import small
from tests.rtl.units.test_norm import lightmamba

LIGHT = "lightmamba"
LANES = 4


def plans(recipe: str, lanes: int = LANES) -> dict[str, UnitPlan]:
    """Return the plans of a recipe's vector units: sizes that the lanes do not divide."""
    is_light = recipe.startswith(LIGHT)
    model = lightmamba(recipe=recipe) if is_light else small(recipe, "odd")
    design = sized_design(model, load_machine("u280"), Lanes(8, 8, 8, lanes, 64))
    return {n: p for n, p in unit_plans(model, design).items() if p.kind == "vector"}


def chains(recipes: tuple[str, ...] = tuple(RECIPES)) -> Iterator[tuple[str, str, UnitPlan]]:
    """List (recipe, unit, plan) of all that differ in operators or in widths."""
    seen = set()
    for recipe in recipes:
        for unit, plan in plans(recipe).items():
            kind = signature(plan)
            if kind not in seen:
                seen.add(kind)
                yield recipe, unit, plan


def signature(plan: UnitPlan) -> tuple:
    """Return what a chain computes, apart from its constants and the segments of its tables."""
    folded = plan.folded
    views = folded.skeleton.views
    found = []
    for name in plan.jobs[0].task.nodes:
        node = folded.skeleton.sketch.node(name)
        op = re.sub(r"(start|log2_width|guard)=-?\d+, ", "", str(node.op))
        widths = tuple(str(folded.type(n).dtype) for n in node.inputs if n in views)
        found.append((op, widths, str(folded.type(name).dtype)))
    return tuple(found)

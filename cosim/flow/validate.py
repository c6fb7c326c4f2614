"""Hold published accelerators, our own designs and systolic arrays against the model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from cosim.flow.bench import Bench
from cosim.flow.progress import Progress
from cosim.flow.version import version_text
from cosim.ir.errors import UserError
from cosim.ir.model import Model
from cosim.ir.write import write_file
from cosim.machine import load_machine
from hw_models.dataflow import solve
from hw_models.validate import ablation, fastmamba, lightmamba, streams
from hw_models.validate.arrays import (
    Array,
    Product,
    array_network,
    array_presets,
    closed_form_cycles,
    scalesim_cycles,
)
from hw_models.validate.cut import layers_only
from hw_models.validate.own import Own, own_designs
from hw_models.validate.row import Row
from quant.configs import find_config
from quant.formats import ActFormat, SsmFormat
from quant.from_config import lower_config
from quant.passes.lightmamba import GROUP
from quant.passes.lower_graph import LowerGraph
from quant.passes.quantise_weights import QuantiseWeights
from quant.passes.rotate_online import RotateOut
from quant.recipes import Recipe, find_recipe
from quant.weights import WeightFormat
from reports.validation import ArrayRow, Validation, page_html

PARTS = ("published", "designs", "arrays")
MODEL = "mamba2-2.7b"
OWN_MACHINES, OWN_RECIPE = ("u280", "vck190"), "w4a4"
# The product of a feed-forward layer (GPT-2's sizes over 512 tokens), and the array it runs on.
PRODUCT, ARRAY = (512, 768, 3072), (32, 32)


def lightmamba_recipe(bits: int) -> Recipe:
    """Return LightMamba's released graph with the rotation of its paper, at 4 or 8 bits.

    What is released has 4 bits: at 8, weights and inputs of linear layers alone are wider.
    """
    released = find_recipe("lightmamba-hadamard")
    weights = WeightFormat(bits, GROUP, "two_shift")
    passes = tuple(
        replace(p, default=weights) if isinstance(p, QuantiseWeights) else p
        for p in released.passes
    )
    return replace(released, name=f"lightmamba w{bits}a{bits}", passes=passes)


def fastmamba_recipe() -> Recipe:
    """Return the formats that FastMamba publishes: 8-bit linear layers, a 16-bit SSM.

    A scale per row of weights is assumed.
    """
    passes = (
        RotateOut(),
        QuantiseWeights(WeightFormat(8, 0, "pot")),
        LowerGraph(
            ActFormat(8, group=8),
            SsmFormat(conv_bits=8, tap_bits=8, operand_bits=16, state="int16"),
        ),
    )
    return Recipe("fastmamba w8a8", "as published", passes)


def validate(
    parts: Sequence[str], product: tuple[int, int, int], array: tuple[int, int], progress: Progress
) -> Validation:
    """Compute the parts that are asked for, of PARTS; raise UserError for sizes that cannot be."""
    unknown = [p for p in parts if p not in PARTS]
    if unknown:
        raise UserError(f"there is no part {unknown[0]!r}; choose from {', '.join(PARTS)}")
    presets = array_presets(*array)
    sizes = Product(*product)
    rows: list[Row] = []
    designs: list[Own] = []
    if "published" in parts:
        with progress.task("published accelerators"):
            rows = _published()
    if "designs" in parts:
        with progress.task("our designs"):
            model = lower_config(MODEL, find_config(MODEL), find_recipe(OWN_RECIPE))
            designs = [
                own for m in OWN_MACHINES for own in own_designs(model, load_machine(m), OWN_RECIPE)
            ]
    arrays = [array_row(a, sizes) for a in presets] if "arrays" in parts else []
    return Validation(
        version_text(), tuple(rows), streams.LEFT_OUT if rows else (), tuple(arrays),
        tuple(designs),
    )  # fmt: skip


def validate_step(bench: Bench) -> Validation:
    """Compute all parts for a run's page."""
    return bench.folder.step(
        "validate",
        {},
        ("cosim.ir", "cosim.ops", "cosim.design", "cosim.machine", "hw_models", "quant",
         "reports.validation", "cosim.flow.validate"),
        Validation,
        lambda: validate(PARTS, PRODUCT, ARRAY, Progress()),
    )  # fmt: skip


def _published() -> list[Row]:
    light = {bits: _layers(lightmamba_recipe(bits)) for bits in (4, 8)}
    return [
        *lightmamba.rows(light),
        *ablation.rows(light[4]),
        *fastmamba.rows(_layers(fastmamba_recipe())),
        *streams.rows(),
    ]


def _layers(recipe: Recipe) -> Model:
    return layers_only(lower_config(MODEL, find_config(MODEL), recipe))


def array_row(array: Array, product: Product) -> ArrayRow:
    """Count the cycles of a product on an array in closed form and beat by beat."""
    closed = closed_form_cycles(array, product)
    beats = int(solve(array_network(array, product)).finish("array")[-1])
    return ArrayRow(
        f"{array.rows} x {array.columns}",
        array.stationary,
        f"{product.m} x {product.k} x {product.n}",
        closed,
        beats,
        scalesim_cycles(array, product),
        100 * product.macs / (array.rows * array.columns * closed),
    )


def write_validation(found: Validation, folder: Path, command: str) -> None:
    """Write validation.json, a CSV per table and validation.html."""
    text = json.dumps(found.to_json(), indent=1, allow_nan=False) + "\n"
    write_file(folder / "validation.json", text)
    for table in found.tables():
        write_file(folder / f"{table.name}.csv", table.csv())
    write_file(folder / "validation.html", page_html(found, command))

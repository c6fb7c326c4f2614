"""Make the shipped model's graphs at their true sizes and designs, with drawn constants."""

import json
from functools import cache
from pathlib import Path

import quant
from cosim.design import Design, default_design
from cosim.ir.model import Model
from cosim.machine import load_machine
from quant.from_config import lower_config
from quant.models.mamba2 import read_config
from quant.recipes import find_recipe
from tests.rtl.units.filled import filled

CONFIG = Path(quant.__file__).parent / "zoo" / "mamba2-py-1m" / "config.json"


@cache
def shipped(recipe: str, board: str = "u280", how: str = "random") -> tuple[Model, Design]:
    """Return the model, its constants drawn, and the board's default design of it."""
    config = read_config(json.loads(CONFIG.read_text()))
    model = filled(lower_config("shipped", config, find_recipe(recipe)), how)
    return model, default_design(model, load_machine(board))

"""Measure how many design points a second one core evaluates, and what one token costs.

Run with `python -m tests.benchmarks.design_points`; `--quick` evaluates fewer points. Times are CPU
times of this process after start-up (imports, compiled recurrences), over random widths; every
tenth point is checked against the whole simulation with `==`.
"""

from __future__ import annotations

import argparse
import random
import resource
import time
from collections.abc import Iterator

from cosim.design import Choices, Lanes, default_design, sized_design
from cosim.ir.model import Model
from cosim.machine import Machine, load_machine
from hw_models.evaluate import Evaluator
from hw_models.simulate import simulate
from quant.from_config import lower_config
from quant.models.mamba2 import Config
from tests.hw_models.graphs import MAMBA2_27B, recipe

BYTES = 256
SEED = 1


def main() -> None:
    """Print a row per model and range of widths."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="evaluate a tenth of the points")
    quick = parser.parse_args().quick
    machine = load_machine("u280")
    print(f"{'model':28} {'products a cycle':>18} {'points':>7} {'points/s':>9} {'ms':>7}")
    for model in models():
        for least, most in ((512, 4096), (64, 512)):
            measure(model, machine, least, most, 20 if quick else 200)
    one_token(machine)


def models() -> list[Model]:
    """Return one block of mamba2-2.7b with a byte's vocabulary, and whole models."""
    small = Config(
        vocab_size=50288, hidden_size=768, intermediate_size=1536, state_size=128,
        num_hidden_layers=24, num_heads=24, head_dim=64, n_groups=1,
    )  # fmt: skip
    block = Config(
        vocab_size=BYTES, hidden_size=2560, intermediate_size=5120, state_size=128,
        num_hidden_layers=1, num_heads=80, head_dim=64, n_groups=1,
    )  # fmt: skip
    chosen = recipe(4, "int8 group")
    return [
        lower_config("a block of mamba2-2.7b", block, chosen),
        lower_config("mamba2-130m, 24 layers", small, chosen),
        lower_config("mamba2-2.7b, 64 layers", MAMBA2_27B, chosen),
    ]


def widths(least: int, most: int, count: int) -> Iterator[Lanes]:
    """Draw widths as a search does: all of them change from point to point."""
    chance = random.Random(SEED)
    while count:
        columns = chance.choice([8, 16, 32, 64])
        rows = chance.randrange(1, 129)
        if least <= rows * columns < most:
            state, chain = chance.choice([8, 16, 32, 64, 128]), chance.choice([8, 16, 32, 64])
            yield Lanes(rows, columns, state, chain, chance.choice([64, 128, 256, 512]))
            count -= 1


def measure(model: Model, machine: Machine, least: int, most: int, count: int) -> None:
    """Print one row; raise AssertionError where a point is not what the simulation says."""
    evaluator = Evaluator(model, machine)
    drawn = list(widths(least, most, count))
    evaluator.point(drawn[0])
    spent = 0.0
    for number, lanes in enumerate(drawn):
        began = time.process_time()
        point = evaluator.point(lanes)
        spent += time.process_time() - began
        if number % 10 == 0:
            whole = simulate(model, machine, sized_design(model, machine, Choices(lanes)))
            assert point.cycles_per_token == whole.cycles_per_token
            assert point.energy_pj == whole.energy_pj
    rate, each = count / spent, 1e3 * spent / count
    print(f"{model.name:28} {f'{least} to {most}':>18} {count:7} {rate:9.0f} {each:7.2f}")


def one_token(machine: Machine) -> None:
    """Print what simulating a token of the largest model costs, with and without the shortcut."""
    model = models()[-1]
    simulate(model, machine)
    began = time.process_time()
    found = simulate(model, machine, default_design(model, machine))
    spent = time.process_time() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    print(
        f"one token of {model.name} on {machine.name}: {found.cycles_per_token:,.0f} cycles in "
        f"{spent:.2f} s of CPU; {peak:.2f} GiB at most in this process"
    )


if __name__ == "__main__":
    main()

"""Train the shipped byte-level RWKV-5.2: `python -m quant.training.train_rwkv5 --out FOLDER`."""

import sys
from pathlib import Path

from quant.training.card import Kind, write_model_card
from quant.training.command import check_budget, common_options, status_of, train_into
from quant.training.folder import load_rwkv5
from quant.training.loop import Plan, Progress
from quant.training.measure import LENGTHS, measure_recurrent
from quant.training.rwkv5 import Rwkv5
from quant.training.text import TextSplit

# As many bytes as the shipped Mamba-2 saw: 3,498 steps of 8 x 384.
STEPS = 3498
PEAK_RATE = 3e-3


def main(arguments: list[str] | None = None) -> None:
    """Train, measure on the held-out text, and write the Hugging Face folder with its card."""
    out, plan = parse(arguments)

    def finish(split: TextSplit, last: Progress) -> None:
        measured = measure_recurrent(load_rwkv5(out), split)
        write_model_card(out, kind_of(plan), split, measured, plan, last)
        print(measured)

    train_into(out, plan, Rwkv5, finish)


def kind_of(plan: Plan) -> Kind:
    """Return what the card says of a run by this plan."""
    return Kind(
        name="rwkv5-py-1m",
        family="RWKV-5.2",
        loader="quant.models.load_model",
        library="cosim",
        tags="rwkv5",
        command="quant.training.train_rwkv5",
        lengths=LENGTHS,
        trained="""\
the decays and bonuses of heads (`time_decay`, `time_faaaa`) are free of weight decay.
The state starts empty in every window.""",
        extra=f" --rate {plan.peak_rate:g}",
    )


def parse(arguments: list[str] | None) -> tuple[Path, Plan]:
    """Return the folder to write and the plan of a command line."""
    parser = common_options(__doc__, minutes=240.0)
    parser.set_defaults(steps=STEPS)
    parser.add_argument("--rate", type=float, default=PEAK_RATE, help="peak learning rate")
    given = parser.parse_args(arguments)
    check_budget(given)
    plan = Plan(
        minutes=given.minutes,
        max_steps=given.steps,
        seed=given.seed,
        compile=given.compile,
        peak_rate=given.rate,
    )
    return given.out, plan


if __name__ == "__main__":
    sys.exit(status_of(main))

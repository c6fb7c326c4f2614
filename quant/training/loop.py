"""Run the training loop: batches, learning rate, optimiser, log and checkpoints."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from cosim.ir.errors import UserError
from quant.training.model import Mamba2


@dataclass(frozen=True)
class Plan:
    """Hold the settings of one training run; the run ends at `minutes` or `max_steps`."""

    minutes: float = 38.0
    max_steps: int | None = None
    seed: int = 1
    batch: int = 8
    window_bytes: int = 384
    peak_rate: float = 4e-3
    final_rate: float = 1e-5
    warmup_steps: int = 100
    weight_decay: float = 0.1
    clip_norm: float = 1.0
    save_every_seconds: float = 180.0
    report_every_steps: int = 100
    compile: bool = False


@dataclass(frozen=True)
class Progress:
    """Hold one line of the training log; the loss is the mean since the line before."""

    step: int
    seconds: float
    train_bytes: int
    rate: float
    bits_per_byte: float


def learning_rate(plan: Plan, step: int, fraction: float) -> float:
    """Return the rate: linear warm-up by step, then a cosine over the fraction of the run done.

    >>> learning_rate(Plan(), 0, 0.0), learning_rate(Plan(), 5000, 1.0)
    (4e-05, 1e-05)
    """
    warm = min(1.0, (step + 1) / plan.warmup_steps)
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, fraction)))
    return warm * (plan.final_rate + (plan.peak_rate - plan.final_rate) * cosine)


def windows(text: bytes, plan: Plan) -> Iterator[Tensor]:
    """Yield batches [batch, window + 1] for ever: each epoch shuffles all windows, newly offset.

    Raises UserError if the text is too short for one batch at any offset.
    """
    span = plan.window_bytes
    if len(text) < (plan.batch + 1) * span + 1:
        raise UserError(
            f"training text: it has {len(text)} bytes, and a batch of {plan.batch} windows of "
            f"{span} needs {(plan.batch + 1) * span + 1}; give a longer text"
        )
    data = torch.from_numpy(np.frombuffer(text, dtype=np.uint8).astype(np.int64))
    generator = torch.Generator().manual_seed(plan.seed)
    while True:
        offset = int(torch.randint(span, (1,), generator=generator))
        count = (len(data) - offset - 1) // span
        order = torch.randperm(count, generator=generator)
        for first in range(0, count - plan.batch + 1, plan.batch):
            starts = offset + span * order[first : first + plan.batch]
            yield data[starts[:, None] + torch.arange(span + 1)]


def train(
    model: Mamba2,
    text: bytes,
    plan: Plan,
    report: Callable[[Progress], None],
    checkpoint: Callable[[], None],
) -> Progress:
    """Train in place and return the last progress; same seed and `max_steps`, same weights.

    Without `max_steps` the rate follows the clock, so that the run fits the time it has.
    """
    optimizer = _optimizer(model, plan)
    loss_of = torch.compile(_loss, dynamic=False) if plan.compile else _loss
    begun = saved = time.monotonic()
    losses: list[float] = []
    rate, mean, step = 0.0, math.nan, 0

    def progress() -> Progress:
        seconds = time.monotonic() - begun
        return Progress(step, seconds, step * plan.batch * plan.window_bytes, rate, mean)

    for batch in windows(text, plan):
        by_clock = (time.monotonic() - begun) / (60 * plan.minutes)
        fraction = by_clock if plan.max_steps is None else step / plan.max_steps
        if by_clock >= 1 or fraction >= 1:
            break
        rate = learning_rate(plan, step, fraction)
        for group in optimizer.param_groups:
            group["lr"] = rate
        loss = loss_of(model, batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), plan.clip_norm)
        optimizer.step()
        optimizer.zero_grad()
        step += 1
        losses.append(float(loss.detach()) / math.log(2))
        mean = sum(losses) / len(losses)
        if step % plan.report_every_steps == 0:
            report(progress())
            losses.clear()
        if time.monotonic() - saved > plan.save_every_seconds:
            checkpoint()
            saved = time.monotonic()
    last = progress()
    if losses:
        report(last)
    checkpoint()
    return last


def _optimizer(model: Mamba2, plan: Plan) -> torch.optim.AdamW:
    """Return AdamW that decays matrices only: biases, norms and time constants stay free."""
    matrices = [p for p in model.parameters() if p.dim() == 2]
    others = [p for p in model.parameters() if p.dim() != 2]
    groups = [
        {"params": matrices, "weight_decay": plan.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, betas=(0.9, 0.95), fused=True)


def _loss(model: Mamba2, batch: Tensor) -> Tensor:
    logits, _ = model(batch[:, :-1], model.empty_states(batch.shape[0]))
    return functional.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten())

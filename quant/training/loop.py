"""Run the training loop: batches, learning rate, optimiser, log and checkpoints."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import cycle

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from cosim.ir.errors import UserError
from quant.training.byte_model import ByteModel


@dataclass(frozen=True)
class Plan:
    """Hold the settings of one training run; the run ends at `minutes` or `max_steps`.

    A step takes `batch` windows of `window_bytes`. Where `window_turns` lists lengths, steps take
    turns in them, with as many bytes a step: a model that attends must see long distances, too.
    """

    minutes: float = 38.0
    max_steps: int | None = None
    seed: int = 1
    batch: int = 8
    window_bytes: int = 384
    window_turns: tuple[int, ...] = ()
    peak_rate: float = 4e-3
    final_rate: float = 1e-5
    warmup_steps: int = 100
    weight_decay: float = 0.1
    clip_norm: float = 1.0
    save_every_seconds: float = 180.0
    report_every_steps: int = 100
    compile: bool = False

    def __post_init__(self) -> None:
        """Raise UserError for a length of windows that does not divide the bytes of a step."""
        for span in self.window_turns:
            if span < 1 or self.step_bytes % span:
                raise UserError(
                    f"windows of {span} bytes do not fill the {self.step_bytes} bytes of a step;"
                    " give divisors of it with --windows"
                )

    @property
    def step_bytes(self) -> int:
        """Return the bytes that a step trains on."""
        return self.batch * self.window_bytes


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


def batches(text: bytes, plan: Plan) -> Iterator[Tensor]:
    """Yield the batches [count, window + 1] of the steps, for ever.

    Raises UserError if the text is too short for one batch.
    """
    spans = plan.window_turns or (plan.window_bytes,)
    sources = {span: windows(text, span, plan.step_bytes // span, plan.seed) for span in set(spans)}
    for span in cycle(spans):
        yield next(sources[span])


def windows(text: bytes, span: int, batch: int, seed: int) -> Iterator[Tensor]:
    """Yield batches [batch, span + 1] for ever: each epoch shuffles all windows, newly offset.

    Raises UserError if the text is too short for one batch at any offset.
    """
    if len(text) < (batch + 1) * span + 1:
        raise UserError(
            f"training text: it has {len(text)} bytes, and a batch of {batch} windows of "
            f"{span} needs {(batch + 1) * span + 1}; give a longer text"
        )
    data = torch.from_numpy(np.frombuffer(text, dtype=np.uint8).astype(np.int64))
    generator = torch.Generator().manual_seed(seed)
    while True:
        offset = int(torch.randint(span, (1,), generator=generator))
        count = (len(data) - offset - 1) // span
        order = torch.randperm(count, generator=generator)
        for first in range(0, count - batch + 1, batch):
            starts = offset + span * order[first : first + batch]
            yield data[starts[:, None] + torch.arange(span + 1)]


def train(
    model: ByteModel,
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
        return Progress(step, seconds, step * plan.step_bytes, rate, mean)

    for batch in batches(text, plan):
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


def _optimizer(model: ByteModel, plan: Plan) -> torch.optim.AdamW:
    """Return AdamW that decays matrices only: biases, norms and time constants stay free.

    RWKV keeps a decay and a bonus per head and channel: 2-D, but constants of time by their names.
    """
    named = list(model.named_parameters())
    matrices = [p for name, p in named if p.dim() == 2 and "time_" not in name]
    others = [p for name, p in named if p.dim() != 2 or "time_" in name]
    groups = [
        {"params": matrices, "weight_decay": plan.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, betas=(0.9, 0.95), fused=True)


def _loss(model: ByteModel, batch: Tensor) -> Tensor:
    logits = model.predict(batch[:, :-1])
    return functional.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten())

"""Set a GPU beside a design: decoding at batch 1 as a roofline row, its assumptions with it.

A token reads every weight once, and reads and writes the state once; at batch 1 nothing else takes
time. So tokens per second are at most bandwidth over bytes: a bound, in the GPU's favour. What was
published reaches 64 to 79 % of it (`PUBLISHED`, held by a test).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cosim.ir.errors import UserError
from cosim.ir.model import Model
from cosim.ops import Linear


@dataclass(frozen=True)
class Gpu:
    """Describe a GPU: the bandwidth of its memory and what its board draws at work."""

    name: str
    bandwidth_gb_s: float
    power_w: float
    bandwidth_source: str
    power_source: str


GPUS: Mapping[str, Gpu] = {
    g.name: g
    for g in (
        Gpu("rtx2070", 448, 175, "data sheet, from memory",
            "LightMamba's 65 tokens/s over 2.25 / 6.06 tokens/J (arXiv 2502.15260)"),
        Gpu("rtx3090", 936, 300, "data sheet, from memory",
            "FastMamba's 111 tokens/s over 0.37 tokens/J (arXiv 2505.18975)"),
        Gpu("rtx4090", 1008, 285, "data sheet, from memory",
            "LightMamba's 138 tokens/s over 2.25 / 4.65 tokens/J (arXiv 2502.15260)"),
        Gpu("orin-nano", 68, 15, "data sheet, from memory", "data sheet, from memory"),
        Gpu("a100", 1555, 400, "data sheet (40 GB), from memory", "data sheet, from memory"),
    )
}  # fmt: skip


@dataclass(frozen=True)
class PublishedRun:
    """Hold a published batch-1 decode on a GPU, of so many parameters of so many bits."""

    gpu: str
    model: str
    parameters: float
    bits: int
    tokens_per_second: float
    source: str


PUBLISHED = (
    PublishedRun("rtx2070", "mamba2-2.7b", 2.7026e9, 16, 65, "arXiv 2502.15260"),
    PublishedRun("rtx4090", "mamba2-2.7b", 2.7026e9, 16, 138, "arXiv 2502.15260"),
    PublishedRun("rtx3090", "mamba2-2.7b", 2.7026e9, 16, 111, "arXiv 2505.18975"),
    PublishedRun("orin-nano", "mamba-2.8b", 2.76835e9, 16, 1000 / 103.56, "Quamba, 2410.13229"),
    PublishedRun("orin-nano", "mamba-2.8b", 2.76835e9, 8, 1000 / 60.17, "Quamba, 2410.13229"),
)
COMMON = (
    "batch 1, decoding: all of the bandwidth over the bytes, arithmetic free",
    "published runs reach 64 to 79 % of this bound",
    "power is the whole board's, without the machine around it",
)


@dataclass(frozen=True)
class GpuRow:
    """Hold one row of a roofline table: a bound on a GPU, and what it rests on."""

    gpu: str
    bits: str
    bytes_per_token: float
    tokens_per_second: float
    joules_per_token: float
    assumptions: tuple[str, ...]

    @property
    def tokens_per_joule(self) -> float:
        """Return the tokens that a joule pays for."""
        return 1 / self.joules_per_token


def decode_bytes(model: Model, bits: int | None = None) -> float:
    """Return what a GPU moves for a token: weights and constants once, states there and back.

    `bits` None takes the widths of the graph, scales included: matched precision. A number takes
    so many bits for each weight, without its scales, and for each element of every state.
    """
    total = 0
    for segment in model.segments:
        graph = segment.graph
        for node in graph.nodes:
            work = node.op.work(graph.input_types(node), graph.types[node.name])
            if bits is None:
                # Tables stand for functions that a GPU computes.
                total += 0 if node.op.name in {"pwl", "pwl_log"} else work.const_bits
            elif isinstance(node.op, Linear):
                total += work.mac_count * bits
        for name in graph.states:
            size = graph.types[name].size_bits if bits is None else graph.types[name].size * bits
            total += 2 * size
    return total / 8


def gpu_row(gpu: Gpu | str, bytes_per_token: float, bits: str) -> GpuRow:
    """Return the roofline row of a GPU that moves so many bytes a token; `bits` says what of.

    Raise UserError for an unknown GPU, and for bytes that are none.
    """
    if isinstance(gpu, str):
        if gpu not in GPUS:
            raise UserError(f"GPU {gpu!r} is unknown; choose one of {', '.join(sorted(GPUS))}")
        gpu = GPUS[gpu]
    if bytes_per_token <= 0:
        raise UserError(f"{bytes_per_token:g} bytes a token give no bound; count the weights")
    rate = gpu.bandwidth_gb_s * 1e9 / bytes_per_token
    return GpuRow(
        gpu.name, bits, bytes_per_token, rate, gpu.power_w / rate,
        (f"{gpu.bandwidth_gb_s:g} GB/s ({gpu.bandwidth_source})",
         f"{gpu.power_w:g} W throughout ({gpu.power_source})",
         f"kernels that read {bits} as stored", *COMMON),
    )  # fmt: skip

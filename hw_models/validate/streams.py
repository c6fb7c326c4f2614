"""Bound published decoders that stream all weights for every token, and name those left out.

Their models have no integer graph here, so that nothing is simulated: the bound is bandwidth over
bytes, which the published speed must not pass.
"""

from __future__ import annotations

from dataclasses import dataclass

from hw_models.validate.published import FASTMAMBA as FASTMAMBA_TABLE
from hw_models.validate.published import LIGHTMAMBA as TABLE
from hw_models.validate.row import Row


@dataclass(frozen=True)
class Stream:
    """Describe a decoder: 10^9 weights of so many bits, and the bandwidth in 10^9 bytes a second.

    `bits` None: unpublished.
    """

    design: str
    tokens_per_s: float
    weights_g: float
    bits: float | None
    bandwidth_gb_s: float
    source: str
    unknown: str

    @property
    def bound(self) -> float | None:
        """Return the tokens per second at which the weights alone fill the memory's bandwidth."""
        if self.bits is None:
            return None
        return self.bandwidth_gb_s * 8 / (self.weights_g * self.bits)


NO_GRAPH = "no integer graph of this model here"
GPU = "a GPU, whose kernels are not modelled; bandwidth of"
STREAMS = (
    Stream("KV260 LLaMA2-7B W4", 4.9, 6.607, 4.25, 19.2, "arXiv 2502.10659, abstract: 4.9 to 5",
           f"{NO_GRAPH}; the bits of its scales (4.25 assumed)"),
    Stream("Hummingbird KV260 LLaMA3-8B W4", 4.8, 7.505, 4.0, 19.2, "arXiv 2507.03308, abstract",
           f"{NO_GRAPH}; the bits of its scales"),
    Stream("Hummingbird ZCU104 LLaMA3-8B W4", 8.6, 7.505, 4.0, 34.1, "arXiv 2507.03308, abstract",
           f"{NO_GRAPH}; whether both memories stream (assumed: two DDR4-2133)"),
    Stream("TerEffic 2.7B ternary, HBM", 727, 2.7, 1.6, 460, "arXiv 2502.16473, abstract",
           f"{NO_GRAPH}; its board (assumed: one of 460 GB/s)"),
    Stream("FlightLLM U280 LLaMA2-7B", 55, 6.607, 3.5, 460, "FPGA 2024, by a reading",
           f"{NO_GRAPH}; its bits (3.5 assumed) and sparsity"),
    Stream("RTX 2070 Mamba2-2.7B FP16", 65, 2.7026, 16, 448, TABLE,
           f"{GPU} 448 GB/s, from memory"),
    Stream("RTX 3090 Mamba2-2.7B FP16", 111, 2.7026, 16, 936, FASTMAMBA_TABLE,
           f"{GPU} 936 GB/s, from memory; its bits (16 assumed)"),
    Stream("RTX 4090 Mamba2-2.7B FP16", 138, 2.7026, 16, 1008, TABLE,
           f"{GPU} 1008 GB/s, from memory"),
    Stream("NSLLM VCK190 1.5B", 161.8, 1.5, None, 25.6, "NSR 2025, nwaf551, abstract",
           f"{NO_GRAPH}; its bits and batch: one stream of 25.6 GB/s leaves 158 MB a token"),
)  # fmt: skip

# What was published of each, and what keeps it from being modelled.
LEFT_OUT: tuple[tuple[str, str, str], ...] = (
    ("eMamba, ZCU102", "4.95 to 5.62 times lower latency (arXiv 2508.10370)", "ratios only"),
    ("Gated DeltaNet decode, U55C", "63 µs a token, 9.96 W (arXiv 2603.05931)",
     "the layer's sizes and lanes; no delta rule here yet"),
    ("HFRWKV, U50 and U280", "63 and 139 times a CPU (arXiv 2601.02135)", "ratios only"),
    ("Mamba-X, ASIC", "11.6 times an edge GPU (arXiv 2508.02977)", "ratios only"),
    ("MARCA, ASIC", "11.66 times an A100 (arXiv 2409.11440)", "ratios only"),
    ("SpecMamba, VHK158 and VCK190", "2.27 times a GPU (arXiv 2509.19873)", "ratios only"),
    ("TeLLMe v2, KV260", "25 tokens/s, BitNet 0.7B (arXiv 2510.15926)",
     "widths, clock; no attention here yet"),
    ("ViM-Q, ZCU102", "4.96 times an RTX 3090 (arXiv 2605.01935)",
     "ratios only at hand; its repository was not modelled"),
)  # fmt: skip


def rows() -> list[Row]:
    """Return a row per decoder with its bound; nothing is modelled."""
    return [
        Row(
            s.design, "speed", "tokens/s", s.source, s.tokens_per_s, s.bound,
            "" if s.bits is None else f"{s.bandwidth_gb_s:g} GB/s over {s.weights_g:g} G weights "
            f"of {s.bits:g} bits",
            unknown=s.unknown,
        )
        for s in STREAMS
    ]  # fmt: skip

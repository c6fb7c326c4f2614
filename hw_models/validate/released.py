"""Lay out LightMamba's released code, loop by loop, as a network of actors: one token, all layers.

All numbers are given by the code (github.com/PKU-SEC-Lab/LightMamba, commit 084bcfca) unless said:
`case/M_AXI_STATIC.cpp` moves everything over one port, loop after loop: windows and taps of the
convolution, the states of the whole layer, the weights, then windows and states back. So the
products wait while states move. `case/HT_STATE.cpp` holds a layer's states in URAM. Times of units
are the latencies that Vitis HLS wrote into `SPINAL/src/main/verilog/*/all.v`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache
from typing import Literal

from hw_models.dataflow import solve
from hw_models.network import Actor, Channel, Firing, Network, Program
from hw_models.validate.published import HEADS, HIDDEN, IN_ROWS, INNER, LAYERS, STATES

Order = Literal["graph", "heads"]
LANES, LAYER_STATES = 8, INNER * STATES
CLOCK_HZ = 400e6
TILE_BEATS = HIDDEN // LANES, INNER // LANES  # of in_proj and out_proj, a tile of 8 rows
BLOCK = 256  # words of 4-bit weights between 3 words of their scales, 2 x 3 bits for each 128
LATENCY = 35  # `latency=35` of the port, once a loop
# Words ahead: queues of 1024 and 8 (M_AXI.scala), 512 (ACCELERATOR.scala) and 8 (MAMBA.scala).
AHEAD = 1024 + 8 + 512 + 8
# HT_STATE takes 371,232 cycles: 21,760 words in and as many out leave 512 and a bit for each of the
# 640 tiles of 8 channels, 2 cycles for each of 128 reads and 128 writes.
HT_STATE_CYCLES, TILE_CYCLES = 371_232, 512
GEMM_CYCLES = 627_848
NORM_FILL = 1_305 - 2 * INNER // LANES  # RMSNORM_QUANT_2: two passes of 640 beats, and this
FIR_CYCLES = 4  # a tile of 8 channels, a tap a cycle (conv.h)
# Memories that `bind_storage` puts into URAM: width in bits, depth in words.
BUFFERS = {
    "states": (256, 20_480), "scales of states": (256, 1280),  # HT_STATE
    "windows": (256, 672), "scales of windows": (256, 42),  # CONV_STATE
    "taps": (256, 672), "scales of taps": (256, 42),
    "residual": (256, 320), "input of norm 1": (256, 320), "input of norm 2": (256, 640),
}  # fmt: skip
# What tiles of B x, A h and h replace (by a reading): 8 lanes of the code's 32 bits, and h as kept.
WHOLE = {
    "B x": (LANES * 32, LAYER_STATES // LANES), "A h": (LANES * 32, LAYER_STATES // LANES),
    "h": (256, 20_480), "scales of h": (256, 1280),
}  # fmt: skip


@dataclass(frozen=True)
class Words:
    """Count the words of the port in a layer; a word is a tile of 8 x 8 weights (DW_MAXI).

    >>> Words.of(4)
    Words(bits=256, weights=627840, scales=7359, taps=714, states=21760)
    >>> Words.of(4).total, Words.of(8).total
    (680861, 654352)
    """

    bits: int
    weights: int
    scales: int
    taps: int
    states: int

    @classmethod
    def of(cls, bits: int) -> Words:
        """Count for weights of so many bits; only 4 was released, 8 widens the port by its rule."""
        word = LANES * LANES * bits
        products = IN_ROWS * HIDDEN + HIDDEN * INNER
        weights = products // (LANES * LANES)
        scales = 3 * -(-weights // (BLOCK * bits // 4))
        channels = INNER + 2 * STATES
        taps = 4 * channels * 8 + 4 * channels // 8 * 4
        return cls(word, weights, scales, taps // word, LAYER_STATES * 17 // 2 // word)

    @property
    def total(self) -> int:
        """Count all words of a layer: windows and states go both ways, taps only come."""
        return self.weights + self.scales + 3 * self.taps + 2 * self.states


@dataclass(frozen=True)
class Loops:
    """Hold what the released loops do with a token: cycles, and the share that makes products."""

    cycles: int
    words: Words

    @property
    def tokens_per_s(self) -> float:
        """Return the speed at the published clock."""
        return CLOCK_HZ / self.cycles

    @property
    def busy_percent(self) -> float:
        """Return the share of the token in which products are made."""
        return 100 * LAYERS * self.words.weights / self.cycles

    @property
    def bytes_per_token(self) -> int:
        """Return the bytes that the port moves."""
        return LAYERS * self.words.total * self.words.bits // 8


def loops(bits: int = 4, order: Order = "heads", gb_s: float | None = None) -> Loops:
    """Run the loops of a token; `gb_s`: 10^9 bytes a second, None: a word a cycle."""
    words = Words.of(bits)
    per_word = Fraction(1)
    if gb_s is not None:
        per_word = max(
            Fraction(words.bits * int(CLOCK_HZ), round(gb_s * 8e9)).limit_denominator(10**4),
            per_word,
        )
    ends = solve(network(words, order, per_word)).finish_cycles
    return Loops(int(ends.max()), words)


def network(words: Words, order: Order, per_word: Fraction, layers: int = LAYERS) -> Network:
    """Join the port and the units; queues that only the naive order fills are made deep enough."""
    tiles = _tiles(order)
    deep = INNER // LANES + 2 * STATES // LANES
    actors = (
        Actor("port", body=_port(words, per_word), loops=layers),
        Actor("gemm", body=_gemm(tiles), loops=layers),
        Actor("fir", body=_fir(words, tiles), loops=layers),
        Actor("state", body=_state(words), loops=layers),
        Actor("norm 2", body=_norm(INNER // LANES, ("y", "z"), "out"), loops=layers),
        Actor("residual and norm 1", body=_residual(), loops=layers),
    )
    short = dict.fromkeys(("y", "residual"), 8)
    return Network(actors, {
        "weights": Channel(AHEAD), "taps": Channel(AHEAD), "windows": Channel(AHEAD),
        "states": Channel(AHEAD), "states back": Channel(AHEAD),
        "xBC": Channel(8), "x": Channel(8 if order == "heads" else deep),
        "BC": Channel(2 * STATES // LANES), "z": Channel(deep), "dt": Channel(HEADS // LANES),
        "in": Channel(2, 1), "out": Channel(1),
        **{name: Channel(depth) for name, depth in short.items()},
    })  # fmt: skip


def _tiles(order: Order) -> list[str]:
    """Name what each tile of 8 rows of in_proj is.

    `heads`: B and C, then for 8 heads at a time dt, then x and z in turn (ACCELERATOR.scala);
    `graph`: z, x, B, C, dt, as the model has them.
    """
    groups, each = HEADS // LANES, INNER // HEADS
    both = ["BC"] * (2 * STATES // LANES)
    if order == "heads":
        return both + (["dt"] + ["x", "z"] * each) * groups
    return ["z"] * each * groups + ["x"] * each * groups + both + ["dt"] * groups


def _port(words: Words, per_word: Fraction) -> Program:
    blocks = words.scales // 3
    each = BLOCK * words.bits // 256
    left = words.weights - each * (blocks - 1)
    weights = [("scales", 3, 0), ("weights", each, 0)] * (blocks - 1)
    weights += [("scales", 3, 0), ("weights", left, LATENCY)]
    moved = [
        ("windows", words.taps, LATENCY), ("taps", words.taps, LATENCY),
        ("states", words.states, LATENCY), *weights,
        ("windows back", words.taps, LATENCY), ("states back", words.states, LATENCY),
    ]  # fmt: skip
    pops = {"windows back": ("windows",), "states back": ("states back",)}
    pushes = {"windows": ("taps",), "taps": ("taps",), "states": ("states",),
              "weights": ("weights",)}  # fmt: skip
    over, under = per_word.numerator, per_word.denominator

    @cache
    def run(task: str, count: int, cycles: int, wait: int) -> tuple[tuple[int, Firing], ...]:
        beat = Firing(pops.get(task, ()), pushes.get(task, ()), 1, Fraction(cycles, count), task)
        last = cycles - (count - 1) * cycles // count
        return (count - 1, beat), (1, replace(beat, interval=Fraction(last + wait)))

    runs: list[tuple[int, Firing]] = []
    done = began = 0
    for task, count, wait in moved:
        # The mean is exact over all runs, each of which takes whole cycles.
        done += count
        ends = -(-done * over // under)
        runs += run(task, count, ends - began, wait)
        began = ends
    return Program.of(*runs)


def _gemm(tiles: list[str]) -> Program:
    into, out = TILE_BEATS
    where = {"x": "xBC", "BC": "xBC", "z": "z", "dt": "dt"}
    fill = GEMM_CYCLES - len(tiles) * into - HIDDEN // LANES * out
    step = Firing(("weights",), task="in_proj")
    ends = {t: Firing(("weights",), (where[t],), fill, task="in_proj") for t in where}
    runs = [(1, Firing(("weights", "in"), task="in_proj")), (into - 2, step), (1, ends[tiles[0]])]
    runs += [run for t in tiles[1:] for run in ((into - 1, step), (1, ends[t]))]
    step = Firing(("weights",), task="out_proj")
    end = Firing(("weights",), ("residual",), fill, task="out_proj")
    runs += [(1, Firing(("weights", "out"), task="out_proj")), (out - 2, step), (1, end)]
    runs += [run for _ in range(HIDDEN // LANES - 1) for run in ((out - 1, step), (1, end))]
    return Program.of(*runs)


def _fir(words: Words, tiles: list[str]) -> Program:
    four = Fraction(FIR_CYCLES)
    kinds = {
        "x": Firing(("xBC",), ("x",), FIR_CYCLES, four, "x"),
        "BC": Firing(("xBC",), ("BC",), FIR_CYCLES, four, "B, C"),
    }
    return Program.of(
        (2 * words.taps, Firing(("taps",), task="fill")),
        *((1, kinds[t]) for t in tiles if t in kinds),
        (words.taps, Firing((), ("windows",), task="empty")),
    )


def _state(words: Words) -> Program:
    each = INNER // HEADS
    tile = Firing(("x",), ("y",), TILE_CYCLES, Fraction(TILE_CYCLES), "tiles")
    first = Firing(("x", "dt"), ("y",), TILE_CYCLES, Fraction(TILE_CYCLES), "tiles")
    return Program.of(
        (words.states, Firing(("states",), task="fill")),
        (2 * STATES // LANES, Firing(("BC",), task="B, C")),
        *(run for _ in range(HEADS // LANES) for run in ((1, first), (each - 1, tile))),
        (words.states, Firing((), ("states back",), task="empty")),
    )


def _norm(beats: int, pops: tuple[str, ...], out: str) -> Program:
    """Take all beats, then give as many: the products begin when all are in their buffer."""
    return Program.of(
        (beats - 1, Firing(pops, task="sum")),
        (1, Firing(pops, (), 1, Fraction(1 + NORM_FILL), "sum")),
        (beats - 1, Firing(task="scale")),
        (1, Firing((), (out,), task="scale")),
    )


def _residual() -> Program:
    """Add out_proj's tiles, then read the sum out through the norm, which takes it as it comes."""
    beats = HIDDEN // LANES
    add = Program.of((beats, Firing(("residual",), task="add")))
    return Program.join((add, _norm(beats, (), "in")))

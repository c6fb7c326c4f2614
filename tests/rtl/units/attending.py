"""Make graphs that attend to a ring of keys, for the tests of the attention unit."""

import random

import numpy as np

from cosim.ir.graph import GraphBuilder
from cosim.ir.model import Model
from cosim.ir.types import TensorType, i, u
from cosim.ops import Attend, CacheWrite, Concat, Count, Divide, Reshape
from cosim.ops import Slice as Cut
from tests.hw_models.graphs import model_of


def attending(
    op: Attend, heads: int, groups: int, channels: int, places: int, layers: int = 1,
    limit: int = 4000, most_scale: int = 900, bits: int = 8, seed: int = 0,
    shifts: tuple[int, int] = (6, 6),
) -> Model:  # fmt: skip
    """Return a model of attention layers, each with scales and shifts of its own.

    Queries, keys and values are one vector; a layer hands its results on in place of the queries.
    """
    rng = np.random.default_rng(seed)
    b = GraphBuilder("step")
    at = b.state("position", TensorType(u(12), (), 0, limit))
    b.update(at, b.add("more", Count(limit), at))
    sizes = {"q": heads * channels, "k": groups * channels, "v": groups * channels}
    dtype = i(bits)
    x = b.input("x", TensorType.full(dtype, (sum(sizes.values()),)))
    for n in range(layers):
        name, start, own = (f"layers.{n}." if layers > 1 else ""), 0, {}
        for what, size in sizes.items():
            own[what] = b.add(f"{name}{what}.row", Cut(start, start + size), x)
            start += size
        rows = {}
        for what, size in sizes.items():
            shape = (size // channels, channels)
            rows[what] = b.add(f"{name}{what}", Reshape((size,), shape), own[what])
        written = []
        for what in "kv":
            cache = TensorType.full(dtype, (places, groups, channels))
            state = b.state(f"{name}{what}.cache", cache)
            written.append(b.add(f"{name}{what}.written", CacheWrite(), state, rows[what], at))
            b.update(state, written[-1])
        more = [b.const(f"{name}scale", rng.integers(0, most_scale, heads, endpoint=True), u(16))]
        more.append(b.const(f"{name}shift", rng.integers(*shifts, heads, endpoint=True), u(4)))
        if op.alibi:
            more.append(b.const(f"{name}slope", rng.integers(0, 4000, heads), u(16)))
        sums = b.add(f"{name}sums", op, rows["q"], *written, at, *more)
        mean = b.add(f"{name}mean", Divide(1, 1 << (bits - 1), dtype), sums)
        if layers == 1:
            b.output("out", mean)
            return model_of(b)
        flat = b.add(f"{name}flat", Reshape((heads, channels), (heads * channels,)), mean)
        x = b.add(f"{name}next", Concat(), flat, own["k"], own["v"])
    b.output("out", b.add("last", Cut(0, heads * channels), x))
    return model_of(b)


def drawn(rng: random.Random) -> tuple[Model, int]:
    """Draw an attention of small sizes with any mask; return it and the lanes of its unit."""
    groups, share = rng.choice([1, 1, 2, 3]), rng.choice([1, 1, 2, 3, 4])
    channels = rng.choice([1, 2, 3, 4, 6, 8])
    chunk = rng.choice([c for c in range(1, channels + 1) if channels % c == 0])
    tile = rng.choice([t for t in range(1, 9) if t * (channels // chunk) >= 3])
    places = tile * rng.choice([1, 2, 3, 4])
    window, dilation = rng.choice([places, rng.randint(1, places)]), rng.choice([1, 1, 2, 3])
    limit, blocks = 4000, ()
    if places > 1 and rng.random() < 0.3:
        # A mask of blocks holds the whole context.
        limit, tiles = places - 1, range(places // tile)
        pairs = [(q, k) for q in tiles for k in tiles if q == k or rng.random() < 0.4]
        blocks = tuple(x for pair in pairs for x in pair)
    op = Attend(tile, window, dilation, alibi=rng.random() < 0.4, blocks=blocks)
    model = attending(
        op, groups * share, groups, channels, places, rng.choice([1, 1, 2, 3]), limit,
        rng.choice([3, 90, 2000]), rng.choice([4, 8, 8]), rng.randint(0, 99),
        (rng.randint(4, 8), rng.randint(8, 12)),
    )  # fmt: skip
    return model, share * chunk

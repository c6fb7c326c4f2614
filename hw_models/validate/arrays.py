"""Time a matrix product on a systolic array: in closed form, and as a network with its stalls.

Glossary:
    R, C     rows and columns of processing elements
    M, K, N  the product [M, K] x [K, N]
    fold     one tile of R x C: what is stationary (weights KxN, inputs KxM, or outputs MxN)
    T        what streams through a fold: M, N or K

Weights or inputs stay: R cycles load them, T wavefronts enter one a cycle, and the last one takes
R - 1 + C - 1 more through the array: 2R + C + T - 2 cycles. Outputs stay: T wavefronts and their
R - 1 + C - 1 come first, then R cycles shift the outputs out: the same sum. A fold begins when the
one before is through. These are the counts of SCALE-Sim (arXiv 1811.02883, 2504.15377); its code
leaves the R cycles of the outputs away (scale-sim-v3 issue 4): `scalesim_cycles`.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from typing import Literal, get_args

from cosim.ir.errors import UserError
from hw_models.network import Actor, Channel, Firing, Network, Program

Stationary = Literal["weights", "outputs", "inputs"]
STATIONARY: tuple[str, ...] = get_args(Stationary)
MOST = 1 << 20


@dataclass(frozen=True)
class Product:
    """Hold the sizes of a matrix product [M, K] x [K, N]; raise UserError where one cannot be."""

    m: int
    k: int
    n: int

    def __post_init__(self) -> None:
        """Check the sizes."""
        for what, size in (("M", self.m), ("K", self.k), ("N", self.n)):
            if not 1 <= size <= MOST:
                raise UserError(f"a product's {what} is {size}; give 1 to {MOST:,}")

    @property
    def macs(self) -> int:
        """Count the multiply-accumulates."""
        return self.m * self.k * self.n


@dataclass(frozen=True)
class Array:
    """Describe a systolic array; raise UserError where it cannot be built."""

    name: str
    stationary: Stationary
    rows: int
    columns: int
    source: str

    def __post_init__(self) -> None:
        """Check the sizes."""
        if self.stationary not in STATIONARY:
            raise UserError(
                f"array {self.name}: {self.stationary!r} cannot stay; choose one of {STATIONARY}"
            )
        for what, size in (("rows", self.rows), ("columns", self.columns)):
            if not 1 <= size <= MOST:
                raise UserError(f"array {self.name}: {size} {what}; give 1 to {MOST:,}")


def array_presets(rows: int = 32, columns: int = 32) -> tuple[Array, ...]:
    """Return SCALE-Sim's three arrays in a size."""
    sources: tuple[tuple[str, Stationary, str], ...] = (
        ("ws", "weights", "SCALE-Sim's weight-stationary dataflow (arXiv 1811.02883)"),
        ("os", "outputs", "SCALE-Sim's output-stationary dataflow, as the paper counts it"),
        ("is", "inputs", "SCALE-Sim's input-stationary dataflow (arXiv 1811.02883)"),
    )
    return tuple(Array(name, kind, rows, columns, text) for name, kind, text in sources)


def folds(array: Array, product: Product) -> tuple[int, int]:
    """Return how many folds there are, and T, the wavefronts of each.

    >>> folds(array_presets()[0], Product(512, 768, 3072))
    (2304, 512)
    """
    down, across, through = {
        "weights": (product.k, product.n, product.m),
        "outputs": (product.m, product.n, product.k),
        "inputs": (product.k, product.m, product.n),
    }[array.stationary]
    return ceil(Fraction(down, array.rows)) * ceil(Fraction(across, array.columns)), through


def closed_form_cycles(array: Array, product: Product) -> int:
    """Return the cycles of a product whose operands are always there.

    >>> closed_form_cycles(array_presets()[0], Product(512, 768, 3072))
    1396224
    """
    count, through = folds(array, product)
    return count * (2 * array.rows + array.columns + through - 2)


def scalesim_cycles(array: Array, product: Product) -> int:
    """Return what SCALE-Sim 3.0.0 computes: outputs that stay are not shifted out.

    >>> [scalesim_cycles(a, Product(16, 64, 64)) for a in array_presets()]
    [440, 252, 316]
    """
    count, _ = folds(array, product)
    skipped = count * array.rows if array.stationary == "outputs" else 0
    return closed_form_cycles(array, product) - skipped


@dataclass(frozen=True)
class Feeds:
    """Give words per cycle to and from the array; None: as many as it can take.

    `held` is what stays (with outputs that stay: the weights), `moving` streams, `results` leave.
    """

    held: Fraction | None = None
    moving: Fraction | None = None
    results: Fraction | None = None

    def __post_init__(self) -> None:
        """Refuse a feed that never comes."""
        for what, rate in vars(self).items():
            if rate is not None and rate <= 0:
                raise UserError(f"the {what} come at {rate} words a cycle; give more than 0")


def array_network(array: Array, product: Product, feeds: Feeds | None = None) -> Network:
    """Return the array with its two feeds and its results, as actors.

    The buffers of both operands hold two folds' worth and are full at the start, as SCALE-Sim
    counts; with less than a beat a cycle in `feeds` the array waits for them.
    """
    feeds = feeds or Feeds()
    r, c = array.rows, array.columns
    count, through = folds(array, product)
    drain = Fraction(r + c - 1)
    if array.stationary == "outputs":
        step = Firing(("held", "moving"))
        last = Firing(("held", "moving"), (), 1, drain)
        work = Program.of((through - 1, step), (1, last), (r, Firing((), ("results",))))
        held, moved, out = through, through, r
    else:
        step = Firing(("moving",), ("results",), r + c - 1)
        last = Firing(("moving",), ("results",), r + c - 1, drain)
        work = Program.of((r, Firing(("held",))), (through - 1, step), (1, last))
        held, moved, out = r, through, through
    in_held, in_moving, in_out = (
        _interval(words, rate)
        for words, rate in ((c, feeds.held), (r, feeds.moving), (c, feeds.results))
    )
    actors = (
        Actor("held", body=_port((), ("held",), held, in_held), loops=count),
        Actor("moving", body=_port((), ("moving",), moved, in_moving), loops=count),
        Actor("array", body=work, loops=count),
        Actor("results", body=_port(("results",), (), out, in_out), loops=count),
    )
    channels = {
        "held": Channel(2 * held, 2 * held),
        "moving": Channel(2 * moved, 2 * moved),
        "results": Channel(2 * out + r + c),
    }
    return Network(actors, channels)


def _port(pops: tuple[str, ...], pushes: tuple[str, ...], beats: int, gap: Fraction) -> Program:
    return Program.of((beats, Firing(pops, pushes, 1, gap)))


def _interval(words: int, rate: Fraction | None) -> Fraction:
    return Fraction(1) if rate is None else max(Fraction(1), Fraction(words) / rate)

"""Hold what may be chosen of a design: widths, the order of rows, what is fused, FIFOs, places.

Each field is a knob that published designs turn. LightMamba (arXiv 2502.15260) is, with its
computation reordering, `order="heads"` against `order="graph"`; with its fine-grained tiling and
fusion, `fused=True, fifos="waiting"` against `fused=False, fifos="whole"`.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, get_args

from cosim.design.plan import MAIN_PLACES, PLACES, Place, Unit
from cosim.design.workload import Turns, Workload, turns_of
from cosim.ir.errors import UserError

Order = Literal["graph", "waited", "heads"]
Fifos = Literal["waiting", "whole"]
Sharing = Literal["shared", "separate"]
DEFAULT_WINDOW = 512
DECODE = Workload()
# A FIFO that only decouples two units; as many places as one LUT makes a shift register of.
SHALLOW_BEATS = 32


@dataclass(frozen=True)
class Lanes:
    """Hold the widths of a design.

    `rows` x `columns` products of the matrix unit a cycle, elements a cycle of the state unit and
    of every chain, beats of weights that are fetched ahead.
    """

    rows: int
    columns: int
    state: int
    chain: int
    prefetch: int


@dataclass(frozen=True)
class Choices:
    """Hold the choices of a design; raise UserError where one is not to be had.

    lanes
        The widths of all units by kind.
    units
        Units whose width is given, whatever `lanes` says of their kind.
    order
        The order of rows in a projection. `graph`: as they stand. `waited`: what a recurrence waits
        for first, small pieces before large ones. `heads`: so too, but the last such piece (x) and
        the rest (z) alternate head by head.
    fused
        Whether operators that step alike share a pipeline. Without, each has a unit of its own, and
        what lies between them goes through FIFOs; only the loop of a state stays in one unit.
    fifos
        `waiting`: a FIFO holds its whole value where its taker waits for others, else
        `shallow_beats`. `whole`: every FIFO holds the whole value, and an unfused state update its
        two products.
    depths
        Beats of single FIFOs by name, whatever the rule says; `state.in` and `state.out` are those
        between the memory and the state unit, which hold a layer's states where none is given;
        `window.in`, `window.out` and `constants.UNIT` those of windows and constants off chip. Of a
        FIFO that is spilt it is the depth at either end.
    matrix
        One matrix unit for all projections in static order (`shared`), or one for each
        (`separate`), all as wide.
    places
        Where weights, states, the embedding, constants of layers, windows of convolutions and
        sequences between segments live, as pairs; the last three may be left out, which means on
        chip. None: on chip where there is room.
    spills
        FIFOs, by name, whose beats go through the memory: only `shallow_beats` at either end stand
        on chip.
    workload
        What the design is made for: it keeps the states of `workload.batch` sequences.
    tile
        Tokens of a prompt, or sequences of a batch, that share each fetch of weights.
    tiles
        Tiles of a prompt that a unit does one after another before it goes on to its next task, so
        that one is multiplied while another is in the recurrence; each fetches its own weights.
    window
        The longest run, in tokens, of a model that is not causal.
    """

    lanes: Lanes
    units: tuple[Unit, ...] = ()
    order: Order = "waited"
    fused: bool = True
    fifos: Fifos = "waiting"
    shallow_beats: int = SHALLOW_BEATS
    depths: tuple[tuple[str, int], ...] = ()
    matrix: Sharing = "shared"
    places: tuple[tuple[str, Place], ...] | None = None
    spills: tuple[str, ...] = ()
    workload: Workload = DECODE
    tile: int = 1
    tiles: int = 1
    window: int = DEFAULT_WINDOW

    def __post_init__(self) -> None:
        """Refuse words that mean nothing here."""
        words = (("order", Order), ("fifos", Fifos), ("matrix", Sharing))
        for name, known in words:
            if getattr(self, name) not in get_args(known):
                raise UserError(
                    f"choices: {name} {getattr(self, name)!r} is unknown; choose one of "
                    f"{', '.join(get_args(known))}"
                )
        for name in ("shallow_beats", "tile", "tiles", "window"):
            if getattr(self, name) < 1:
                raise UserError(f"choices: {name} {getattr(self, name)} must be at least 1")
        names = [name for name, _ in self.places or ()]
        fine = len(set(names)) == len(names) and set(MAIN_PLACES) <= set(names) <= set(PLACES)
        if self.places is not None and not fine:
            raise UserError(
                f"choices: places {names} must be given for {', '.join(MAIN_PLACES)}, and may be "
                f"for {', '.join(PLACES[len(MAIN_PLACES) :])}"
            )

    @property
    def turns(self) -> Turns:
        """Return the turns in which the workload is done."""
        return turns_of(self.workload, self.tile, self.tiles)

    @property
    def passes(self) -> int:
        """Return the most passes that may be under way in one turn: what FIFOs that wait hold."""
        return max(self.workload.batch, self.tile * self.tiles if self.workload.is_prompt else 1)

    @property
    def tiles_held(self) -> int:
        """Return the tiles of a turn, of a prompt or of a token of every sequence."""
        return max(self.tiles if self.workload.is_prompt else 1,
                   -(-self.workload.batch // self.tile))  # fmt: skip

    @property
    def shares_weights(self) -> bool:
        """Tell whether passes share fetches of weights; not where these are on chip."""
        return self.tile > 1 and dict(self.places or ()).get("weights") == "memory"

    @property
    def state_moves(self) -> Fraction:
        """Return how often a token's pass reads, and writes, states that live off chip."""
        return self.turns.turns if self.workload.is_prompt else Fraction(1)

    @property
    def constant_moves(self) -> Fraction:
        """Return how often a token's pass reads the constants of layers, where they are off chip.

        Passes of a turn share them: they stay on chip from the first one to the last.
        """
        return self.turns.turns

    @property
    def keeps_constants(self) -> bool:
        """Tell whether a layer's constants stay on chip through a turn, for all its passes."""
        return self.passes > 1

    @property
    def keeps_states(self) -> bool:
        """Tell whether a state stays on chip through a turn: its tokens are those of a prompt."""
        return self.workload.is_prompt and self.tile * self.tiles > 1

    def text(self) -> str:
        """Print in a few words.

        >>> Choices(Lanes(8, 8, 8, 8, 64)).text()
        'rows as waited for, operators fused, FIFOs whole where their taker waits'
        """
        order = {"graph": "as in the graph", "waited": "as waited for", "heads": "head by head"}
        fifos = "whole where their taker waits" if self.fifos == "waiting" else "whole"
        words = [
            f"rows {order[self.order]}",
            "operators fused" if self.fused else "a unit per operator",
            f"FIFOs {fifos}",
        ]
        if self.depths:
            words[-1] += f", {len(self.depths)} of given depth"
        if self.spills:
            words[-1] += f", {len(self.spills)} of them spilt"
        if self.matrix == "separate":
            words.append("a matrix unit per projection")
        if self.workload != DECODE:
            words.append(f"for {self.workload.text()}")
        if self.tile * self.tiles > 1:
            words.append(f"tiles of {self.tile}, {self.tiles} a turn")
        return ", ".join(words)

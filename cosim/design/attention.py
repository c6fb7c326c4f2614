"""Say in which rows an attention unit keeps keys and values, scores them, and lets results out.

Glossary (H query heads, G key heads, `share` = H / G, D channels, N places, tiles of T places):
    chunk   the channels that a row takes of a key, of its value, and of `share` queries:
            `lanes` / `share` of D
    writes  G x chunks rows: each brings a chunk of queries in, and of the token's key and value
            into its place of the cache
    pass    one key head's keys, chunk by chunk, places in order; each row scores a chunk, and adds
            a chunk of the value that came a tile before
A tile's weights need the largest of its scores, so that values run T x chunks rows behind keys, one
pass behind the other. With the last key of a pass come its results, in the order key head, channel,
query head.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cosim.design.plan import Task, Unit
from cosim.design.rows import Flow, Rows, lay_rows
from cosim.design.sketch import SketchNode
from cosim.design.tasks import Skeleton
from cosim.ir.errors import UserError
from cosim.ops import Attend, CacheWrite, Divide

# The sums of a tile are added to those before while as many rows go by.
LEAST_TILE_ROWS = 3


@dataclass(frozen=True)
class AttentionShape:
    """Hold the sizes of an attention task and the width of its unit; raise where it has no rows."""

    task: str
    heads: int
    groups: int
    channels: int
    places: int
    tile: int
    lanes: int

    def __post_init__(self) -> None:
        """Refuse lanes and tiles that the rows could not be cut into."""
        if self.lanes % self.share or self.channels % (self.lanes // self.share):
            raise UserError(
                f"task {self.task}: {self.lanes} lanes do not divide {self.share} heads of "
                f"{self.channels} channels; give a multiple of {self.share} that divides "
                f"{self.share * self.channels}"
            )
        if self.places % self.tile or self.tile * self.chunks < LEAST_TILE_ROWS:
            raise UserError(
                f"task {self.task}: a cache of {self.places} places in tiles of {self.tile}, of "
                f"{self.chunks} rows a place; give a tile that divides the places and has "
                f"{LEAST_TILE_ROWS} rows at least"
            )

    @property
    def share(self) -> int:
        """Return the query heads that read one key head."""
        return self.heads // self.groups

    @property
    def chunk(self) -> int:
        """Return the channels of a row."""
        return self.lanes // self.share

    @property
    def chunks(self) -> int:
        """Return the rows of a key."""
        return self.channels // self.chunk

    @property
    def writes(self) -> int:
        """Return the rows that bring the token's query, key and value in."""
        return self.groups * self.chunks

    @property
    def pass_rows(self) -> int:
        """Return the rows of one key head's keys."""
        return self.places * self.chunks

    @property
    def lag(self) -> int:
        """Return how many rows values run behind keys."""
        return self.tile * self.chunks

    @property
    def steps(self) -> int:
        """Return the rows of a token that are not only loads."""
        return self.writes + self.groups * self.pass_rows + self.lag


def attends(node: SketchNode) -> bool:
    """Tell whether an attention unit carries a node."""
    return isinstance(node.op, Attend | CacheWrite | Divide)


def attention_shape(skeleton: Skeleton, task: Task, unit: Unit) -> AttentionShape:
    """Return the shape of an attention task; raise UserError where its unit cannot do it."""
    sketch = skeleton.sketch
    nodes = [sketch.node(n) for n in task.nodes]
    node = next((n for n in nodes if isinstance(n.op, Attend)), None)
    if node is None or sum(isinstance(n.op, Attend) for n in nodes) > 1:
        raise UserError(f"task {task.name}: an attention unit has one attend, not {task.nodes}")
    op = node.op
    assert isinstance(op, Attend)
    q, keys, values = (sketch.types[n] for n in node.inputs[:3])
    if not op.causal or keys.shape != values.shape or not isinstance(nodes[-1].op, Divide):
        raise UserError(
            f"task {task.name}: an attention unit takes causal masks, keys and values of one "
            f"shape, and divides at the end; got {op}, {keys}, {values} and {nodes[-1].op}"
        )
    return AttentionShape(
        task.name, q.shape[0], keys.shape[1], q.shape[1], keys.shape[0], op.tile, unit.lanes
    )


def widest_lanes(skeleton: Skeleton, most: int) -> int:
    """Return the most lanes up to `most`, or the fewest there are, that all its tasks allow."""
    found = 0
    for task in skeleton.tasks:
        node = next((n for n in map(skeleton.sketch.by_name.get, task.nodes)
                     if n is not None and isinstance(n.op, Attend)), None)  # fmt: skip
        if node is None:
            continue
        q, keys = (skeleton.sketch.types[n] for n in node.inputs[:2])
        share, channels = q.shape[0] // keys.shape[1], q.shape[1]
        fits = [share * d for d in range(1, channels + 1) if channels % d == 0]
        own = max((n for n in fits if n <= most), default=fits[0])
        found = min(found, own) if found else own
    return found or 1


def written_rows(flow: Flow, shape: AttentionShape) -> Rows:
    """Lay the rows that bring a token in: loads and writes."""
    ends = (np.arange(shape.writes) + 1) * shape.chunk - 1
    needs = {f.channel: flow.passage(f).beats_by(ends, f.beat) for f in flow.into}
    return lay_rows(shape.writes, needs, [])


def attention_rows(flow: Flow, shape: AttentionShape) -> Rows:
    """Lay the rows of a token: those that bring it in, then passes, with the beats that leave."""
    head = written_rows(flow, shape)
    passes = shape.groups * shape.pass_rows + shape.lag
    quiet = np.zeros(passes, bool)
    pushes: dict[str, np.ndarray] = {}
    for emission in flow.emissions(shape.lanes):
        group, chunk = emission.steps // shape.chunks, emission.steps % shape.chunks
        at = (group + 1) * shape.pass_rows + shape.lag - shape.chunks + chunk
        for name, carried in emission.goes_to.items():
            leaves = quiet.copy()
            leaves[at[carried]] = True
            pushes[name] = np.concatenate([np.zeros(head.is_step.size, bool), leaves])
    pops = {n: np.concatenate([flags, quiet]) for n, flags in head.pops.items()}
    return Rows(pops, pushes, np.concatenate([head.is_step, ~quiet]))

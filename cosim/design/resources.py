"""Count the DSP, BRAM and URAM of a design's parts, and its memories of LUTs.

DSPs and blocks are counted, as the maker's tools pack them. LUT and FF of units are estimated
before synthesis by `cosim/design/fitted.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from functools import lru_cache
from math import prod

from cosim.design.choices import Choices
from cosim.design.drawn import drawn_constants, window_bits
from cosim.design.features import LUTRAM_DEPTH, TABLES
from cosim.design.plan import Fifo, Place, Task, Unit
from cosim.design.sketch import STAR, Sketch, SketchNode
from cosim.design.tasks import Skeleton, starred
from cosim.design.wires import block_length, span_shape
from cosim.machine import Logic, Machine
from cosim.machine.blocks import bram_blocks, uram_blocks
from cosim.ops import Linear, Quantize

NAMES = ("lut", "ff", "dsp", "bram", "uram")
Resources = Counter[str]
FFS_PER_LUT = 1.2  # derived: LightMamba has 130k FF and 107k LUT (arXiv 2502.15260)
TOP_LUTS = 8000  # assumed: control, stream switches, bus interface


def memory_blocks(width_bits: int, depth: int, machine: Machine) -> Resources:
    """Return the blocks of a memory `width_bits` wide and `depth` deep, whichever is scarcer less.

    Shallow memories are made of LUTs; the shapes of blocks are in `cosim/machine/blocks.py`.
    """
    name, count = _blocks(width_bits, depth, machine.logic)
    return Counter({name: count}) if count else Counter()


@lru_cache(maxsize=1 << 16)
def _blocks(width_bits: int, depth: int, logic: Logic) -> tuple[str, int]:
    if width_bits < 1 or depth < 1:
        return "lut", 0
    if depth <= LUTRAM_DEPTH:
        return "lut", width_bits
    brams = bram_blocks(width_bits, depth, logic.family)
    if logic.urams:
        urams = uram_blocks(width_bits, depth, logic.family)
        if urams / logic.urams < brams / max(logic.brams, 1):
            return "uram", urams
    return "bram", brams


def mac_dsps(lanes: int, weight_bits: int, act_bits: int, machine: Machine, dsps: int) -> int:
    """Return in how many of at most `dsps` DSPs `lanes` multiply-accumulates are put.

    The rest are made of LUTs: see `products_in_luts`.
    """
    return min(dsps, -(-lanes // _macs_per_dsp(weight_bits, act_bits, machine)))


def products_in_luts(
    lanes: int, weight_bits: int, act_bits: int, machine: Machine, dsps: int
) -> int:
    """Return how many of the multiply-accumulates `dsps` DSPs leave for LUTs."""
    return max(lanes - dsps * _macs_per_dsp(weight_bits, act_bits, machine), 0)


def _macs_per_dsp(weight_bits: int, act_bits: int, machine: Machine) -> int:
    small = weight_bits <= 4 and act_bits <= 4
    return machine.logic.int4_macs_per_dsp if small else machine.logic.int8_macs_per_dsp


def chain_cost(
    skeleton: Skeleton, task: Task, unit: Unit, machine: Machine, products_held: bool = False
) -> Resources:
    """Return the blocks of a task's tables and delay memories.

    `products_held`: an update keeps its two products (decay times state, input times B) whole.
    """
    key = ("chain", task, unit.lanes, machine.logic, products_held)
    found = skeleton.known.get(key)
    if not isinstance(found, Counter):
        found = _chain_cost(skeleton, task, unit, machine, products_held)
        skeleton.known[key] = found
    return found


def _chain_cost(
    skeleton: Skeleton, task: Task, unit: Unit, machine: Machine, products_held: bool
) -> Resources:
    total: Resources = Counter()
    sketch = skeleton.sketch
    for name in task.nodes:
        node = sketch.node(name)
        if isinstance(node.op, Linear):
            continue
        if products_held and node.op.name == "decay_update":
            type_ = sketch.types[node.name]
            beats = -(-type_.size // unit.lanes)
            for _product in ("decay times state", "input times B"):
                total += memory_blocks(unit.lanes * type_.dtype.bits, beats, machine)
        length = _buffered(sketch, node)
        if length > unit.lanes:
            bits = sketch.types[node.inputs[0]].dtype.bits
            total += blocks(unit.lanes * bits, 2 * -(-length // unit.lanes), machine)
        for k in TABLES.get(node.op.name, ()):
            # Two lanes share the two ports of a copy of the table.
            type_ = sketch.types[node.inputs[k]]
            copies = -(-unit.lanes // 2)
            one = blocks(type_.dtype.bits, type_.size, machine)
            total += Counter({k: v * copies for k, v in one.items()})
    return +total


def blocks(width_bits: int, depth: int, machine: Machine) -> Resources:
    """Return the BRAMs or URAMs of a memory; none where it is of LUTs: a unit's fit has these."""
    return Counter(
        {n: c for n, c in memory_blocks(width_bits, depth, machine).items() if n != "lut"}
    )


def _buffered(sketch: Sketch, node: SketchNode) -> int:
    if isinstance(node.op, Quantize):
        return node.op.group
    return block_length(sketch, node)


def fifo_cost(fifo: Fifo, machine: Machine) -> Resources:
    """Return the blocks of a FIFO; of one that is spilt, those at its maker's end."""
    return blocks(fifo.width_bits, fifo.places_on_chip, machine)


def stored_cost(
    skeleton: Skeleton,
    units: Mapping[str, Unit],
    places: Mapping[str, Place],
    machine: Machine,
    choices: Choices,
) -> Resources:
    """Return the blocks of constants and states that are on chip, for all layers.

    Every one of a batch of sequences has states and windows of its own. Of constants that live off
    chip, one layer's stay where they are needed again, by later steps or passes; of windows, one
    layer's through the tokens of a prompt.
    Weights and the embedding have memories of their own; tables are counted with their chains.
    """
    # A matrix unit's memories are counted with it.
    lanes = tuple(units[t.unit].lanes for t in skeleton.tasks if units[t.unit].kind != "matrix")
    batch = choices.workload.batch
    where = tuple(places.get(name, "chip") for name in ("states", "constants", "windows"))
    holds = choices.keeps_constants, choices.keeps_states
    key = ("stored", skeleton.tasks, lanes, where, holds, machine.logic, batch)
    found = skeleton.known.get(key)
    if not isinstance(found, Counter):
        found = _stored_cost(skeleton, units, where, holds, machine, batch)
        skeleton.known[key] = found
    return found


def _stored_cost(
    skeleton: Skeleton,
    units: Mapping[str, Unit],
    places: tuple[Place, ...],
    holds: tuple[bool, bool],
    machine: Machine,
    batch: int,
) -> Resources:
    sketch, total = skeleton.sketch, Counter[str]()
    states, constants, windows = places
    keeps_constants, keeps_windows = holds
    seen: set[str] = set()
    # By unit and operand, all layers behind one another: words, and the width of a word.
    memories: dict[tuple[str, str, int], list[int]] = {}
    for task in skeleton.tasks:
        drawn = {d.operand: d.again for d in drawn_constants(skeleton, task)}
        drawn = drawn if constants == "memory" else {}
        away = windows == "memory" and window_bits(skeleton, task) > 0
        for name in task.nodes:
            node = sketch.node(name)
            if isinstance(node.op, Linear) or node.op.name in {"embed", *TABLES}:
                continue
            for operand in node.inputs:
                if operand not in sketch.stored or operand in seen:
                    continue
                seen.add(operand)
                type_ = sketch.types[operand]
                decaying = operand in sketch.states and skeleton.kind(task) == "state"
                if decaying and states == "memory":
                    continue
                if operand in drawn and not (drawn[operand] or keeps_constants):
                    continue
                is_window = away and operand in sketch.states
                if is_window and not keeps_windows:
                    continue
                # What all layers share, such as the table of a norm, is stored once.
                own = task.part == "block" and operand.startswith(STAR)
                turns = (sketch.layers if own else 1) * (batch if operand in sketch.states else 1)
                turns = 1 if operand in drawn or is_window else turns
                size = type_.size
                if type_.size > prod(span_shape(sketch, node)):
                    # A window: all its taps of a lane are read at once.
                    wide = type_.size // prod(span_shape(sketch, node))
                else:
                    wide = 1
                lanes = min(units[task.unit].lanes, size)
                width = lanes * wide * type_.dtype.bits
                key = task.unit, starred(operand), turns
                kept = memories.setdefault(key, [0, 0])
                kept[0] += turns * -(-size // (lanes * wide))
                kept[1] = max(kept[1], width)
    for depth, width in memories.values():
        total += blocks(width, depth, machine)
    return total

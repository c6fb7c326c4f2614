"""Estimate the LUT, FF, DSP, BRAM and URAM of a design.

Every cost is an estimate before synthesis: derived from the published module figures of LightMamba
(8 lanes each: DTA 1643 LUT, DBU 1341, DTB_QUANT 3532, DAH 1211, 8 DSP each; its README) or
assumed. Fitting them to synthesis is left to the wires.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import prod

from cosim.design.plan import Fifo, Place, Task, Unit
from cosim.design.sketch import STAR, Sketch, SketchNode
from cosim.design.tasks import Skeleton, starred
from cosim.design.wires import block_length, span_shape
from cosim.machine import Logic, Machine
from cosim.machine.blocks import bram_blocks, uram_blocks
from cosim.ops import Hadamard, Linear, Quantize
from cosim.ops.hadamard import split_order

NAMES = ("lut", "ff", "dsp", "bram", "uram")
Resources = Counter[str]


@dataclass(frozen=True)
class Cost:
    """Hold what one lane of an operator takes, and where the figure comes from."""

    luts: int
    dsps: int
    source: str


LIGHTMAMBA = "derived: a lane of LightMamba's"
LANE_COSTS: dict[str, Cost] = {
    "add": Cost(64, 0, "assumed: a 32-bit adder and the saturation"),
    "argmax": Cost(64, 0, "assumed: a 32-bit comparator and the index"),
    "center": Cost(160, 1, "assumed: as a product with rounding"),
    "clip": Cost(32, 0, "assumed: two comparators of 16 bits"),
    "contract": Cost(60, 1, "assumed: a product and its share of the adder tree"),
    "decay_update": Cost(320, 2, f"{LIGHTMAMBA} DAH and DBU: 151 and 168 LUT, a DSP each"),
    "dequantize": Cost(60, 0, "assumed: a shifter of 24 bits"),
    "group_read": Cost(340, 1, "assumed: as group_shift, quantize and contract together"),
    "group_scale": Cost(140, 0, f"{LIGHTMAMBA} DTB_QUANT less its product, half of it"),
    "group_shift": Cost(140, 0, f"{LIGHTMAMBA} DTB_QUANT less its product, half of it"),
    "mul": Cost(160, 1, f"{LIGHTMAMBA} DBU and DAH: 168 and 151 LUT, one DSP"),
    "mul_shift": Cost(160, 1, f"{LIGHTMAMBA} DBU and DAH: 168 and 151 LUT, one DSP"),
    "pwl": Cost(160, 1, "assumed: as a product with rounding; tables apart"),
    "pwl_log": Cost(240, 1, "assumed: as pwl, with a leading-one detector"),
    "push": Cost(8, 0, "assumed: addressing"),
    "quantize": Cost(140, 0, f"{LIGHTMAMBA} DTB_QUANT less its product, half of it"),
    "requant": Cost(100, 0, "assumed: a shifter of 32 bits, rounding, saturation"),
    "rescale": Cost(160, 1, f"{LIGHTMAMBA} DBU and DAH"),
    "rms_norm": Cost(240, 3, "assumed: a square, two products with rounding"),
    "rms_table": Cost(240, 3, "assumed: as rms_norm; its table apart"),
    "shift_decay": Cost(215, 1, f"{LIGHTMAMBA} DAH, 151 LUT and a DSP, and an adder"),
    "step_table": Cost(60, 0, "assumed: a subtraction, clamps and a shifter; tables apart"),
    "truncate": Cost(32, 0, "assumed: two comparators"),
}
# Their constants are tables, one copy for every two lanes.
TABLES = ("pwl", "pwl_log", "step_table")
FIR_LUTS_PER_TAP = 30  # assumed: a product of 8 bits packed into half a DSP, and an adder
FFS_PER_LUT = 1.2  # derived: LightMamba has 130k FF and 107k LUT (arXiv 2502.15260)
TOP_LUTS = 8000  # assumed: control, stream switches, bus interface
LUTRAM_DEPTH = 64  # one LUT6 stores 64 bits


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


def mac_cost(lanes: int, weight_bits: int, act_bits: int, machine: Machine, dsps: int) -> Resources:
    """Return what `lanes` multiply-accumulates take, in at most `dsps` DSPs and the rest in LUTs.

    A multiplier of LUTs takes about one per bit of its partial products; each lane has its share
    of the adder tree (assumed).
    """
    small = weight_bits <= 4 and act_bits <= 4
    per_dsp = machine.logic.int4_macs_per_dsp if small else machine.logic.int8_macs_per_dsp
    used = min(dsps, -(-lanes // per_dsp))
    in_luts = max(lanes - used * per_dsp, 0)
    tree = weight_bits + act_bits
    return Counter(dsp=used, lut=lanes * tree + in_luts * weight_bits * act_bits)


def chain_cost(
    skeleton: Skeleton, task: Task, unit: Unit, machine: Machine, products_held: bool = False
) -> Resources:
    """Return what the operators of a task take, with their tables and delay memories.

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
        total += _lanes(sketch, node, unit.lanes)
        if products_held and node.op.name == "decay_update":
            type_ = sketch.types[node.name]
            beats = -(-type_.size // unit.lanes)
            for _product in ("decay times state", "input times B"):
                total += memory_blocks(unit.lanes * type_.dtype.bits, beats, machine)
        length = _buffered(sketch, node)
        if length > unit.lanes:
            bits = sketch.types[node.inputs[0]].dtype.bits
            total += memory_blocks(unit.lanes * bits, 2 * -(-length // unit.lanes), machine)
        for table in node.inputs[1:] if node.op.name in TABLES else ():
            # Two lanes share the two ports of a copy of the table.
            type_ = sketch.types[table]
            copies = -(-unit.lanes // 2)
            one = memory_blocks(type_.dtype.bits, type_.size, machine)
            total += Counter({k: v * copies for k, v in one.items()})
    return total


def _buffered(sketch: Sketch, node: SketchNode) -> int:
    if isinstance(node.op, Quantize):
        return node.op.group
    return block_length(sketch, node)


def _lanes(sketch: Sketch, node: SketchNode, lanes: int) -> Resources:
    op = node.op
    if isinstance(op, Hadamard):
        base, power = split_order(op.order)
        adders = power.bit_length() - 1 + base - 1
        return Counter(lut=lanes * adders * sketch.types[node.name].dtype.bits)
    if op.name in {"fir", "shift_fir"}:
        taps = sketch.types[node.inputs[0]].shape[0]
        return Counter(lut=lanes * taps * FIR_LUTS_PER_TAP, dsp=lanes * -(-taps // 2))
    if op.name == "embed" or isinstance(op, Linear):
        return Counter()
    cost = LANE_COSTS[op.name]
    return Counter(lut=lanes * cost.luts, dsp=lanes * cost.dsps)


def fifo_cost(fifo: Fifo, machine: Machine) -> Resources:
    """Return what a FIFO takes."""
    return memory_blocks(fifo.width_bits, fifo.depth, machine)


def stored_cost(
    skeleton: Skeleton,
    units: Mapping[str, Unit],
    places: Mapping[str, Place],
    machine: Machine,
    batch: int = 1,
) -> Resources:
    """Return the memories of constants and states that are on chip, for all layers.

    Every one of `batch` sequences has states and windows of its own.
    Weights and the embedding have memories of their own; tables are counted with their chains.
    """
    # A matrix unit's memories are counted with it.
    lanes = tuple(units[t.unit].lanes for t in skeleton.tasks if units[t.unit].kind != "matrix")
    key = ("stored", skeleton.tasks, lanes, places["states"], machine.logic, batch)
    found = skeleton.known.get(key)
    if not isinstance(found, Counter):
        found = _stored_cost(skeleton, units, places, machine, batch)
        skeleton.known[key] = found
    return found


def _stored_cost(
    skeleton: Skeleton,
    units: Mapping[str, Unit],
    places: Mapping[str, Place],
    machine: Machine,
    batch: int,
) -> Resources:
    sketch, total = skeleton.sketch, Counter[str]()
    seen: set[str] = set()
    # By unit and operand, all layers behind one another: words, and the width of a word.
    memories: dict[tuple[str, str, int], list[int]] = {}
    for task in skeleton.tasks:
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
                if decaying and places["states"] == "memory":
                    continue
                # What all layers share, such as the table of a norm, is stored once.
                own = task.part == "block" and operand.startswith(STAR)
                turns = (sketch.layers if own else 1) * (batch if operand in sketch.states else 1)
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
        total += memory_blocks(width, depth, machine)
    return total

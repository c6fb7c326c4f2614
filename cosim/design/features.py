"""Say what of a unit costs logic: amounts that LUT and FF counts are fitted to, and their range.

Glossary:
    amount  what a cost is proportional to, such as the bits of all adders of a unit
    fact    a plain number of the unit, such as its lanes: a fit is good where its sample had such
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod

from cosim.design.kinds import tree_stages
from cosim.design.plan import Fifo, Task, Unit
from cosim.design.shapes import LinearShape
from cosim.design.sketch import Sketch, SketchNode
from cosim.design.tasks import Skeleton
from cosim.design.wires import span_shape
from cosim.ir.types import TensorType, smallest_type
from cosim.machine.blocks import HALF_BRAM, fewest
from cosim.ops import GroupScale, GroupShift, Hadamard, Quantize
from cosim.ops.hadamard import split_order

# For budgets, deeper memories are blocks; one LUT6 stores 64 bits.
LUTRAM_DEPTH = 64
# yosys 0.70 chooses by cost (share/xilinx/lutrams_xcu.txt, brams_xc4v.txt): 14 bits of 32 words of
# LUTs cost 16 and multiplexers behind them half a point a bit (assumed), 18 Kib of BRAM 129; a bit
# of a ROM of LUTs a 64th.
LUTRAM_COST, MUX_COST, HALF_BRAM_COST, ROM_COST = 16 / 14, 0.5, 129, 1 / 64
# Operators with a shift that may differ by element or layer, and which operand it is.
SHIFTS = {"requant": 1, "mul": 2, "rescale": 2}
# Operators with tables, and which operands these are.
TABLES = {"pwl": (1, 2), "pwl_log": (1, 2), "step_table": (1, 2)}
# Above this many bits, beats that are kept stand in a memory (rtl/units/store.py).
KEPT_REGISTER_BITS = 4096


@dataclass(frozen=True)
class Size:
    """Hold the amounts of a unit, and of each fact the least and the most."""

    amounts: Counter[str] = field(default_factory=Counter)
    facts: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    def beside(self, other: Size) -> Size:
        """Return the size of both together."""
        return Size(self.amounts + other.amounts, _spanning(self.facts, other.facts))

    def instead(self, other: Size) -> Size:
        """Return the size of hardware that can be either: of each amount the larger."""
        return Size(self.amounts | other.amounts, _spanning(self.facts, other.facts))


def task_size(skeleton: Skeleton, task: Task, unit: Unit) -> Size:
    """Return the size of what a task needs in its unit, apart from FIFOs; not of a matrix unit."""
    key = ("size", task, unit.lanes)
    found = skeleton.known.get(key)
    if not isinstance(found, Size):
        found = _task_size(skeleton, task, unit)
        skeleton.known[key] = found
    return found


def _task_size(skeleton: Skeleton, task: Task, unit: Unit) -> Size:
    sketch, lanes = skeleton.sketch, min(unit.lanes, max(task.span, 1))
    amounts: Counter[str] = Counter()
    facts: dict[str, tuple[int, int]] = {"lanes": (unit.lanes, unit.lanes)}
    for name in task.nodes:
        node = sketch.node(name)
        amounts += _node(sketch, node, lanes)
        facts = dict(_spanning(facts, _facts(sketch, node)))
        amounts += _stored(sketch, node, lanes)
    for root in skeleton.reads(task):
        type_ = sketch.types[root]
        amounts["taken"] += lanes * type_.dtype.bits
        if task.nodes and type_.size < task.span:
            # Elements that are used again and again: kept, and chosen from.
            kept = type_.size * type_.dtype.bits
            if kept <= KEPT_REGISTER_BITS:
                amounts["kept"] += kept
    return Size(+amounts, facts)


def _node(sketch: Sketch, node: SketchNode, lanes: int) -> Counter[str]:
    """Return the amounts of an operator in so many lanes."""
    op, out = node.op, sketch.types[node.name]
    into = sketch.types[node.inputs[0]]
    if op.name == "embed":
        return Counter()
    if isinstance(op, Hadamard):
        base, power = split_order(op.order)
        bits = _bits(out)
        return Counter(
            butterflies=lanes * tree_stages(power) * bits,
            base=lanes * (base - 1) * bits,
            block=op.order * bits,
        )
    if op.name in {"fir", "shift_fir"}:
        taps = into.shape[0]
        return Counter(
            {op.name: lanes * taps * (_bits(into) + _bits(sketch.types[node.inputs[1]]))}
        )
    if op.name in SHIFTS:
        return _rescaled(sketch, node, lanes)
    # Bits that go in and out, and are held in each of the operator's stages.
    found = Counter({op.name: lanes * (_bits(into) + _bits(out))})
    if isinstance(op, GroupScale | GroupShift):
        found["codes"] = max(1, lanes // op.group) * _bits(into)
    if isinstance(op, Quantize) and op.group > lanes:
        found["waiting"] = op.group * _bits(into)
    return found


def _rescaled(sketch: Sketch, node: SketchNode, lanes: int) -> Counter[str]:
    """Return the amounts of an operator that ends in a shift, a rounding and a saturation."""
    types = [sketch.types[n] for n in node.inputs]
    by, out = types[SHIFTS[node.op.name]], _bits(sketch.types[node.name])
    factors = types[: SHIFTS[node.op.name]]
    wide = sum(_bits(t) for t in factors)
    # What the least shift leaves; a shift to the left by a constant adds no bits that change.
    left = max(1, wide - max(by.lo, 0))
    held = left + min(out, wide if by.hi <= 0 else out)
    if len(factors) > 1:
        held += 2 * wide
    found = Counter({node.op.name: lanes * held})
    if by.lo < by.hi:
        # As many levels of multiplexers as distances ask for.
        found["shift"] = lanes * left * (by.hi - by.lo).bit_length()
    return found


def _stored(sketch: Sketch, node: SketchNode, lanes: int) -> Counter[str]:
    """Return the amounts of a node's constants and states."""
    found: Counter[str] = Counter()
    for k, operand in enumerate(node.inputs):
        if operand not in sketch.stored:
            continue
        type_ = sketch.types[operand]
        if operand in sketch.states:
            wide = max(1, type_.size // prod(span_shape(sketch, node)))
            found["states"] += lanes * wide * _bits(type_)
        elif k in TABLES.get(node.op.name, ()):
            found["tables"] += lanes * _bits(type_)
        elif type_.lo < type_.hi and node.op.name != "embed":
            words = sketch.layers * max(1, -(-type_.size // lanes))
            across = min(lanes, type_.size) * _bits(type_)
            if across * words * ROM_COST < HALF_BRAM_COST * fewest(across, words, HALF_BRAM):
                found["constants"] += max(1, across * words // LUTRAM_DEPTH)
            else:
                found["looked_up"] += across
    return found


def _facts(sketch: Sketch, node: SketchNode) -> dict[str, tuple[int, int]]:
    """Return the facts of an operator."""
    bits = [_bits(sketch.types[n]) for n in (*node.inputs, node.name)]
    found = {"bits": (max(bits), max(bits))}
    if isinstance(node.op, Hadamard):
        base, power = split_order(node.op.order)
        found |= {
            "order": (node.op.order,) * 2,
            "base": (base, base),
            "butterflies": (power, power),
        }
    if node.op.name in {"fir", "shift_fir"}:
        taps = sketch.types[node.inputs[0]].shape[0]
        found["taps"] = (taps, taps)
    return found


def in_luts(width_bits: int, depth: int) -> bool:
    """Tell whether yosys makes a memory with a port to write and one to read of LUTs.

    >>> in_luts(48, 96), in_luts(64, 96), in_luts(36, 512)
    (True, False, False)
    """
    deep = -(-depth // 32)
    cost = width_bits * (LUTRAM_COST * deep + MUX_COST * (deep - 1))
    return cost < HALF_BRAM_COST * fewest(width_bits, depth, HALF_BRAM)


def fifos_size(fifos: Sequence[Fifo], by_tool: bool) -> Size:
    """Return the size of a unit's FIFOs: counters, registers, and places that are of LUTs.

    `by_tool`: where yosys has these; else, as for budgets, those of shallow FIFOs.
    """
    amounts: Counter[str] = Counter()
    facts: dict[str, tuple[int, int]] = {}
    beats: dict[str, int] = {}
    for fifo in fifos:
        width, depth = fifo.width_bits, fifo.places_on_chip
        shallow = in_luts(width, depth) if by_tool else depth <= LUTRAM_DEPTH
        amounts["fifos"] += 1
        amounts["counted"] += 3 * depth.bit_length()
        amounts["read"] += width
        amounts["places"] += width * -(-depth // 32) if shallow and depth > 1 else 0
        beats[fifo.value] = width
        low, high = facts.get("fifo_depth", (depth, depth))
        facts["fifo_depth"] = min(low, depth), max(high, depth)
    # What goes past a FIFO is the same beat for all that hold one value.
    amounts["passed"] = sum(beats.values())
    return Size(+amounts, facts)


def taken_size(fifos: Sequence[Fifo], wide: int) -> Size:
    """Return what a unit that steps by `wide` elements keeps of beats of other widths."""
    own = (max(f.beat, wide) * (f.width_bits // f.beat) for f in fifos if f.beat != wide)
    return Size(+Counter(realigned=sum(own)))


def matrix_size(
    shapes: Iterable[tuple[LinearShape, int]], unit: Unit, in_luts: int, blocks: int, streamed: bool
) -> Size:
    """Return the size of a matrix unit that serves some linear layers, apart from its FIFOs.

    `in_luts` of its products are made of LUTs; each row has `blocks` sums with a scale of their own
    a step.
    """
    listed = [s for s, _ in shapes]
    weight, act = max(s.weight_bits for s in listed), max(s.act_bits for s in listed)
    sums = max(s.sum_bits for s in listed)
    products = unit.lanes * unit.columns
    amounts = Counter(
        in_luts=in_luts * weight * act,
        trees=products * (weight + act),
        scaled=unit.lanes * blocks * sums,
        sums=unit.lanes * sums,
        inputs=unit.columns * act,
        weights=products * weight,
    )
    if streamed:
        amounts["stream"] = products * weight
    facts = {
        name: (value, value)
        for name, value in (
            ("rows", unit.lanes), ("columns", unit.columns), ("products", products),
            ("weight_bits", weight), ("input_bits", act), ("sum_bits", sums), ("blocks", blocks),
        )
    }  # fmt: skip
    return Size(+amounts, facts)


def _bits(type_: TensorType) -> int:
    """Return the bits that the bounds of a value ask for."""
    return smallest_type(type_.lo, type_.hi).bits


def _spanning(
    a: Mapping[str, tuple[int, int]], b: Mapping[str, tuple[int, int]]
) -> Mapping[str, tuple[int, int]]:
    return {
        name: (
            min(m[name][0] for m in (a, b) if name in m),
            max(m[name][1] for m in (a, b) if name in m),
        )
        for name in sorted({*a, *b})
    }  # fmt: skip

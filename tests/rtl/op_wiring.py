"""Build an operator's wires and hold them against the operator's own meaning."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyrtl
import z3

from cosim.ir.numerics import saturate
from cosim.ir.op import Op
from cosim.ir.types import TensorType, signed_bits
from rtl.netlist import building
from rtl.numerics import constant, of_bits, to_bits
from rtl.ops import WIRES
from rtl.ops.lanes import Table, lanes
from rtl.pipe import COMBINATIONAL, Pipe, latest
from rtl.prove import Proof, prove, signed_value, terms_of
from rtl.streams import drive
from rtl.symbolic import Symbols
from tests.rtl.wiring import decode

# Operands that are looked up.
TABLES = {
    "pwl": (1, 2), "pwl_log": (1, 2), "embed": (1,), "step_table": (1, 2), "rms_table": (1,),
    "turn": (2, 3),
}  # fmt: skip


@dataclass(frozen=True)
class Built:
    """Hold a block, the type of its result, the stages it takes, and which operands vary."""

    block: object
    op: Op
    types: tuple[TensorType, ...]
    fixed: Mapping[int, np.ndarray]
    out: TensorType
    stages: int


def result_type(op: Op, types: Sequence[TensorType]) -> TensorType:
    """Return what a graph would hold: the inferred bounds, clipped where the operator saturates."""
    raw = op.infer(types)
    if not op.saturates:
        return raw
    ends = (min(max(b, raw.dtype.lo), raw.dtype.hi) for b in (raw.lo, raw.hi))
    return TensorType(raw.dtype, raw.shape, *ends)


def build(
    op: Op, types: Sequence[TensorType], fixed: Mapping[int, np.ndarray], pipe: Pipe
) -> Built:
    """Build an operator; operands in `fixed` are constants, tables where it looks them up."""
    tables = TABLES.get(op.name, ())
    out = result_type(op, types)
    with building() as block:
        operands = []
        for k, t in enumerate(types):
            if k in tables:
                operands.append(Table(fixed[k]))
            elif k in fixed:
                operands.append(lanes([constant(int(v)) for v in fixed[k].reshape(-1)], t.shape))
            else:
                wires = [pyrtl.Input(t.dtype.bits, f"i{k}_{n}") for n in range(t.size)]
                operands.append(lanes([of_bits(w, t) for w in wires], t.shape))
        result = WIRES[op.name](op, operands, out, pipe)
        assert result.shape == out.shape
        for n, value in enumerate(result.reshape(-1)):
            drive(pyrtl.Output(out.dtype.bits, f"o{n}"), to_bits(value, out.dtype))
    stages = latest(list(result.reshape(-1))) or 0
    assert all(v.at in (stages, None) for v in result.reshape(-1)), "results of several stages"
    return Built(block, op, tuple(types), fixed, out, stages)


def meaning(built: Built, arrays: Sequence[np.ndarray]) -> np.ndarray:
    """Return the operator's own integers."""
    value = built.op.meaning(*arrays)
    return saturate(value, built.out.dtype) if built.op.saturates else value


def run(built: Built, tokens: Sequence[Sequence[np.ndarray]], pipe: Pipe) -> np.ndarray:
    """Return the results of tokens that follow each other cycle by cycle."""
    simulation = pyrtl.FastSimulation(tracer=None, block=built.block)
    late = built.stages if pipe.registers else 0
    found = []
    for now in range(len(tokens) + late):
        token = tokens[min(now, len(tokens) - 1)]
        words = {}
        for k, t in enumerate(built.types):
            if k not in built.fixed:
                mask = (1 << t.dtype.bits) - 1
                words |= {f"i{k}_{n}": int(v) & mask for n, v in enumerate(token[k].reshape(-1))}
        simulation.step(words)
        if now >= late:
            size = built.out.size
            row = [decode(simulation.inspect(f"o{n}"), built.out.dtype) for n in range(size)]
            found.append(np.array(row).reshape(built.out.shape))
    return np.array(found)


def check(
    op: Op, types: Sequence[TensorType], fixed: Mapping[int, np.ndarray] | None = None,
    tokens: Sequence[Sequence[np.ndarray]] | None = None, seed: int = 0, count: int = 12,
) -> int:  # fmt: skip
    """Demand the meaning of the wires, in one cycle and in a pipeline; return the stages.

    Without tokens given: corners, ends and random values inside the types' bounds.
    """
    fixed = fixed or {}
    rng = np.random.default_rng(seed)
    if tokens is None:
        tokens = [
            [fixed[k] if k in fixed else draw(rng, t, n) for k, t in enumerate(types)]
            for n in range(count)
        ]
    stages = 0
    for pipe in (COMBINATIONAL, Pipe()):
        built = build(op, types, fixed, pipe)
        want = np.array([meaning(built, token) for token in tokens])
        got = run(built, tokens, pipe)
        assert got.tolist() == want.tolist(), f"{op} on {[str(t) for t in types]}"
        stages = built.stages
    return stages


def draw(rng: np.random.Generator, t: TensorType, number: int) -> np.ndarray:
    """Draw one operand: all low, all high, zeros where they may be, corners, then random values."""
    if number < 2:
        return np.full(t.shape, (t.lo, t.hi)[number])
    if number == 2:
        return np.full(t.shape, min(max(0, t.lo), t.hi))
    if number < 5:
        return np.where(rng.integers(2, size=t.shape) == 1, t.hi, t.lo)
    if number % 2:
        near = rng.integers(-3, 4, size=t.shape)
        return np.clip(near, t.lo, t.hi)
    return np.asarray(rng.integers(t.lo, t.hi, t.shape, endpoint=True))


def prove_op(
    op: Op, types: Sequence[TensorType], fixed: Mapping[int, np.ndarray] | None = None,
    limit_s: float = 60,
) -> Proof:  # fmt: skip
    """Prove for every input that the wires give the operator's meaning."""
    fixed = fixed or {}
    built = build(op, types, fixed, COMBINATIONAL)
    peak = op.peak(types)
    widest = max(t.dtype.bits for t in (*types, built.out))
    bits = max(signed_bits(-peak - 1, peak + 1), widest + 1)
    names, operands, facts = {}, [], []
    for k, t in enumerate(types):
        if k in fixed:
            operands.append(Symbols.of(fixed[k], bits))
            continue
        own = [z3.BitVec(f"i{k}_{n}", t.dtype.bits) for n in range(t.size)]
        names |= {str(v): v for v in own}
        wide = [signed_value(v, bits, t.dtype.signed) for v in own]
        facts += [z3.And(w >= t.lo, w <= t.hi) for w in wide]
        array = np.empty(t.size, dtype=object)
        array[:] = wide
        operands.append(Symbols(array.reshape(t.shape), bits))
    value = op.meaning(*operands)
    want = (saturate(value, built.out.dtype) if op.saturates else value).data.reshape(-1)
    terms = terms_of(built.block, names)
    signed = built.out.dtype.signed
    wide = max(bits, built.out.dtype.bits + 1)
    got = [signed_value(terms[f"o{n}"], wide, signed) for n in range(built.out.size)]
    return prove(facts, got, [signed_value(w, wide, True) for w in want], names, limit_s)

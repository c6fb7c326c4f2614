"""Change a recipe by options behind its name, such as `w4a4+rotate-bc+qronos`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from cosim.ir.errors import UserError
from quant.formats import ActFormat, StateFormat
from quant.lower.spike import SpikeForm
from quant.passes.draft import Pass
from quant.passes.lower_graph import LowerGraph
from quant.passes.quantise_weights import QuantiseWeights, Rounding
from quant.passes.rotate_online import RotateState
from quant.passes.spike import SpikeLimited, SpikeLinears
from quant.weights import ScaleKind

Passes = tuple[Pass, ...]
Change = Callable[[Passes], Passes]
COUNT_BITS = 16


def _rotate_bc(passes: Passes) -> Passes:
    at = next(k for k, p in enumerate(passes) if isinstance(p, QuantiseWeights))
    return (*passes[:at], RotateState(), *passes[at:])


def _rounding(rounding: Rounding) -> Change:
    return lambda passes: tuple(
        replace(p, rounding=rounding) if isinstance(p, QuantiseWeights) else p for p in passes
    )


def _scale(scale: ScaleKind) -> Change:
    def change(p: Pass) -> Pass:
        if not isinstance(p, QuantiseWeights):
            return p
        kinds = tuple((kind, replace(fmt, scale=scale)) for kind, fmt in p.kinds)
        return replace(p, default=replace(p.default, scale=scale), kinds=kinds)

    return lambda passes: tuple(change(p) for p in passes)


def _state(state: StateFormat) -> Change:
    def change(p: Pass) -> Pass:
        if not isinstance(p, LowerGraph):
            return p
        return replace(p, ssm=replace(p.ssm, state=state, channel_state=state))

    return lambda passes: tuple(change(p) for p in passes)


def _threshold(divisor: float) -> Change:
    """Give every linear layer counts of mean|x| / divisor, wide enough not to saturate."""

    def change(p: Pass) -> Pass:
        if not isinstance(p, LowerGraph):
            return p
        acts = (p.act, *(a for _, a in p.kinds))
        wide = [ActFormat(COUNT_BITS, threshold_divisor=divisor) for _ in acts]
        kinds = tuple((kind, a) for (kind, _), a in zip(p.kinds, wide[1:], strict=True))
        return replace(p, act=wide[0], kinds=kinds)

    return lambda passes: tuple(change(p) for p in passes)


def _spikes(coding: str, steps: int = 0) -> Change:
    spike = SpikeLimited if steps else SpikeLinears
    return lambda passes: (*passes, spike(SpikeForm(coding, steps)))


def _attention(**fields: int) -> Change:
    def change(p: Pass) -> Pass:
        if not isinstance(p, LowerGraph):
            return p
        return replace(p, attention=replace(p.attention, **fields))

    return lambda passes: tuple(change(p) for p in passes)


CONTEXTS = (256, 1024, 4096)
# name: (what it is, the change, what it chooses: of these, one)
OPTIONS: dict[str, tuple[str, Change, str]] = {
    "rotate-bc": ("rotate B and C along the state axis (Mamba-2)", _rotate_bc, "rotation"),
    "nearest": ("weights rounded to nearest", _rounding("nearest"), "rounding"),
    "gptq": ("weights rounded by GPTQ", _rounding("gptq"), "rounding"),
    "qronos": ("weights rounded by Qronos", _rounding("qronos"), "rounding"),
    "pot": ("weight scales are powers of two", _scale("pot"), "scales"),
    "two-term": ("weight scales are sums of two powers of two", _scale("two_term"), "scales"),
    "integer": ("weight scales have integer multipliers", _scale("integer"), "scales"),
    "state8": ("states of 8 bits, a power of two per group", _state("int8 group"), "states"),
    "state16": ("states of 16 bits", _state("int16"), "states"),
    "state24": ("states of 24 bits", _state("int24"), "states"),
    "cache4": ("keys and values of 4 bits", _attention(key_bits=4, value_bits=4), "caches"),
    "cache6": ("keys and values of 6 bits", _attention(key_bits=6, value_bits=6), "caches"),
    "keys4": ("keys of 4 bits, values of 8", _attention(key_bits=4), "caches"),
    "values4": ("keys of 8 bits, values of 4", _attention(value_bits=4), "caches"),
    "query12": ("queries of 12 bits", _attention(query_bits=12), "queries"),
    "threshold3": (
        "one scale a token, the power of two nearest to mean|x| / 3 (SpikingBrain's k)",
        _threshold(3.0),
        "activation scales",
    ),
    "spikes": ("linear inputs as signed bits over time", _spikes("sign_magnitude"), "spikes"),
    "spikes-twos": ("as bits of two's complement", _spikes("twos_complement"), "spikes"),
    "spikes-rate": ("as trains of signed spikes", _spikes("rate_signed"), "spikes"),
    **{
        f"context{n}": (f"a cache of at most {n} tokens", _attention(context=n), "context")
        for n in CONTEXTS
    },
} | {
    f"spikes-t{t}": (f"as signed bits in {t} time steps", _spikes("sign_magnitude", t), "spikes")
    for t in range(2, 8)
}


def changed(name: str, passes: Passes, options: list[str]) -> Passes:
    """Return the passes with the options of a recipe's name; raise UserError for wrong ones."""
    chosen: dict[str, str] = {}
    for option in options:
        if option not in OPTIONS:
            raise UserError(
                f"recipe {name!r}: no option {option!r}; there are {', '.join(OPTIONS)}"
            )
        _, change, what = OPTIONS[option]
        if what in chosen:
            raise UserError(
                f"recipe {name!r}: {chosen[what]!r} and {option!r} both choose the {what}; keep one"
            )
        chosen[what] = option
        if not any(isinstance(p, LowerGraph) for p in passes):
            raise UserError(
                f"recipe {name!r}: options change our own recipes only; give the name without them"
            )
        passes = change(passes)
    return passes

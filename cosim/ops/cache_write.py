"""Write a token's row into a ring of the last N: place p mod N of a cache becomes the row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from cosim.ir.numerics import Array, namespace
from cosim.ir.op import Op, Types
from cosim.ir.types import TensorType
from cosim.ir.work import Work


@dataclass(frozen=True)
class CacheWrite(Op):
    """Replace one row; inputs cache [N, ...], row [...] of its type, position []."""

    name: ClassVar[str] = "cache_write"

    def infer(self, inputs: Types) -> TensorType:
        """Require one type, and a position from 0 on."""
        cache, row, position = inputs
        fits = cache.shape[1:] == row.shape and cache.dtype == row.dtype and cache.shape
        if not fits or position.shape != () or position.lo < 0:
            raise self.refuse(
                "expected cache [N,...], row [...] of its type and position [] from 0 on, got "
                f"{cache}, {row} and {position}"
            )
        lo, hi = min(cache.lo, row.lo), max(cache.hi, row.hi)
        return TensorType(cache.dtype, cache.shape, lo, hi)

    def meaning(self, *inputs: Array) -> Array:
        """Keep every row but the one of the position."""
        cache, row, position = inputs
        xp = namespace(cache)
        axes = cache.ndim - 1 - position.ndim
        n = cache.shape[position.ndim]
        places = xp.arange(n, dtype=cache.dtype, device=cache.device)
        hit = xp.remainder(position, n)[..., None] == places
        hit = xp.reshape(hit, (*hit.shape, *(1,) * axes))
        return xp.where(hit, xp.expand_dims(row, axis=-axes - 1), cache)

    def peak(self, inputs: Types) -> int:
        """Bound the values and the places."""
        return max(*(t.peak for t in inputs), inputs[0].shape[0])

    def work(self, inputs: Types, out: TensorType) -> Work:
        """Write one row."""
        _, row, position = inputs
        return Work(
            in_bits=row.size_bits + position.size_bits,
            out_bits=out.size_bits,
            state_write_bits=row.size_bits,
        )

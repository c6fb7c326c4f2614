"""Find a token's adaptive threshold, the power of two nearest to mean|x| / k, without a divider.

Glossary:
    x  [K]   fixed-point inputs of a linear layer
    k        `divisor`; SpikingBrain's default is 3 (arXiv 2509.05276, section 3.3)
    a        sum |x|, exact
    v        round(a m / 2^s) with m / 2^s next to sqrt(2) / (K k): sqrt(2) mean|x| / k
    e  [1]   bit_length(v - 1) - 1, not below 0: v lies in (2^e, 2^(e+1)]
2^e is the power of two nearest to mean|x| / k by ratio: the mean lies between 2^(e - 1/2) and
2^(e + 1/2), up to the rounding of v and of m. A neuron with this threshold, comparator >= and an
initial potential of half a threshold fires round-half-up(x / 2^e) times: that is `quantize`.
The neuron's sum needs as many bits as a: log2(K) more than x.
"""

from __future__ import annotations

from math import floor, log2, sqrt

import numpy as np

from cosim.ir.types import i
from cosim.ops import Contract, GroupShift, Rescale, Reshape, StepTable
from quant.lower.emit import Emitter, Fx

RATIO_BITS = 15
MOST_SHIFT = 31


def threshold_of(em: Emitter, name: str, x: Fx, divisor: float) -> Fx:
    """Emit the exponent of the threshold of x [K]; a silent token has threshold 1."""
    size = em.type(x).shape[0]
    minus_plus, none = (
        em.small(f"{name}.signs", np.array([-1, 1])),
        em.small(f"{name}.none", np.array([0])),
    )
    sign = em.node(f"{name}.sign", StepTable(-1, 0, 0), [x.name, minus_plus, none], 0)
    total = em.node(f"{name}.sum", Contract(), [x.name, sign.name], x.uniform)
    vector = em.node(f"{name}.total", Reshape((), (1,)), [total.name], x.uniform)
    ratio = sqrt(2) / (size * divisor)
    shift = RATIO_BITS - 1 - floor(log2(ratio))
    m = em.small(f"{name}.ratio", np.array([round(ratio * 2.0**shift)]))
    s = em.small(f"{name}.ratio.shift", np.array([shift]))
    mean = em.node(f"{name}.mean", Rescale(i(32)), [vector.name, m, s], x.uniform)
    return em.node(name, GroupShift(1, 2, MOST_SHIFT), [mean.name], 0)

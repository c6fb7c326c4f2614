"""The operators: one per file, listed by name in one plain dict."""

from __future__ import annotations

from cosim.ir.op import Op
from cosim.ops.add import Add
from cosim.ops.argmax import Argmax
from cosim.ops.argmax_attend import ArgmaxAttend
from cosim.ops.attend import Attend
from cosim.ops.cache_write import CacheWrite
from cosim.ops.center import Center
from cosim.ops.clip import Clip
from cosim.ops.concat import Concat
from cosim.ops.contract import Contract
from cosim.ops.count import Count
from cosim.ops.decay_update import DecayUpdate
from cosim.ops.dequantize import Dequantize
from cosim.ops.divide import Divide
from cosim.ops.embed import Embed
from cosim.ops.fir import Fir
from cosim.ops.fire import Fire
from cosim.ops.group_read import GroupRead
from cosim.ops.group_scale import GroupScale
from cosim.ops.group_shift import GroupShift
from cosim.ops.hadamard import Hadamard
from cosim.ops.leak import Leak
from cosim.ops.linear import Linear
from cosim.ops.mul import Mul
from cosim.ops.mul_shift import MulShift
from cosim.ops.push import Push
from cosim.ops.pwl import Pwl
from cosim.ops.pwl_log import PwlLog
from cosim.ops.quantize import Quantize
from cosim.ops.relu_attend import ReluAttend
from cosim.ops.requant import Requant
from cosim.ops.rescale import Rescale
from cosim.ops.reshape import Reshape
from cosim.ops.rms_norm import RmsNorm
from cosim.ops.rms_table import RmsTable
from cosim.ops.rope import Rope
from cosim.ops.shift_decay import ShiftDecay
from cosim.ops.shift_fir import ShiftFir
from cosim.ops.slice import Slice
from cosim.ops.spike_encode import SpikeEncode
from cosim.ops.spike_linear import SpikeLinear
from cosim.ops.spread import Spread
from cosim.ops.step_table import StepTable
from cosim.ops.transpose import Transpose
from cosim.ops.truncate import Truncate
from cosim.ops.turn import Turn
from cosim.ops.wkv import Wkv

ALL: tuple[type[Op], ...] = (
    Add,
    Argmax,
    ArgmaxAttend,
    Attend,
    CacheWrite,
    Center,
    Clip,
    Concat,
    Contract,
    Count,
    DecayUpdate,
    Dequantize,
    Divide,
    Embed,
    Fir,
    Fire,
    GroupRead,
    GroupScale,
    GroupShift,
    Hadamard,
    Leak,
    Linear,
    Mul,
    MulShift,
    Push,
    Pwl,
    PwlLog,
    Quantize,
    ReluAttend,
    Requant,
    Rescale,
    Reshape,
    RmsNorm,
    RmsTable,
    Rope,
    ShiftDecay,
    ShiftFir,
    Slice,
    SpikeEncode,
    SpikeLinear,
    Spread,
    StepTable,
    Transpose,
    Truncate,
    Turn,
    Wkv,
)
OPS: dict[str, type[Op]] = {op.name: op for op in ALL}

__all__ = [
    "ALL",
    "OPS",
    "Add",
    "Argmax",
    "ArgmaxAttend",
    "Attend",
    "CacheWrite",
    "Center",
    "Clip",
    "Concat",
    "Contract",
    "Count",
    "DecayUpdate",
    "Dequantize",
    "Divide",
    "Embed",
    "Fir",
    "Fire",
    "GroupRead",
    "GroupScale",
    "GroupShift",
    "Hadamard",
    "Leak",
    "Linear",
    "Mul",
    "MulShift",
    "Push",
    "Pwl",
    "PwlLog",
    "Quantize",
    "ReluAttend",
    "Requant",
    "Rescale",
    "Reshape",
    "RmsNorm",
    "RmsTable",
    "Rope",
    "ShiftDecay",
    "ShiftFir",
    "Slice",
    "SpikeEncode",
    "SpikeLinear",
    "Spread",
    "StepTable",
    "Transpose",
    "Truncate",
    "Turn",
    "Wkv",
]

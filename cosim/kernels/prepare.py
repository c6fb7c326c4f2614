"""List the compiled kernels: operator -> how to prepare one for a node."""

from __future__ import annotations

from collections.abc import Callable

from cosim.ir.graph import Graph, Node
from cosim.ir.op import Op, Types
from cosim.ir.types import TensorType
from cosim.kernels.elementwise import prepare_add, prepare_product, prepare_requant
from cosim.kernels.filter import prepare_fir
from cosim.kernels.groups import prepare_argmax, prepare_group_scale, prepare_quantize
from cosim.kernels.norm import prepare_rms_norm
from cosim.kernels.rotate import prepare_hadamard
from cosim.kernels.rows import Data, Kernel
from cosim.kernels.shifts import (
    prepare_group_read,
    prepare_group_shift,
    prepare_mul_shift,
    prepare_shift_decay,
)
from cosim.kernels.tables import prepare_embed, prepare_pwl, prepare_pwl_log
from cosim.kernels.views import prepare_reshape, prepare_slice
from cosim.ops.add import Add
from cosim.ops.argmax import Argmax
from cosim.ops.embed import Embed
from cosim.ops.fir import Fir
from cosim.ops.group_read import GroupRead
from cosim.ops.group_scale import GroupScale
from cosim.ops.group_shift import GroupShift
from cosim.ops.hadamard import Hadamard
from cosim.ops.mul import Mul
from cosim.ops.mul_shift import MulShift
from cosim.ops.pwl import Pwl
from cosim.ops.pwl_log import PwlLog
from cosim.ops.quantize import Quantize
from cosim.ops.requant import Requant
from cosim.ops.rescale import Rescale
from cosim.ops.reshape import Reshape
from cosim.ops.rms_norm import RmsNorm
from cosim.ops.shift_decay import ShiftDecay
from cosim.ops.slice import Slice

Prepare = Callable[[Op, Types, TensorType, Data], Kernel | None]

KERNELS: dict[type[Op], Prepare] = {
    Add: prepare_add,
    Argmax: prepare_argmax,
    Embed: prepare_embed,
    Fir: prepare_fir,
    GroupRead: prepare_group_read,
    GroupScale: prepare_group_scale,
    GroupShift: prepare_group_shift,
    Hadamard: prepare_hadamard,
    Mul: prepare_product,
    MulShift: prepare_mul_shift,
    Pwl: prepare_pwl,
    PwlLog: prepare_pwl_log,
    Quantize: prepare_quantize,
    Requant: prepare_requant,
    Rescale: prepare_product,
    Reshape: prepare_reshape,
    RmsNorm: prepare_rms_norm,
    ShiftDecay: prepare_shift_decay,
    Slice: prepare_slice,
}


def prepare(graph: Graph, node: Node) -> Kernel | None:
    """Prepare the compiled kernel of a node; None where the operator's meaning must run."""
    found = KERNELS.get(type(node.op))
    if found is None or all(name in graph.tensors for name in node.inputs):
        return None
    data = [graph.tensors.get(name) for name in node.inputs]
    return found(node.op, graph.input_types(node), graph.types[node.name], data)

"""Lower a draft to its integer graph."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from torch import Tensor

from cosim.ir.errors import UserError
from cosim.ir.model import Model
from quant.calibrate import explain, measure_ranges
from quant.family import FloatModel
from quant.formats import ActFormat, AttentionFormat, SsmFormat
from quant.lower import bert, bimamba, llama, mamba, mamba2, rwkv4, rwkv5
from quant.lower.source import Source
from quant.models.bert import Bert
from quant.models.bimamba import BiMamba
from quant.models.llama import Llama
from quant.models.mamba import Mamba
from quant.models.mamba2 import Mamba2
from quant.models.rwkv4 import Rwkv4
from quant.models.rwkv5 import Rwkv5
from quant.passes.draft import Draft, Pass
from quant.rotation_check import check_rotations

LOWERINGS: dict[type, Callable[[str, Source[Any]], Model]] = {
    Mamba: mamba.lower,
    Mamba2: mamba2.lower,
    BiMamba: bimamba.lower,
    Llama: llama.lower,
    Bert: bert.lower,
    Rwkv4: rwkv4.lower,
    Rwkv5: rwkv5.lower,
}


def head_order(model: FloatModel) -> int:
    """Return the order of the rotation of a model's heads, 0 if there is none."""
    return model.config.head_dim if isinstance(model, Llama) and model.key_hadamard else 0


@dataclass(frozen=True)
class LowerGraph(Pass):
    """Calibrate every value's range, choose binary points and emit the integer graph."""

    act: ActFormat
    ssm: SsmFormat = SsmFormat()
    kinds: tuple[tuple[str, ActFormat], ...] = field(default=())
    attention: AttentionFormat = AttentionFormat()

    name: ClassVar[str] = "lower"
    keeps_function: ClassVar[bool] = False

    def apply(self, draft: Draft, calibration: Tensor) -> Draft:
        """Emit the graph; raise UserError unless norms are folded and matrices quantised."""
        # A norm behind the residual keeps its weights: the residual has them, too.
        folded = draft.folded or isinstance(draft.model, Bert)
        if not folded or not draft.matrices:
            raise UserError("lower: fold_norms and quantise_weights come first")
        model = draft.model
        ranges = measure_ranges(model, calibration)
        source = Source(
            config=model.config,
            shapes={n: tuple(w.shape) for n, w in model.weights.items()},
            tensors=model.weights,
            matrices=draft.matrices,
            ranges=ranges,
            acts={"default": self.act, **dict(self.kinds)},
            ssm=self.ssm,
            out_hadamard=model.out_hadamard,
            state_hadamard=isinstance(model, Mamba2) and model.state_hadamard,
            basis=draft.basis,
            head_order=head_order(model),
            attention=self.attention,
        )
        try:
            integer = LOWERINGS[type(model)](draft.name, source)
        except UserError as error:
            raise UserError(explain(ranges, str(error))) from None
        check_rotations(integer)
        return replace(draft, integer=integer)

"""Lower random models pass by pass, and measure the integer logits against float ones."""

from torch import Tensor, no_grad

from cosim.torch_exec import TorchExecutor
from quant.evaluate import int_logits
from quant.family import FloatModel, sequence
from quant.formats import ActFormat, SsmFormat
from quant.passes.draft import Draft, Pass
from quant.passes.fold_norms import FoldNorms
from quant.passes.lower_graph import LowerGraph
from quant.passes.quantise_weights import QuantiseWeights
from quant.passes.rotate_online import RotateOut
from quant.passes.rotate_residual import RotateResidual
from quant.quantise import relative_error
from quant.weights import WeightFormat

WIDE = SsmFormat(
    conv_bits=16,
    channel_conv_bits=16,
    tap_bits=16,
    operand_bits=16,
    state="int24",
    channel_state="int24",
    embed_bits=16,
)
ROTATIONS = (RotateResidual(), RotateOut())
EIGHT = WeightFormat(8)


def lowered(
    model: FloatModel, passes: tuple[Pass, ...], weights: WeightFormat, act: ActFormat,
    ssm: SsmFormat, tokens: Tensor,
) -> Draft:  # fmt: skip
    """Return the draft after folding, the passes given, quantising and lowering."""
    draft = Draft("x", model)
    for step in (FoldNorms(), *passes, QuantiseWeights(weights), LowerGraph(act, ssm)):
        draft = step.apply(draft, tokens)
    return draft


def error(draft: Draft, reference: FloatModel, tokens: Tensor) -> float:
    """Return the relative error of the integer logits against a float model's."""
    with no_grad():
        real = sequence(reference, tokens)
    return relative_error(real, int_logits(TorchExecutor(draft.integer), tokens))

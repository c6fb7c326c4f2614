"""Round the weights of one linear layer by brevitas' GPTQ or Qronos, on scales that we chose.

This is the only file that imports brevitas, and it does so late: the import takes seconds.

Brevitas' usual weight quantisers take their scale from statistics of what they are given. GPTQ and
Qronos give them one column at a time, so the scale becomes that column's own and nothing (per row)
or harm (per tensor) comes of it. Here the scale is a constant, cut to the same columns as the
weight. It may differ from element to element, so groups of columns, ragged ones too, need no
special case.

Shapes: weight [R, K], scale [R, 1] or [R, K], calibration inputs [n, K], codes [R, K].
"""

import warnings
from functools import partial
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn

from cosim.ir.errors import InternalError

Algorithm: TypeAlias = Literal["nearest", "gptq", "qronos"]

_BATCH_ROWS = 1024  # of calibration inputs at a time: bounds their float64 copy
_NUM_BLOCKS = 16  # runs of columns between full updates; the codes do not depend on it, time does


@torch.no_grad()
def round_weights(
    weight: Tensor,
    scale: Tensor,
    bits: int,
    inputs: Tensor,
    algorithm: Algorithm,
    quantised_inputs: Tensor | None = None,
    *,
    symmetric: bool = False,
) -> Tensor:
    """Return int64 codes [R, K] such that `codes * scale` stands for the weight.

    weight [R, K] and scale [R, 1] or [R, K] are float32, the scale positive and never changed.
    Codes lie in -2^(bits-1) .. 2^(bits-1)-1, without the lowest one if `symmetric`.

    `nearest` rounds each weight alone, halves to even. `gptq` (Frantar et al., 2023,
    arXiv 2210.17323) keeps `inputs @ weight.T` for the `inputs` [n, K], the only ones it looks at:
    give it those that the layer will see. `qronos` (Zhang et al., 2025, arXiv 2505.11695) brings
    `quantised_inputs @ codes.T` near to `inputs @ weight.T`, and so also mends what earlier layers
    lost; without `quantised_inputs` it takes `inputs` for both. It learns the loss by heart when
    n is small: on K = 768 columns it lost to gptq with n = 2048 and won with n = 8192.
    Columns that no input reaches are rounded to nearest (brevitas would make them 0).

    Raises InternalError on shapes, types or values that break the above.

    >>> row, step = torch.tensor([[0.9, -2.0, 0.25]]), torch.tensor([[0.5]])
    >>> round_weights(row, step, 3, torch.ones(1, 3), "nearest").tolist()
    [[2, -4, 0]]
    """
    _check_weight(weight, scale, bits)
    nearest = _round_to_nearest(weight, scale, bits, symmetric)
    if algorithm == "nearest":
        return nearest
    if algorithm not in ("gptq", "qronos"):
        raise InternalError(f"round_weights: no algorithm {algorithm!r}; nearest, gptq or qronos.")
    seen = inputs if algorithm == "gptq" or quantised_inputs is None else quantised_inputs
    _check_inputs(inputs, seen, weight)
    reached = (seen != 0).any(0)
    if not reached.any():
        return nearest
    codes = _round_by_brevitas(weight, scale, bits, inputs, seen, algorithm, symmetric)
    return torch.where(reached, codes, nearest)


def _check_weight(weight: Tensor, scale: Tensor, bits: int) -> None:
    """Refuse weights and scales that have no codes."""
    if weight.ndim != 2 or weight.dtype != torch.float32 or scale.dtype != torch.float32:
        raise InternalError(
            f"round_weights: weight {list(weight.shape)} {weight.dtype} and scale {scale.dtype} "
            "must be a float32 matrix and its float32 scales."
        )
    rows, columns = weight.shape
    if list(scale.shape) not in ([rows, 1], [rows, columns]):
        raise InternalError(
            f"round_weights: scale {list(scale.shape)} is neither [{rows}, 1] nor "
            f"[{rows}, {columns}], which the weight asks for; expand group scales to elements."
        )
    if not 2 <= bits <= 16:
        raise InternalError(f"round_weights: {bits} bits; codes of 2 to 16 bits can be made.")
    if not (weight.isfinite().all() and scale.isfinite().all() and (scale > 0).all()):
        raise InternalError("round_weights: weights must be finite and scales finite and positive.")


def _check_inputs(inputs: Tensor, seen: Tensor, weight: Tensor) -> None:
    """Refuse calibration inputs that do not belong to the weight or to each other."""
    if inputs.ndim != 2 or inputs.shape != seen.shape or inputs.shape[1] != weight.shape[1]:
        raise InternalError(
            f"round_weights: inputs {list(inputs.shape)} and quantised inputs {list(seen.shape)} "
            f"must both be [n, {weight.shape[1]}] for a weight {list(weight.shape)}."
        )
    if len(inputs) == 0 or not (inputs.isfinite().all() and seen.isfinite().all()):
        raise InternalError("round_weights: calibration inputs must be there, and finite.")


def _round_to_nearest(weight: Tensor, scale: Tensor, bits: int, symmetric: bool) -> Tensor:
    """Return each weight's own nearest code, halves to even as brevitas does."""
    high = 2 ** (bits - 1) - 1
    return torch.round(weight / scale).clamp(-high if symmetric else -high - 1, high).long()


class _FixedScale(nn.Module):
    """Quantise a weight, or a cut of it, by brevitas' integer quantiser on a constant scale."""

    def __init__(self, int_quant: Any, scale: Tensor, bits: int) -> None:
        super().__init__()
        self.int_quant = int_quant
        self.scale = scale
        self.bits = torch.tensor(float(bits), device=scale.device)
        self.zero_point = torch.tensor(0.0, device=scale.device)
        # Brevitas looks for this name and writes here the bounds it has cut the weight to.
        self.subtensor_slice_list: list[tuple[int, int] | None] = [None]

    def forward(self, weight: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        scale = self._cut_scale()
        values = self.int_quant(scale, self.zero_point, self.bits, weight)
        return values, scale, self.zero_point, self.bits

    def codes(self, weight: Tensor) -> Tensor:
        """Return the whole weight's integers, as they are before the scale is put back."""
        integers: Tensor = self.int_quant.to_int(self.scale, self.zero_point, self.bits, weight)
        return integers

    def _cut_scale(self) -> Tensor:
        """Return the scale of the columns that brevitas asks for now."""
        bounds = self.subtensor_slice_list[-1]
        if bounds is None or self.scale.shape[1] == 1:
            return self.scale
        return self.scale[:, slice(*bounds)]


class _OneLayer(nn.Module):
    """Show a layer the float inputs while brevitas has its quantiser off, the others while on."""

    def __init__(self, linear: Any) -> None:
        super().__init__()
        self.linear = linear

    def forward(self, inputs: Tensor, quantised_inputs: Tensor) -> Tensor:
        quantised = self.linear.weight_quant.is_quant_enabled
        outputs: Tensor = self.linear(quantised_inputs if quantised else inputs)
        return outputs


def _round_by_brevitas(
    weight: Tensor,
    scale: Tensor,
    bits: int,
    inputs: Tensor,
    seen: Tensor,
    algorithm: Algorithm,
    symmetric: bool,
) -> Tensor:
    """Run one of brevitas' algorithms on one layer and read the codes off its quantiser."""
    linear = _build_layer(weight, scale, bits, symmetric)
    model = _OneLayer(linear).eval()
    with _start(model, algorithm) as mode, warnings.catch_warnings():
        for start in range(0, len(inputs), _BATCH_ROWS):
            rows = slice(start, start + _BATCH_ROWS)
            model(inputs[rows].float(), seen[rows].float())
        # With this warning brevitas leaves the weights half done and goes on.
        warnings.filterwarnings("error", message="Failed to compute")
        try:
            mode.update()
        except UserWarning as warning:
            raise InternalError(f"round_weights: brevitas gave {algorithm} up: {warning}") from None
    codes = linear.weight_quant.tensor_quant.codes(linear.weight)
    if not torch.equal(codes * scale, linear.quant_weight()):
        raise InternalError(f"round_weights: {algorithm} changed the scale or left the codes.")
    return codes.long()


def _build_layer(weight: Tensor, scale: Tensor, bits: int, symmetric: bool) -> Any:
    """Return a brevitas `QuantLinear` without bias that holds a copy of weight on our scale."""
    _import_quietly()
    from brevitas.core.function_wrapper import Identity
    from brevitas.core.quant import IntQuant
    from brevitas.inject import ExtendedInjector
    from brevitas.nn import QuantLinear
    from brevitas.proxy import WeightQuantProxyFromInjector

    integers = IntQuant(narrow_range=symmetric, signed=True, input_view_impl=Identity())

    class FixedScaleWeight(ExtendedInjector):
        proxy_class = WeightQuantProxyFromInjector
        tensor_quant = _FixedScale(integers, scale, bits)
        signed = True
        narrow_range = symmetric

    # The layer is born with random weights: they must not move the caller's generator.
    with torch.random.fork_rng(devices=[]):
        linear = QuantLinear(
            weight.shape[1], weight.shape[0], bias=False, weight_quant=FixedScaleWeight
        )
    linear.weight = nn.Parameter(weight.clone(), requires_grad=False)
    linear.weight_quant.skip_create_quant_tensor = True  # nobody asks for more than the values
    return linear


def _start(model: nn.Module, algorithm: Algorithm) -> Any:
    """Return brevitas' context for the algorithm, on the weight's device.

    Covariances are float64: Qronos damps by a millionth of the largest eigenvalue, which float32
    would lose. The columns that carry most go first: that costs nothing, since each element has
    its scale already, and took 5 to 12 % off the squared error on correlated inputs.
    """
    from brevitas.graph.gpfq import gpfq_mode
    from brevitas.graph.gptq import gptq_mode
    from brevitas.graph.qronos import Qronos

    common: dict[str, Any] = {"device": "same", "dtype": torch.float64, "act_order": True}
    if algorithm == "gptq":
        return gptq_mode(model, num_blocks=_NUM_BLOCKS, create_weight_orig=False, **common)
    return gpfq_mode(model, algorithm_impl=partial(Qronos, num_blocks=_NUM_BLOCKS), **common)


def _import_quietly() -> None:
    """Import what we use of brevitas without the two warnings of its own making."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "brevitas.fx is deprecated", DeprecationWarning)
        warnings.filterwarnings("ignore", "fast_hadamard_transform package not found", UserWarning)
        import brevitas.graph.gptq
        import brevitas.graph.qronos  # noqa: F401

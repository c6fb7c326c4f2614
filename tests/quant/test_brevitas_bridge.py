"""GPTQ and Qronos against their definitions, on scales that stay as given."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from cosim.ir.errors import InternalError
from quant import brevitas_bridge
from quant.brevitas_bridge import round_weights

ALGORITHMS = ["nearest", "gptq", "qronos"]


def case(rows: int, columns: int, samples: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Return a weight and two sets of inputs whose columns are correlated and of unequal size."""
    rng = np.random.default_rng(seed)
    decay = np.arange(1, columns + 1)[:, None] ** -0.7
    mix = rng.normal(size=(columns, columns)) * decay
    inputs = rng.normal(size=(2 * samples, columns)) @ mix
    weight = rng.normal(size=(rows, columns))
    made = [torch.tensor(part, dtype=torch.float32) for part in (weight, *np.split(inputs, 2))]
    return made[0], made[1], made[2]


def noisy(inputs: Tensor, seed: int = 1, share: float = 0.05) -> Tensor:
    """Return the inputs as a quantised network might give them, `share` of their size off."""
    noise = np.random.default_rng(seed).normal(size=tuple(inputs.shape)) * float(inputs.std())
    return inputs + share * torch.tensor(noise, dtype=torch.float32)


def row_scale(weight: Tensor, bits: int) -> Tensor:
    return weight.abs().amax(1, keepdim=True) / (2 ** (bits - 1) - 1)


def group_scale(weight: Tensor, bits: int, width: int) -> Tensor:
    """Return a scale per row and group of `width` columns, the last group as ragged as it comes."""
    groups = weight.split(width, dim=1)
    return torch.cat([row_scale(part, bits).expand_as(part) for part in groups], 1)


def lost(weight: Tensor, codes: Tensor, scale: Tensor, inputs: Tensor, seen: Tensor) -> float:
    """Return the squared error of the outputs, over the squared outputs."""
    wanted = inputs @ weight.T
    return float((wanted - seen @ (codes * scale).T).square().sum() / wanted.square().sum())


def quantise(column: np.ndarray, scale: np.ndarray, bits: int) -> np.ndarray:
    return np.clip(np.rint(column / scale), -(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def gptq_by_definition(weight: Tensor, scale: Tensor, bits: int, inputs: Tensor) -> np.ndarray:
    """Fix a column, then move the others to where the squared output error is least, and so on.

    Each step solves its own normal equations; brevitas takes all from one Cholesky factor. The
    damping (1 % of the mean diagonal) pulls toward the current weights.
    """
    w, s, x = (part.double().numpy().copy() for part in (weight, scale.expand_as(weight), inputs))
    h = 2 * x.T @ x / len(x)
    order = np.argsort(-np.diag(h), kind="stable")
    h = h + 0.01 * np.diag(h).mean() * np.eye(len(h))
    codes = np.zeros(w.shape, dtype=np.int64)
    for place, k in enumerate(order):
        codes[:, k] = quantise(w[:, k], s[:, k], bits)
        error = w[:, k] - codes[:, k] * s[:, k]
        rest = order[place + 1 :]
        w[:, rest] += np.linalg.solve(h[np.ix_(rest, rest)], h[rest, k][:, None] * error).T
    return codes


def qronos_by_definition(
    weight: Tensor, scale: Tensor, bits: int, inputs: Tensor, seen: Tensor
) -> np.ndarray:
    """Minimise |x w - y v|^2 over the columns not yet fixed, round the next one, and so on.

    Only the first column is found with all others held at w. The damping (a millionth of the
    largest eigenvalue) pulls toward w.
    """
    w, s, x, y = (part.double().numpy() for part in (weight, scale.expand_as(weight), inputs, seen))
    h, g = y.T @ y / len(y), x.T @ y / len(y)
    order = np.argsort(-np.diag(h), kind="stable")
    damp = 1e-6 * np.linalg.eigvalsh(h).max() * np.eye(len(h))
    target = w @ (g + damp)
    codes = np.zeros(w.shape, dtype=np.int64)
    first, others = order[0], order[1:]
    best = (w @ g[:, first] - w[:, others] @ h[others, first]) / h[first, first]
    codes[:, first] = quantise(best, s[:, first], bits)
    for place in range(1, len(order)):
        done, rest = order[:place], order[place:]
        wanted = target[:, rest] - (codes * s)[:, done] @ h[np.ix_(done, rest)]
        v = np.linalg.solve((h + damp)[np.ix_(rest, rest)], wanted.T).T
        codes[:, rest[0]] = quantise(v[:, 0], s[:, rest[0]], bits)
    return codes


def test_nearest_is_plain_rounding():
    weight, inputs, _ = case(30, 40, 8)
    scale = row_scale(weight, 4) / 2  # half of the range is cut off
    expected = np.clip(np.rint(weight.numpy() / scale.numpy()), -8, 7).astype(np.int64)
    codes = round_weights(weight, scale, 4, inputs, "nearest")
    assert codes.dtype == torch.int64
    assert np.array_equal(codes.numpy(), expected)
    symmetric = round_weights(weight, scale, 4, inputs, "nearest", symmetric=True)
    assert np.array_equal(symmetric.numpy(), np.maximum(expected, -7))
    assert (expected == -8).any()


def test_nearest_rounds_halves_to_even():
    weight, one = torch.tensor([[-2.5, -1.5, -0.5, 0.5, 1.5, 2.5]]), torch.ones(1, 1)
    codes = round_weights(weight, one, 4, torch.ones(1, 6), "nearest")
    assert codes.tolist() == [[-2, -2, 0, 0, 2, 2]]


@pytest.mark.parametrize("bits", [3, 4])
@pytest.mark.parametrize(("rows", "columns", "width"), [(7, 16, 16), (20, 45, 32), (16, 192, 128)])
def test_gptq_is_its_definition(rows, columns, width, bits):
    weight, inputs, _ = case(rows, columns, 512)
    weight[:, width:] *= 0.3  # so that the scales of the groups differ
    scale = 0.8 * group_scale(weight, bits, width)  # and some weights are cut off
    codes = round_weights(weight, scale, bits, inputs, "gptq")
    assert np.array_equal(codes.numpy(), gptq_by_definition(weight, scale, bits, inputs))


@pytest.mark.parametrize("bits", [3, 4])
@pytest.mark.parametrize(("rows", "columns", "width"), [(7, 16, 16), (20, 45, 32), (16, 192, 128)])
def test_qronos_is_its_definition(rows, columns, width, bits):
    weight, inputs, _ = case(rows, columns, 512)
    weight[:, width:] *= 0.3
    scale, seen = 0.8 * group_scale(weight, bits, width), noisy(inputs)
    codes = round_weights(weight, scale, bits, inputs, "qronos", seen)
    assert np.array_equal(codes.numpy(), qronos_by_definition(weight, scale, bits, inputs, seen))


@pytest.mark.parametrize("bits", [3, 4])
@pytest.mark.parametrize("width", [192, 128], ids=["per row", "ragged groups"])
def test_less_is_lost_on_inputs_not_seen(bits, width):
    weight, inputs, held_out = case(96, 192, 2048)
    scale = row_scale(weight, bits) if width == 192 else group_scale(weight, bits, width)
    error = {}
    for algorithm in ALGORITHMS:
        codes = round_weights(weight, scale, bits, inputs, algorithm)
        error[algorithm] = lost(weight, codes, scale, held_out, held_out)
    assert error["gptq"] < error["nearest"] / 3
    assert error["qronos"] < error["nearest"] / 3


def test_qronos_mends_what_earlier_layers_lost():
    weight, inputs, held_out = case(48, 64, 4096)
    scale = row_scale(weight, 4)
    seen, later = noisy(inputs, share=0.2), noisy(held_out, seed=2, share=0.2)
    qronos = round_weights(weight, scale, 4, inputs, "qronos", seen)
    gptq = round_weights(weight, scale, 4, seen, "gptq")
    mended = lost(weight, qronos, scale, held_out, later)
    assert mended < 0.95 * lost(weight, gptq, scale, held_out, later)


def test_inputs_that_an_algorithm_does_not_need():
    weight, inputs, _ = case(9, 24, 128)
    scale = row_scale(weight, 3)
    alone = round_weights(weight, scale, 3, inputs, "gptq")
    assert torch.equal(alone, round_weights(weight, scale, 3, inputs, "gptq", noisy(inputs)))
    same = round_weights(weight, scale, 3, inputs, "qronos", inputs)
    assert torch.equal(same, round_weights(weight, scale, 3, inputs, "qronos"))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (7, 16), (3, 2), (5, 33)])
def test_odd_sizes_and_few_samples(rows, columns, algorithm):
    weight, inputs, _ = case(rows, columns, 3)
    codes = round_weights(weight, row_scale(weight, 3) / 2, 3, inputs, algorithm, symmetric=True)
    assert codes.shape == weight.shape
    assert codes.dtype == torch.int64
    assert int(codes.abs().max()) <= 3


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_codes_stand_for_the_weight_on_the_given_scale(algorithm):
    weight, inputs, _ = case(11, 40, 256)
    scale = group_scale(weight, 8, 16)
    before = [part.clone() for part in (weight, scale, inputs)]
    codes = round_weights(weight, scale, 8, inputs, algorithm)
    assert all(map(torch.equal, before, (weight, scale, inputs)))
    # Of the 255 codes no wrong scale would leave errors this small.
    assert lost(weight, codes, scale, inputs, inputs) < 1e-4


@pytest.mark.parametrize("algorithm", ["gptq", "qronos"])
def test_same_codes_twice_and_the_callers_random_numbers_stay(algorithm):
    weight, inputs, _ = case(9, 24, 128)
    scale, state = row_scale(weight, 3), torch.random.get_rng_state()
    first = round_weights(weight, scale, 3, inputs, algorithm, noisy(inputs))
    assert torch.equal(state, torch.random.get_rng_state())
    torch.manual_seed(5)
    assert torch.equal(first, round_weights(weight, scale, 3, inputs, algorithm, noisy(inputs)))


@pytest.mark.parametrize("algorithm", ["gptq", "qronos"])
def test_batches_do_not_matter(algorithm, monkeypatch):
    weight, inputs, _ = case(9, 24, 250)
    scale = row_scale(weight, 3)
    whole = round_weights(weight, scale, 3, inputs, algorithm, noisy(inputs))
    monkeypatch.setattr(brevitas_bridge, "_BATCH_ROWS", 64)
    assert torch.equal(whole, round_weights(weight, scale, 3, inputs, algorithm, noisy(inputs)))


@pytest.mark.parametrize("algorithm", ["gptq", "qronos"])
def test_columns_that_no_input_reaches_are_rounded_to_nearest(algorithm):
    weight, inputs, _ = case(9, 24, 128)
    scale = row_scale(weight, 4)
    nearest = round_weights(weight, scale, 4, inputs, "nearest")
    inputs[:, [3, 10]] = 0
    codes = round_weights(weight, scale, 4, inputs, algorithm)
    assert torch.equal(codes[:, [3, 10]], nearest[:, [3, 10]])
    assert not torch.equal(codes, nearest)
    silent = round_weights(weight, scale, 4, torch.zeros_like(inputs), algorithm)
    assert torch.equal(silent, nearest)


def test_statistics_for_scale_make_gptq_do_nothing():
    """Show the trap that the fixed scale is for; should this fail, brevitas has closed it."""
    weight, inputs, _ = case(24, 48, 512)
    ours = round_weights(weight, row_scale(weight, 3), 3, inputs, "gptq")
    from brevitas.nn import QuantLinear
    from brevitas.quant import Int8WeightPerChannelFloat

    layer = QuantLinear(
        48, 24, bias=False, weight_quant=Int8WeightPerChannelFloat, weight_bit_width=3
    )
    layer.weight = nn.Parameter(weight.clone(), requires_grad=False)
    model = brevitas_bridge._OneLayer(layer).eval()
    with torch.no_grad(), brevitas_bridge._start(model, "gptq") as mode:
        model(inputs, inputs)
        mode.update()
    theirs = layer.quant_weight().int().long()
    nearest = round_weights(weight, row_scale(weight, 3), 3, inputs, "nearest", symmetric=True)
    assert torch.equal(theirs, nearest)
    assert int((ours != nearest).sum()) > ours.numel() // 4


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"scale": torch.ones(4)}, "neither"),
        ({"scale": torch.ones(4, 3)}, "neither"),
        ({"scale": torch.zeros(4, 1)}, "positive"),
        ({"scale": torch.ones(4, 1).double()}, "float32"),
        ({"weight": torch.ones(4, 6).half()}, "float32"),
        ({"weight": torch.full((4, 6), torch.nan)}, "finite"),
        ({"bits": 1}, "1 bits"),
        ({"inputs": torch.ones(5, 7)}, r"must both be \[n, 6\]"),
        ({"quantised_inputs": torch.ones(4, 6)}, r"must both be \[n, 6\]"),
        ({"inputs": torch.ones(0, 6), "quantised_inputs": None}, "be there"),
        ({"inputs": torch.full((5, 6), torch.inf)}, "finite"),
        ({"algorithm": "magic"}, "no algorithm 'magic'"),
    ],
)
def test_what_makes_no_sense_is_refused(change, sentence):
    given = {
        "weight": torch.ones(4, 6),
        "scale": torch.ones(4, 1),
        "bits": 4,
        "inputs": torch.ones(5, 6),
        "algorithm": "qronos",
        "quantised_inputs": torch.ones(5, 6),
    }
    with pytest.raises(InternalError, match=sentence):
        round_weights(**(given | change))


@pytest.mark.parametrize("algorithm", ["gptq", "qronos"])
def test_brevitas_giving_up_is_an_error(algorithm, monkeypatch):
    def fail(*_, **__):
        raise torch.linalg.LinAlgError("not positive definite")

    weight, inputs, _ = case(4, 6, 20)
    monkeypatch.setattr(torch.linalg, "cholesky", fail)
    with pytest.raises(InternalError, match=f"gave {algorithm} up"):
        round_weights(weight, row_scale(weight, 4), 4, inputs, algorithm)


def test_brevitas_is_loaded_late_and_without_its_warnings():
    script = (
        "import sys, torch; from quant.brevitas_bridge import round_weights as r; "
        "one = torch.ones(2, 2); r(one, one, 4, one, 'nearest'); "
        "assert 'brevitas' not in sys.modules; r(one, one, 4, one, 'gptq'); "
        "assert 'brevitas' in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")

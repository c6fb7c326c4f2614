"""Define the RWKV-5.2 that is trained here: the float model of quant/models/rwkv5.py, begun anew.

The initialisation follows BlinkDL/RWKV-LM (RWKV-v5, `generate_init_weight` and RWKV_Tmix): layers
that write the residual begin at 0, decays and mixing run along channels and layers.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from quant.models import rwkv5
from quant.models.rwkv import State, stored_name, stored_shape
from quant.training.byte_model import RecurrentModel

SHIPPED = rwkv5.Config(
    vocab_size=256,
    hidden_size=128,
    attention_hidden_size=128,
    intermediate_size=512,
    num_hidden_layers=4,
    head_size=32,
)
# What writes the residual, or gates what does, begins at 0; small gains keep early states small.
ZERO = ("attention.output", "feed_forward.value", "feed_forward.receptance")
GAINS = {"attention.key": 0.1, "attention.gate": 0.1, "lm_head": 0.5}


class Rwkv5(RecurrentModel[State]):
    """Predict the next byte by an RWKV-5.2."""

    def __init__(self, config: rwkv5.Config = SHIPPED) -> None:
        super().__init__()
        self.config = config
        self._parameters_by_name: dict[str, nn.Parameter] = {}
        for name, shape in rwkv5.weight_shapes(config).items():
            value = nn.Parameter(initial(name, shape, config).reshape(stored_shape(name, shape)))
            self._parameters_by_name[name] = value
            _register(self, stored_name(name), value)

    def forward(self, tokens: Tensor, states: State) -> tuple[Tensor, State]:
        """Return logits [batch, length, vocabulary] and the states after the last token."""
        return rwkv5.advance(self._float_model(), tokens, states)

    def empty_states(self, batch: int) -> State:
        """Return the state before the first token of `batch` sequences."""
        return rwkv5.initial_state(self._float_model(), batch)

    def hugging_face_config(self) -> dict[str, object]:
        """Return the `config.json` of the published format."""
        c = self.config
        return {
            "architectures": ["Rwkv5ForCausalLM"],
            "model_type": "rwkv5",
            "model_version": "5_2",
            "vocab_size": c.vocab_size,
            "hidden_size": c.hidden_size,
            "attention_hidden_size": c.attention_hidden_size,
            "intermediate_size": c.intermediate_size,
            "num_hidden_layers": c.num_hidden_layers,
            "head_size": c.head_size,
            "head_size_divisor": c.head_size_divisor,
            "layer_norm_epsilon": c.layer_norm_epsilon,
            "rescale_every": 0,
            "tie_word_embeddings": False,
            # Bytes have no special tokens.
            "bos_token_id": None,
            "eos_token_id": None,
            "torch_dtype": "float32",
        }

    def _float_model(self) -> rwkv5.Rwkv5:
        shapes = rwkv5.weight_shapes(self.config)
        weights = {n: p.reshape(shapes[n]) for n, p in self._parameters_by_name.items()}
        return rwkv5.Rwkv5(self.config, weights)


def _register(module: nn.Module, name: str, value: nn.Parameter) -> None:
    """Register a parameter under a dotted name, making the modules on the way."""
    head, _, rest = name.partition(".")
    if not rest:
        module.register_parameter(head, value)
        return
    if head not in module._modules:
        module.add_module(head, nn.Module())
    child = module._modules[head]
    assert child is not None
    _register(child, rest, value)


def initial(name: str, shape: tuple[int, ...], config: rwkv5.Config) -> Tensor:
    """Return a weight before training."""
    parts = name.split(".")
    layer = int(parts[2]) if parts[1] == "blocks" else 0
    deep = layer / max(config.num_hidden_layers - 1, 1)
    shallow = 1.0 - layer / config.num_hidden_layers
    at = torch.arange(math.prod(shape)) / max(math.prod(shape) - 1, 1)
    leaf, stem = parts[-1], ".".join(parts[-3:-1])
    if leaf == "time_decay":
        return (-6.0 + 5.0 * at ** (0.7 + 1.3 * deep)).reshape(shape)
    if leaf == "time_faaaa":
        zigzag = ((torch.arange(at.numel()) + 1) % 3 - 1) * 0.1
        return (deep * (1 - at) + zigzag).reshape(shape)
    if leaf.startswith("time_mix"):
        along = torch.arange(math.prod(shape)) / math.prod(shape)
        half = leaf in ("time_mix_receptance", "time_mix_gate") and "attention" in parts
        more = 0.3 * deep if leaf == "time_mix_value" else 0.0
        return along ** (shallow * (0.5 if half else 1.0)) + more
    if len(shape) == 1:
        return torch.zeros(shape) if leaf == "bias" else torch.ones(shape)
    value = torch.empty(shape)
    if "embeddings" in parts:
        return nn.init.uniform_(value, -1e-4, 1e-4)
    if stem in ZERO:
        return nn.init.zeros_(value)
    gain = GAINS.get(stem, GAINS.get(parts[0], 1.0))
    return nn.init.orthogonal_(value, gain * max(shape[0] / shape[1], 1.0) ** 0.5)

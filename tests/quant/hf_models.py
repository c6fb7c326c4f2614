"""Random models of transformers, the yardstick for ours: every parameter is drawn."""

import torch
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    Mamba2Config,
    Mamba2ForCausalLM,
    MambaConfig,
    MambaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedModel,
    RwkvConfig,
    RwkvForCausalLM,
)

# Each entry changes switches of the base below it; sizes are odd on purpose.
MAMBA2_BASE = {
    "vocab_size": 101, "hidden_size": 24, "num_heads": 4, "head_dim": 12, "n_groups": 2,
    "state_size": 5, "num_hidden_layers": 2,
}  # fmt: skip
MAMBA2_CASES = {
    "d_model 96, head_dim 12": {"hidden_size": 96, "num_heads": 16},
    "one group": {"n_groups": 1},
    "a group per head": {"n_groups": 4},
    "conv width 3, no conv bias": {"conv_kernel": 3, "use_conv_bias": False},
    "conv width 1": {"conv_kernel": 1},
    "bias": {"use_bias": True},
    "tied": {"tie_word_embeddings": True, "vocab_size": 67},
    "dt limits": {"time_step_limit": [0.3, 0.9]},
    "dt upper limit": {"time_step_limit": [0.0, 0.5], "n_groups": 1},
    "expand 3": {"expand": 3, "num_heads": 6},
    "expand 1, epsilon": {"expand": 1, "num_heads": 2, "layer_norm_epsilon": 0.3},
    "chunks of 5": {"chunk_size": 5},
    "half residual, ranks": {"residual_in_fp32": False, "time_step_rank": 7, "time_step_max": 0.5},
    "swish": {"hidden_act": "swish", "num_hidden_layers": 1},
    "one head": {"head_dim": 48, "num_heads": 1, "n_groups": 1},
}  # fmt: skip
MAMBA_BASE = {"vocab_size": 101, "hidden_size": 24, "state_size": 5, "num_hidden_layers": 2}
MAMBA_CASES = {
    "d_model 96": {"hidden_size": 96, "num_hidden_layers": 1},
    "untied": {"tie_word_embeddings": False, "vocab_size": 67},
    "rank 7": {"time_step_rank": 7},
    "rank auto of 40": {"hidden_size": 40, "time_step_rank": "auto"},
    "conv width 3, no conv bias": {"conv_kernel": 3, "use_conv_bias": False},
    "conv width 1": {"conv_kernel": 1},
    "bias": {"use_bias": True},
    "expand 3": {"expand": 3},
    "inner width 43": {"intermediate_size": 43},
    "one state, epsilon": {"state_size": 1, "layer_norm_epsilon": 0.3},
    "half residual": {"residual_in_fp32": False, "use_associative_scan": False},
    "swish, mambapy": {"hidden_act": "swish", "use_mambapy": True},
}
LLAMA_BASE = {
    "vocab_size": 101, "hidden_size": 36, "intermediate_size": 43, "num_hidden_layers": 2,
    "num_attention_heads": 6, "num_key_value_heads": 2, "max_position_embeddings": 80,
}  # fmt: skip
LLAMA_CASES = {
    "three queries a key": {},
    "one key head": {"num_key_value_heads": 1},
    "a key head per query": {"num_key_value_heads": None},
    "head_dim 10": {"head_dim": 10, "num_attention_heads": 4},
    "tied": {"tie_word_embeddings": True, "vocab_size": 67},
    "biases": {"attention_bias": True, "mlp_bias": True},
    "theta, epsilon": {
        "rope_parameters": {"rope_type": "default", "rope_theta": 33.0}, "rms_norm_eps": 0.3,
    },
    "d_model 96": {"hidden_size": 96, "num_attention_heads": 8, "num_hidden_layers": 1},
}  # fmt: skip
MISTRAL_CASES = {
    "window 7": {"sliding_window": 7},
    "window 1": {"sliding_window": 1, "num_hidden_layers": 1},
    "no window": {"sliding_window": None, "head_dim": 4},
}


GPT2_BASE = {"vocab_size": 101, "n_positions": 80, "n_embd": 36, "n_layer": 2, "n_head": 6}
GPT2_CASES = {
    "as it was": {},
    "inner 43, untied": {"n_inner": 43, "tie_word_embeddings": False},
    "scores unscaled": {"scale_attn_weights": False},
    "scores scaled by layer": {"scale_attn_by_inverse_layer_idx": True, "n_layer": 3},
    "exact gelu, epsilon": {"activation_function": "gelu", "layer_norm_epsilon": 0.3},
    "relu, one head": {"activation_function": "relu", "n_head": 1, "n_layer": 1},
}
RWKV_BASE = {"vocab_size": 101, "hidden_size": 24, "num_hidden_layers": 2, "rescale_every": 0}
RWKV_CASES = {
    "as it was": {},
    "inner 43, tied": {"intermediate_size": 43, "tie_word_embeddings": True},
    "attention 20": {"attention_hidden_size": 20, "vocab_size": 67},
    "epsilon": {"layer_norm_epsilon": 0.3},
    "d_model 33": {"hidden_size": 33, "num_hidden_layers": 3},
}


def random_rwkv(case: str, seed: int = 0) -> RwkvForCausalLM:
    """Return the RWKV-4 of a case, in float32 and evaluation mode."""
    return randomised(RwkvForCausalLM(RwkvConfig(**RWKV_BASE | RWKV_CASES[case])), seed)


def random_gpt2(case: str, seed: int = 0) -> GPT2LMHeadModel:
    """Return the GPT-2 of a case, in float32 and evaluation mode."""
    return randomised(GPT2LMHeadModel(GPT2Config(**GPT2_BASE | GPT2_CASES[case])), seed)


def random_llama(case: str, seed: int = 0) -> LlamaForCausalLM | MistralForCausalLM:
    """Return the Llama or Mistral of a case, in float32 and evaluation mode."""
    if case in MISTRAL_CASES:
        config = MistralConfig(**LLAMA_BASE | MISTRAL_CASES[case])
        return randomised(MistralForCausalLM(config), seed)
    return randomised(LlamaForCausalLM(LlamaConfig(**LLAMA_BASE | LLAMA_CASES[case])), seed)


def random_mamba2(case: str, seed: int = 0) -> Mamba2ForCausalLM:
    """Return the Mamba-2 of a case, in float32 and evaluation mode."""
    return randomised(Mamba2ForCausalLM(Mamba2Config(**MAMBA2_BASE | MAMBA2_CASES[case])), seed)


def random_mamba(case: str, seed: int = 0) -> MambaForCausalLM:
    """Return the Mamba of a case, in float32 and evaluation mode."""
    return randomised(MambaForCausalLM(MambaConfig(**MAMBA_BASE | MAMBA_CASES[case])), seed)


def randomised(model: PreTrainedModel, seed: int) -> PreTrainedModel:
    """Draw every parameter, so that none is a one or a zero that would hide its own absence."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in model.named_parameters():
            noise = torch.randn(value.shape, generator=generator)
            if name.endswith(
                (
                    "norm.weight",
                    "norm_f.weight",
                    "layernorm.weight",
                    "ln_1.weight",
                    "ln_2.weight",
                    "ln_f.weight",
                    "ln1.weight",
                    "ln2.weight",
                    "pre_ln.weight",
                    "ln_out.weight",
                )
            ):
                value.copy_(1 + 0.3 * noise)
            elif value.dim() >= 2 and "A_log" not in name:
                value.copy_(noise / value.shape[-1] ** 0.5)
            else:
                value.copy_(0.7 * noise)
    return model.eval()


def random_tokens(model: PreTrainedModel, batch: int, length: int, seed: int = 1) -> torch.Tensor:
    """Return tokens [batch, length] of the model's vocabulary."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, model.config.vocab_size, (batch, length), generator=generator)


@torch.no_grad()
def logits_of(model: PreTrainedModel, tokens: torch.Tensor) -> torch.Tensor:
    """Return transformers' logits of whole sequences."""
    return model(tokens, use_cache=False).logits


def greedy_of(model: PreTrainedModel, prompt: torch.Tensor, count: int) -> torch.Tensor:
    """Return transformers' most likely next tokens, each from the whole sequence so far."""
    tokens = prompt
    for _ in range(count):
        tokens = torch.cat([tokens, logits_of(model, tokens)[:, -1:].argmax(-1)], dim=1)
    return tokens[:, prompt.shape[1] :]


def assert_near(ours: torch.Tensor, theirs: torch.Tensor, relative: float = 1e-4) -> None:
    """Compare logits to a share of their largest magnitude, and the most likely tokens exactly."""
    assert ours.shape == theirs.shape
    assert (ours - theirs).abs().max() <= relative * theirs.abs().max()
    assert torch.equal(ours.argmax(-1), theirs.argmax(-1))

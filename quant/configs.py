"""Name the published Mamba sizes, so that they can be simulated without their weights.

Sizes: the `config.json` files of state-spaces/mamba-* and mamba2-* on Hugging Face; vocabularies
are padded to multiples of 8 (Mamba) and 16 (Mamba-2), as there.
"""

from __future__ import annotations

from cosim.ir.errors import UserError
from quant.models import mamba, mamba2

# name: (hidden size, layers)
MAMBA_SIZES = {
    "mamba-130m": (768, 24),
    "mamba-370m": (1024, 48),
    "mamba-790m": (1536, 48),
    "mamba-1.4b": (2048, 48),
    "mamba-2.8b": (2560, 64),
}
MAMBA2_SIZES = {
    "mamba2-130m": (768, 24),
    "mamba2-370m": (1024, 48),
    "mamba2-780m": (1536, 48),
    "mamba2-1.3b": (2048, 48),
    "mamba2-2.7b": (2560, 64),
}

FamilyConfig = mamba.Config | mamba2.Config


def _mamba(size: int, layers: int) -> mamba.Config:
    return mamba.Config(
        vocab_size=50280,
        hidden_size=size,
        intermediate_size=2 * size,
        state_size=16,
        num_hidden_layers=layers,
        time_step_rank=-(-size // 16),
    )


def _mamba2(size: int, layers: int) -> mamba2.Config:
    return mamba2.Config(
        vocab_size=50288,
        hidden_size=size,
        intermediate_size=2 * size,
        state_size=128,
        num_hidden_layers=layers,
        num_heads=2 * size // 64,
        head_dim=64,
        n_groups=1,
        tie_word_embeddings=True,
    )


CONFIGS: dict[str, FamilyConfig] = {
    **{n: _mamba(*s) for n, s in MAMBA_SIZES.items()},
    **{n: _mamba2(*s) for n, s in MAMBA2_SIZES.items()},
}


def find_config(name: str) -> FamilyConfig:
    """Return a published config by name; raise UserError listing those there are."""
    if name not in CONFIGS:
        raise UserError(f"no published size {name!r}; there are {', '.join(CONFIGS)}")
    return CONFIGS[name]

"""Load, quantise and save a checkpoint of the size of mamba2-130m: its time and its memory."""

import json
import resource
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from quant.configs import CONFIGS
from quant.models import mamba2

SECONDS = 600.0
BYTES = 8 << 30


def write_checkpoint(folder: Path) -> None:
    """Write random weights of mamba2-130m as a Hugging Face folder."""
    config = CONFIGS["mamba2-130m"]
    generator = torch.Generator().manual_seed(0)
    weights = {}
    for name, shape in mamba2.weight_shapes(config).items():
        noise = torch.randn(shape, generator=generator)
        if name.endswith("A_log"):
            weights[name] = noise.abs()
        elif name.endswith("dt_bias"):
            weights[name] = noise - 4
        elif len(shape) == 1:
            weights[name] = 1 + 0.1 * noise
        else:
            weights[name] = noise / shape[-1] ** 0.5
    del weights["lm_head.weight"]  # it is tied
    folder.mkdir()
    save_file(weights, folder / "model.safetensors")
    fields = {k: v for k, v in asdict(config).items() if k not in ("time_step_limit",)}
    fields |= {"model_type": "mamba2", "expand": 2}
    (folder / "config.json").write_text(json.dumps(fields))


def quantise_folder(checkpoint: str, recipe: str, out: str) -> None:
    """Load, quantise and save; print seconds and bytes at the peak."""
    from cosim.ir.file import save_model
    from quant.models import load_model
    from quant.quantise import quantise
    from quant.recipes import RECIPES

    start = time.perf_counter()
    model = load_model(checkpoint)
    tokens = torch.randint(0, 50280, (2, 128), generator=torch.Generator().manual_seed(1))
    done = quantise("large", model, RECIPES[recipe], tokens)
    save_model(done.model, Path(out))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    steps = {s.name: round(s.seconds, 1) for s in done.steps}
    print(json.dumps({"seconds": time.perf_counter() - start, "bytes": peak, "steps": steps}))


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["w8a8", "w4a4"])
def test_a_checkpoint_of_130_million_weights_is_quantised_in_time_and_memory(recipe, tmp_path):
    write_checkpoint(tmp_path / "checkpoint")
    arguments = [str(tmp_path / "checkpoint"), recipe, str(tmp_path / "graph")]
    done = subprocess.run(
        [sys.executable, __file__, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    figures = json.loads(done.stdout.splitlines()[-1])
    print(recipe, figures)
    assert figures["seconds"] < SECONDS
    assert figures["bytes"] < BYTES
    stored = (tmp_path / "graph" / "tensors.safetensors").stat().st_size
    assert stored > 100e6


if __name__ == "__main__":
    quantise_folder(*sys.argv[1:])

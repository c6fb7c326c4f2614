"""What holds for every test: one thread per process, no network, repeatable examples."""

import os

# Before anything imports torch or transformers: both read these once.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["HF_HUB_OFFLINE"] = "1"

import pytest
from hypothesis import settings

# Machines under load are slow at times, which is no fault of the code: no deadline. In CI the same
# examples come every time, so that a red run can be repeated; by hand they differ.
settings.register_profile("cosim", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("cosim")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the gpu tests where torch sees no accelerator, and say so."""
    of_gpu = [item for item in items if "gpu" in item.keywords]
    if not of_gpu:
        return
    import torch

    if not torch.cuda.is_available():
        for item in of_gpu:
            item.add_marker(pytest.mark.skip(reason="torch sees no accelerator on this machine"))

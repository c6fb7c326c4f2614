"""Where the executor lays its tensors on another device, told without one by torch's "meta".

Tensors there hold no values, but torch refuses them beside those of the CPU, and refuses `.numpy()`
and reading a value back. Products of integer matrices, which CUDA lacks, are refused here by hand.
"""

from collections import Counter

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import cosim.torch_exec
from cosim.kernels.matmul import Weight
from cosim.kernels.rows import carrier
from cosim.ops.linear import Linear
from cosim.torch_exec import TorchExecutor
from tests.random_graphs import random_model

META = torch.device("meta")
COPIES = {"aten::copy_", "aten::_to_copy"}
PRODUCTS = {"aten::mm", "aten::bmm", "aten::addmm", "aten::baddbmm", "aten::mv", "aten::dot"}


class LikeCuda(TorchDispatchMode):
    """Refuse what CUDA refuses and "meta" lets pass: two devices, products of integers."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        """Run everything else."""
        name = func.name().split(".")[0]
        assert name not in PRODUCTS or all(x.is_floating_point() for x in args), name
        found = {x.device for x in tree_leaves(args) if isinstance(x, torch.Tensor) and x.ndim}
        assert len(found) < 2 or name in COPIES, f"{name} of two devices"
        return func(*args, **(kwargs or {}))


def run_on_meta(model, monkeypatch, time=11):
    """Run every segment; return all values and last states."""
    monkeypatch.setattr(cosim.torch_exec, "check_products", lambda device: None)
    executor = TorchExecutor(model, "meta")
    got = {}
    for seg in model.segments:
        types = seg.graph.types

        def empty(n, *lead, types=types):
            return torch.empty((*lead, *types[n].shape), dtype=carrier(types[n].peak), device=META)

        feed = {n: empty(n, 3, time) for n in seg.graph.inputs}
        begin = {n: empty(n, 3) for n in seg.graph.states}
        names = {n for n in types if n not in seg.graph.consts}
        runner = executor.runners[seg.name]
        with LikeCuda():
            values, ends = runner.run(feed, begin, time, names, Counter(), False)
        got |= {**values, **ends}
    return got


@pytest.mark.parametrize("seed", range(24))
def test_every_value_of_random_graphs_stays_on_the_device(seed, monkeypatch):
    got = run_on_meta(random_model(seed), monkeypatch)
    assert got
    assert all(x.device == META for x in got.values())


def test_a_value_on_the_wrong_device_would_be_noticed(monkeypatch):
    model = next(
        m
        for m in map(random_model, range(24))
        if any(isinstance(n.op, Linear) for s in m.segments for n in s.graph.nodes)
    )
    monkeypatch.setattr(Weight, "_move", lambda self, dtype: self._integers.to(dtype))
    with pytest.raises(AssertionError, match="mm of two devices"):
        run_on_meta(model, monkeypatch)


def test_other_devices_are_probed_before_they_are_used(monkeypatch):
    probed = []
    monkeypatch.setattr(cosim.torch_exec, "check_products", probed.append)
    TorchExecutor(random_model(0), "meta")
    TorchExecutor(random_model(0))
    assert probed == [META]

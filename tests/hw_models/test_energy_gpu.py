"""The GPU baseline bounds what was published, closely, and says what it rests on."""

import pytest

from cosim.ir.errors import UserError
from hw_models.energy_gpu import GPUS, PUBLISHED, decode_bytes, gpu_row
from tests.hw_models import graphs


@pytest.mark.parametrize("run", PUBLISHED, ids=lambda r: f"{r.gpu}-{r.bits}")
def test_published_runs_reach_two_thirds_to_four_fifths_of_the_bound(run):
    bound = gpu_row(run.gpu, run.parameters * run.bits / 8, f"{run.bits} bits")
    assert 0.63 < run.tokens_per_second / bound.tokens_per_second < 0.80


def test_the_bound_is_bandwidth_over_bytes_and_energy_is_watts_over_rate():
    row = gpu_row("rtx4090", 1.008e9, "4 bits")
    assert row.tokens_per_second == pytest.approx(1000)
    assert row.joules_per_token == pytest.approx(0.285)
    assert row.tokens_per_joule == pytest.approx(1 / 0.285)


def test_watts_are_those_that_the_papers_ratios_imply():
    """LightMamba: 2.25 tokens/J are 6.06 and 4.65 times the GPUs'; FastMamba: 0.37 tokens/J."""
    assert GPUS["rtx2070"].power_w == pytest.approx(65 / (2.25 / 6.06), rel=0.01)
    assert GPUS["rtx4090"].power_w == pytest.approx(138 / (2.25 / 4.65), rel=0.01)
    assert GPUS["rtx3090"].power_w == pytest.approx(111 / 0.37, rel=0.01)


def test_a_model_is_counted_at_its_own_bits_or_at_others():
    """2.7b: 2.5716 G products and those of the head; states with group scales, and windows."""
    model = graphs.mamba2_27b()
    half = decode_bytes(model, 16)
    weights = 2.5716e9 + 50288 * 2560
    states = 64 * (80 * 64 * 128 * 9 // 8 + 4 * (5120 + 2 * 128))
    assert half == pytest.approx(2 * weights + 2 * 2 * states, rel=1e-4)
    matched = decode_bytes(model)
    # 4-bit weights with their scales, an 8-bit head, a 16-bit state: between a quarter and a half.
    assert half / 4 < matched < half / 2.5
    assert (
        gpu_row("a100", matched, "").tokens_per_second > gpu_row("a100", half, "").tokens_per_second
    )


def test_the_row_says_what_it_rests_on():
    row = gpu_row("rtx2070", 5.4e9, "16 bits")
    told = " ".join(row.assumptions)
    for part in ("batch 1", "448 GB/s", "from memory", "175 W", "kernels that read 16 bits"):
        assert part in told


def test_what_is_unknown_or_nothing_is_a_sentence():
    with pytest.raises(UserError, match="GPU 'rtx1' is unknown; choose one of a100, orin-nano"):
        gpu_row("rtx1", 1.0, "8 bits")
    with pytest.raises(UserError, match="0 bytes a token give no bound; count the weights"):
        gpu_row("a100", 0.0, "8 bits")

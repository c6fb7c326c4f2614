"""Send the inputs of linear layers as spikes: a pass over any recipe that has lowered its graph."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from torch import Tensor

from cosim.ir.errors import UserError
from quant.lower.spike import SpikeForm, spiked
from quant.passes.draft import Draft, Pass
from quant.rotation_check import check_rotations


@dataclass(frozen=True)
class SpikeLinears(Pass):
    """Encode in as many time steps as the proved range needs: every bit stays as it was."""

    form: SpikeForm = SpikeForm()

    name: ClassVar[str] = "spikes"
    keeps_function: ClassVar[bool] = True

    def apply(self, draft: Draft, calibration: Tensor) -> Draft:
        """Rewrite the integer graph; raise UserError where there is none yet."""
        if draft.integer is None:
            raise UserError(f"{self.name}: lower the graph first; spikes stand for its integers")
        integer = spiked(draft.integer, self.form)
        check_rotations(integer)
        return replace(draft, integer=integer)


@dataclass(frozen=True)
class SpikeLimited(SpikeLinears):
    """Encode in a fixed number of time steps: larger counts clip, and `cosim spikes` says how many.

    A machine of three steps, say, has counts of -7 to 7 and no more.
    """

    keeps_function: ClassVar[bool] = False

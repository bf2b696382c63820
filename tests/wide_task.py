"""A task whose models are as large as their width, for tests of what measures memory."""

import os
import signal
from dataclasses import dataclass

from stub_task import StubTask
from torch import nn

from askew.tradeoffs import Cost

NUMBERS_OF_A_MB = 2**18


@dataclass(frozen=True, kw_only=True)
class Wide(StubTask):
    """Each unit of width takes a megabyte."""

    def build(self, config, seed):
        width = config.encoder.d_model
        if width == 14:
            raise ValueError("no model has this width")
        if width == 18:
            os.kill(os.getpid(), signal.SIGKILL)
        return nn.Linear(width * NUMBERS_OF_A_MB, 1)

    def costs(self, model):
        size = model.in_features / NUMBERS_OF_A_MB
        return {"shelf": Cost(value=2 * size, label="shelf"), "trained": Cost(value=1, label="x")}

    def untrained_costs(self):
        return ("shelf",)

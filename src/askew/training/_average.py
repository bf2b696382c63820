"""The running average of a model's weights, stored with every checkpoint."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from askew._files import existing_file

_FILE = "average.safetensors"


class WeightAverage:
    r"""The exponential moving average of all trainable weights.

    .. math:: a_t = d_t\,a_{t-1} + (1 - d_t)\,w_t, \qquad d_t = \min(d, (1 + t) / (10 + t))

    Decay 0 is the weights themselves.

    Args:
        model: The model.
        decay: d, in [0, 1).

    Example:
        >>> model = nn.Linear(1, 1, bias=False)
        >>> average = WeightAverage(model, 0.5)
        >>> _ = model.weight.data.fill_(3.0)
        >>> average.update(step=90)
        >>> with average.in_place():
        ...     averaged = model.weight.item()
        >>> model.weight.item(), averaged != 3.0
        (3.0, True)

    References:
        Acceleration of Stochastic Approximation by Averaging, 1992, SIAM Journal on Control
        and Optimization 30(4).
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.weights = {n: p for n, p in model.named_parameters() if p.requires_grad}
        self.averages = {n: p.detach().clone() for n, p in self.weights.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Update the average with the weights after a step.

        Args:
            step: Number of the step, from 1.
        """
        decay = min(self.decay, (1 + step) / (10 + step))
        for name, weight in self.weights.items():  # the Trainer may have moved the model
            self.averages[name] = self.averages[name].to(weight.device)
        torch._foreach_lerp_(list(self.averages.values()), self._trained(), 1.0 - decay)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Put the averages into the model within a `with` block."""
        trained = [weight.clone() for weight in self._trained()]
        self.put()
        try:
            yield
        finally:
            torch._foreach_copy_(self._trained(), trained)

    def put(self) -> None:
        """Put the averages into the model for good."""
        torch._foreach_copy_(self._trained(), list(self.averages.values()))

    def save(self, folder: str | Path) -> None:
        """Write the averages into a checkpoint.

        Args:
            folder: The checkpoint.
        """
        folder = Path(folder)
        save_file(self.averages, folder / _FILE)

    def load(self, folder: str | Path) -> None:
        """Read what `save` wrote.

        Args:
            folder: The checkpoint.
        """
        folder = Path(folder)
        for name, stored in load_file(existing_file("WeightAverage.load", folder / _FILE)).items():
            self.averages[name].copy_(stored)

    def _trained(self) -> list[Tensor]:
        return [weight.data for weight in self.weights.values()]

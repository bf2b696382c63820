"""The models of an experiment: built by arm, described, stored and read."""

from collections.abc import Mapping
from pathlib import Path
from weakref import WeakKeyDictionary

import torch
from safetensors.torch import load_model, save_model
from torch import nn

from askew._check import require
from askew._files import read_json, write_json
from askew._folders import whole_model
from askew.tradeoffs._experiment_settings import Build, digest


class ArmModels:
    """Builds the models of an experiment, and knows the arm of each that this process built.

    Args:
        builders: By arm, a function without arguments that builds its model.
        device: Where models are put.
    """

    def __init__(self, builders: Mapping[str, Build], device: str) -> None:
        self.builders, self.device = builders, device
        self.arm_of: WeakKeyDictionary[nn.Module, str] = WeakKeyDictionary()

    def __reduce__(self) -> tuple[type, tuple[Mapping[str, Build], str]]:
        """Pickle no model."""
        return ArmModels, (self.builders, self.device)

    def build(self, arm: str, seed: int) -> nn.Module:
        """Make the model of an arm with its initial weights."""
        model = self._build(arm, seed).to(self.device)
        self.arm_of[model] = arm
        return model

    def _build(self, arm: str, seed: int) -> nn.Module:
        torch.manual_seed(seed)
        model = self.builders[arm]()
        require(
            isinstance(model, nn.Module),
            f"Experiment: models must build nn.Modules; got {type(model).__name__} of {arm}",
        )
        return model

    def identify(self, arm: str) -> str:
        """Compute a digest of the modules of an arm's model and of its shapes."""
        state = torch.get_rng_state()
        model = self._build(arm, 0)
        torch.set_rng_state(state)
        shapes = [(name, tuple(p.shape)) for name, p in model.named_parameters()]
        return digest(f"{model} {shapes}".encode())

    def save(self, model: nn.Module, folder: Path) -> None:
        """Write the weights and the arm of a model into a new folder."""
        folder.mkdir()
        save_model(model, str(folder / "model.safetensors"))
        write_json(folder / "model.json", {"version": 1, "arm": self.arm_of[model]})

    def load(self, folder: Path) -> nn.Module:
        """Read a model that `save` wrote."""
        with whole_model("Experiment.load", folder):
            model = self.build(read_json(folder / "model.json")["arm"], 0)
            load_model(model, str(folder / "model.safetensors"), device=self.device)
        return model.eval()

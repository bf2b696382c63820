"""The models of an experiment: built by arm, described, stored and read."""

from collections.abc import Callable, Mapping
from inspect import Parameter, signature
from pathlib import Path
from weakref import WeakKeyDictionary

import torch
from safetensors.torch import load_model, save_model
from torch import nn

from askew._check import require
from askew._files import check_name, read_json, write_json
from askew._folders import whole_model
from askew.tradeoffs._experiment_code import without_addresses
from askew.tradeoffs._experiment_settings import Build, accepts, digest
from askew.tradeoffs._space import Space

Numbers = Mapping[str, bool | int | float | str]
"""Arguments of a function that builds a model."""


def numbers_of(build: Callable[..., object]) -> dict[str, bool | int | float | str]:
    """Return the keywords of a function that are plain values by default.

    Example:
        >>> numbers_of(lambda width=8, act=nn.ReLU: nn.Linear(4, width))
        {'width': 8}
    """
    return {
        name: parameter.default
        for name, parameter in signature(build).parameters.items()
        if isinstance(parameter.default, bool | int | float | str)
        and parameter.kind in (Parameter.KEYWORD_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
    }


def check_arms(models: object, others: Mapping[str, object]) -> None:
    """Refuse fewer than two models, and what is no function or belongs to no arm.

    Args:
        models: By arm, what should build its model.
        others: The loss, the optimizer and the training loop: a function, one by arm, or None.

    Raises:
        ValueError: If there are fewer than two models, or other arms elsewhere.
        TypeError: If something is no function.
    """
    if not isinstance(models, Mapping):
        raise TypeError(
            "Experiment: models must map the name of each arm to a function that builds its model; "
            f"got models of type {type(models).__name__}"
        )
    for arm, build in models.items():
        check_name("Experiment", "the name of a model", arm)
        if isinstance(build, nn.Module) or not callable(build):
            raise TypeError(
                "Experiment: a model must be given by a function that builds it anew for every "
                f"seed; got models[{arm!r}] of type {type(build).__name__}. Write lambda: "
                f"{type(build).__name__}(…)"
            )
    require(len(models) >= 2, f"Experiment: models must be two or more; got {list(models)}")
    for name, given in others.items():
        if isinstance(given, Mapping) and set(given) != set(models):
            raise ValueError(
                f"Experiment: {name} by arm must have the arms of models; got {sorted(given)}, "
                f"models {sorted(models)}"
            )
        for one in given.values() if isinstance(given, Mapping) else (given,):
            if one is not None and not callable(one):
                raise TypeError(
                    f"Experiment: {name} must be a function, or one by arm; got {name} {one!r}"
                )


def check_space(
    space: Space, models: Mapping[str, Build], trainings: Mapping[str, Callable[..., object]]
) -> None:
    """Refuse a space with a number that an arm does not take.

    Args:
        space: The space.
        models: By arm, the function that builds its model.
        trainings: By arm, what takes the numbers of training.

    Raises:
        ValueError: If there is one.
    """
    for name in space.numbers:
        part, _, keyword = name.partition(".")
        require(
            part in ("model", "training") and keyword != "",
            f"Experiment: a number of the space must be model.NAME or training.NAME; got {name!r}",
        )
        if part == "model":
            wanted = "model, with a number"
            without = [arm for arm, build in models.items() if keyword not in numbers_of(build)]
        else:
            wanted = "training"
            without = [arm for arm, train in trainings.items() if not accepts(train, keyword)]
        require(
            not without,
            f"Experiment: {name} must be a keyword of every {wanted}; got {', '.join(without)} "
            "without it",
        )


class ArmModels:
    """Builds the models of an experiment, and knows the arm of each that this process built.

    Args:
        builders: By arm, a function that builds its model; its arguments are all keywords with a
            default.
        device: Where models are put.
    """

    def __init__(self, builders: Mapping[str, Build], device: str) -> None:
        self.builders, self.device = builders, device
        self.arm_of: WeakKeyDictionary[nn.Module, str] = WeakKeyDictionary()
        self._numbers_of: WeakKeyDictionary[nn.Module, Numbers] = WeakKeyDictionary()

    def __reduce__(self) -> tuple[type, tuple[Mapping[str, Build], str]]:
        """Pickle no model."""
        return ArmModels, (self.builders, self.device)

    def build(self, arm: str, seed: int, numbers: Numbers) -> nn.Module:
        """Make the model of an arm, with these numbers and its initial weights."""
        model = self._build(arm, seed, numbers).to(self.device)
        self.arm_of[model], self._numbers_of[model] = arm, numbers
        return model

    def _build(self, arm: str, seed: int, numbers: Numbers) -> nn.Module:
        torch.manual_seed(seed)
        model = self.builders[arm](**numbers)
        require(
            isinstance(model, nn.Module),
            f"Experiment: models must build nn.Modules; got {type(model).__name__} of {arm}",
        )
        return model

    def describe(self, arm: str) -> tuple[str, list[type]]:
        """Build an arm's model as given; return a digest of it, and the classes of its modules."""
        state = torch.get_rng_state()
        model = self._build(arm, 0, {})
        torch.set_rng_state(state)
        shapes = [(name, tuple(p.shape)) for name, p in model.named_parameters()]
        classes = list(dict.fromkeys(map(type, model.modules())))
        return digest(without_addresses(f"{model} {shapes}").encode()), classes

    def save(self, model: nn.Module, folder: Path) -> None:
        """Write the weights, the arm and the numbers of a model into a new folder."""
        folder.mkdir()
        save_model(model, str(folder / "model.safetensors"))
        numbers = self._numbers_of[model]
        stored = {"version": 1, "arm": self.arm_of[model]}
        write_json(folder / "model.json", stored | ({"numbers": numbers} if numbers else {}))

    def load(self, folder: Path) -> nn.Module:
        """Read a model that `save` wrote."""
        with whole_model("Experiment.load", folder):
            stored = read_json(folder / "model.json")
            model = self.build(stored["arm"], 0, stored.get("numbers", {}))
            load_model(model, str(folder / "model.safetensors"), device=self.device)
        return model.eval()

"""Settings of a function, and its module form, which stores, passes on and prints them."""

from collections.abc import Callable, Mapping, Sequence
from inspect import signature
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

Numbers = Tensor | Sequence[float] | np.ndarray
"""Several numbers, one per class or per entry of an axis."""


def as_setting(name: str, label: str, setting: float | Numbers | None) -> Any:
    """Return one number or a tensor as it is, and a sequence or an array of numbers as a tensor."""
    if setting is None or isinstance(setting, (int, float, Tensor)):
        return setting
    if isinstance(setting, np.number):
        return setting.item()
    try:
        numbers = torch.tensor(setting)
        if numbers.is_meta:  # there the values would be lost
            numbers = torch.tensor(setting, device="cpu")
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(
            f"{name}: {label} must be a number or several of them; got {label} {setting!r}"
        ) from error
    return numbers.to(torch.get_default_dtype()) if numbers.is_floating_point() else numbers


def check_numbers(name: str, settings: Mapping[str, object]) -> None:
    """Refuse a setting that is not a single number."""
    for label, setting in settings.items():
        if isinstance(setting, (int, float, np.number)):
            continue
        if not (isinstance(setting, Tensor) and setting.numel() == 1):
            raise TypeError(f"{name}: {label} must be one number; got {label} {setting!r}")


def as_numbers(name: str, label: str, setting: float | Numbers) -> tuple[float, ...]:
    """Return one number or several as a tuple."""
    if isinstance(setting, (Tensor, np.ndarray)):
        setting = setting.tolist()
    numbers = tuple(setting) if isinstance(setting, Sequence) else (setting,)
    for number in numbers:
        check_numbers(name, {label: number})
    return tuple(float(number) for number in numbers)


def check_integer(name: str, label: str, setting: object) -> None:
    """Refuse a setting that is not a whole number."""
    if not isinstance(setting, (int, np.integer)):
        raise TypeError(f"{name}: {label} must be an integer; got {label} {setting!r}")


class SettingsModule(nn.Module):
    """Base of the modules whose constructor assigns each of its arguments to `self`."""

    _setting_names: ClassVar[tuple[str, ...]] = ()
    _unprinted: ClassVar[tuple[str, ...]] = ()

    def __init__(self) -> None:
        super().__init__()
        self._initial: dict[str, Tensor] = {}

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if SettingsModule in cls.__bases__:  # a subclass of a loss may have another constructor
            cls._setting_names = tuple(signature(cls.__init__).parameters)[1:]

    def _settings(self) -> dict[str, Any]:
        """Return every setting by name, as keyword arguments of the function."""
        return {name: getattr(self, name) for name in self._setting_names}

    def _store(self, name: str, setting: object) -> None:
        """Assign a setting that may be a tensor, which then moves with the module as a buffer.

        A parameter is registered as one, so that it is learned.
        """
        if isinstance(setting, Tensor) and not setting.is_meta:
            self._initial[name] = setting.detach().clone()
        if isinstance(setting, Tensor) and not isinstance(setting, nn.Parameter):
            self.register_buffer(name, setting)
        else:
            setattr(self, name, setting)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "SettingsModule":
        """Move the buffers with the module, in their own precision.

        In that of `half()` 0.1 would be 0.09998 from then on, and a count of 70 000 infinite.
        """
        given = dict(self._buffers)
        super()._apply(fn, recurse)
        for name, setting in given.items():
            moved = self._buffers[name]
            if setting is not None and moved is not None and moved.dtype != setting.dtype:
                self._buffers[name] = setting.to(moved.device)
        return self

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Write the tensors that were given again, which `to_empty` leaves undefined."""
        for name, values in self._initial.items():
            getattr(self, name).copy_(values)

    def extra_repr(self) -> str:
        """Return every setting that is not None; a parameter is only said to be learned."""
        texts = []
        for name, setting in self._settings().items():
            shown = "learned" if name in self._parameters else setting
            if shown is not None and name not in self._unprinted:
                texts.append(f"{name}={shown!r}" if isinstance(shown, str) else f"{name}={shown}")
        return ", ".join(texts)

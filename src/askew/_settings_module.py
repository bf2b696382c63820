"""The module form of a function: it stores the settings, passes them on and prints them."""

from inspect import signature
from typing import Any, ClassVar

from torch import Tensor, nn


class SettingsModule(nn.Module):
    """Base of the modules whose constructor assigns each of its arguments to `self`."""

    _setting_names: ClassVar[tuple[str, ...]] = ()
    _unprinted: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if SettingsModule in cls.__bases__:  # a subclass of a loss may have another constructor
            cls._setting_names = tuple(signature(cls.__init__).parameters)[1:]

    def _settings(self) -> dict[str, Any]:
        """Return every setting by name, as keyword arguments of the function."""
        return {name: getattr(self, name) for name in self._setting_names}

    def _store(self, name: str, setting: object) -> None:
        """Assign a setting that may be a tensor, which then moves with the module as a buffer."""
        if isinstance(setting, Tensor):
            self.register_buffer(name, setting)
        else:
            setattr(self, name, setting)

    def extra_repr(self) -> str:
        """Return every setting that is not None; a parameter is only said to be learned."""
        texts = []
        for name, setting in self._settings().items():
            shown = "learned" if name in self._parameters else setting
            if shown is not None and name not in self._unprinted:
                texts.append(f"{name}={shown!r}" if isinstance(shown, str) else f"{name}={shown}")
        return ", ".join(texts)

"""Whether a module's weight may be read directly, or only what a call of the module does counts."""

from torch import nn


def is_plain(module: nn.Module, kind: type[nn.Module], *, hooks: bool = True) -> bool:
    """Return whether a call of `module` does what `kind` does with `module.weight`.

    It does not if the module is an adapter or quantized (it has another `forward` then), if its
    `forward` was replaced (as offloading does), or if it has hooks. With `hooks=False` hooks do
    not count. The weight of a parametrized module is computed where it is read.
    """
    hooked = hooks and (module._forward_hooks or module._forward_pre_hooks)
    return type(module).forward is kind.forward and "forward" not in vars(module) and not hooked

"""Whether a module's weight may be read directly, or only what a call of the module does counts."""

from torch import nn


def is_plain(module: nn.Module, kind: type[nn.Module], *, hooks: bool = True) -> bool:
    """Return whether a call of `module` does what `kind` does with the module's own weight.

    It does not if the module is an adapter, is parametrized, quantized or sharded (its class is
    another one then), if its `forward` was replaced (as offloading does), or if it has hooks.
    With `hooks=False` hooks do not count.
    """
    hooked = hooks and (module._forward_hooks or module._forward_pre_hooks)
    return type(module) is kind and "forward" not in vars(module) and not hooked

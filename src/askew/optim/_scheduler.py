"""One scheduler that gives every part its own schedule."""

from collections.abc import Mapping
from functools import partial
from weakref import ref

from torch import Tensor, distributed
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from askew._check import require
from askew.optim._optimizer import named_groups
from askew.optim._schedules import Schedule


class AsymmetricScheduler(LambdaLR):
    """A scheduler of PyTorch with one schedule for every named part of an optimizer.

    The rate of a part is its own rate times its schedule at the number of steps done. The
    same schedule for all parts is `LambdaLR` with that function.

    Use it where any scheduler is used: `step()` after the optimizer's step in a plain loop,
    `optimizers=(optimizer, scheduler)` in the Trainer of transformers, or prepared by
    accelerate. A prepared scheduler is called once for every process after each step; here
    the schedule moves once: where several processes run, calls without a step of the
    optimizer in between count as one.

    Args:
        optimizer: An `AsymmetricOptimizer`, or any optimizer made from `parameter_groups`.
        schedules: The schedule of every part; a part that shall keep its rate has
            `constant()`.
        last_epoch: Index of the last step when going on without a saved state; -1 to start.

    Raises:
        ValueError: If a part has no schedule, or a schedule no part.
        TypeError: If a schedule is not a function.

    Example:
        >>> import torch
        >>> from askew.optim import AsymmetricOptimizer, constant, part_rates, step_decay
        >>> model = torch.nn.Linear(2, 1)
        >>> optimizer = AsymmetricOptimizer(model, {"weight": 0.1, "bias": 0.2})
        >>> schedules = {"weight": step_decay(2, factor=0.5), "bias": constant()}
        >>> scheduler = AsymmetricScheduler(optimizer, schedules)
        >>> for _ in range(2):
        ...     optimizer.step()
        ...     scheduler.step()
        >>> part_rates(optimizer)
        {'weight': 0.05, 'bias': 0.2}
    """

    def __init__(
        self, optimizer: Optimizer, schedules: Mapping[str, Schedule], *, last_epoch: int = -1
    ) -> None:
        self.parts = [part for part, _ in named_groups(optimizer, "AsymmetricScheduler")]
        _check_schedules(self.parts, schedules)
        # None until the optimizer's first step, then whether it stepped since our last one.
        self._due: bool | None = None
        holder = getattr(optimizer, "optimizer", optimizer)  # inside what accelerate prepared
        holder.register_step_post_hook(partial(_mark, ref(self)))
        super().__init__(optimizer, [schedules[part] for part in self.parts], last_epoch)

    def step(self, epoch: int | None = None) -> None:
        """Move every schedule on by one step.

        Args:
            epoch: Deprecated by PyTorch.
        """
        if self._due is False and _several_processes():
            return
        if self._due:
            self._due = False
        super().step(epoch)

    def state_dict(self) -> dict:
        """Give the number of steps done, the parts' names and their base rates.

        Returns:
            Plain numbers and names; the schedules themselves are given anew on resuming.
        """
        kept = {name: value for name, value in super().state_dict().items() if name != "_due"}
        for name in ("base_lrs", "_last_lr"):  # a rate that is a tensor goes on changing
            kept[name] = [float(rate) for rate in kept[name]]
        return kept

    def load_state_dict(self, state_dict: dict) -> None:
        """Go on where a state was saved, in whichever order optimizer and scheduler are made.

        Args:
            state_dict: What `state_dict` gave.

        Raises:
            ValueError: If its parts are not those of this scheduler.
        """
        saved = state_dict.get("parts")
        require(
            saved == self.parts,
            "AsymmetricScheduler.load_state_dict: the state must have the same parts in the same "
            f"order; got {saved}, here {self.parts}",
        )
        super().load_state_dict(state_dict)
        for group, base, rate in zip(
            self.optimizer.param_groups, self.base_lrs, self._last_lr, strict=True
        ):
            group["initial_lr"] = base
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate

    @property
    def schedules(self) -> dict[str, Schedule]:
        """The schedule of every part."""
        return dict(zip(self.parts, self.lr_lambdas, strict=True))


def _mark(scheduler: ref, *_: object) -> None:
    """Remember that the optimizer has stepped."""
    alive = scheduler()
    if alive is not None:
        alive._due = True


def _several_processes() -> bool:
    return (
        distributed.is_available()
        and distributed.is_initialized()
        and distributed.get_world_size() > 1
    )


def _check_schedules(parts: list[str], schedules: Mapping[str, Schedule]) -> None:
    known = list(dict.fromkeys(parts))
    missing = [part for part in known if part not in schedules]
    require(
        not missing,
        f"AsymmetricScheduler: every part needs a schedule; got none for {', '.join(missing)}. "
        "A part that keeps its rate has constant()",
    )
    unknown = [part for part in schedules if part not in known]
    require(
        not unknown,
        f"AsymmetricScheduler: every schedule needs a part; got {', '.join(unknown)}, "
        f"the optimizer has {', '.join(known)}",
    )
    for part, schedule in schedules.items():
        if not callable(schedule):
            raise TypeError(
                "AsymmetricScheduler: a schedule must be a function from a step to a multiplier; "
                f"got {part!r} {schedule!r}"
            )

"""One scheduler with a schedule for every part."""

from collections.abc import Mapping
from functools import partial
from weakref import ref

from torch import Tensor, distributed
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from askew._check import require
from askew.optim._optimizer import named_groups
from askew.optim._schedules import Schedule, constant


class AsymmetricScheduler(LambdaLR):
    """A scheduler of PyTorch with one schedule for every named part of an optimizer.

    The rate of a part is its base rate times the value of its schedule at the number of steps
    done. The same schedule for all parts is `LambdaLR` with that function.

    Use it like any scheduler: call `step()` after the optimizer's step in a plain loop, pass
    `optimizers=(optimizer, scheduler)` to the Trainer of transformers, or prepare it with
    accelerate. Accelerate calls a prepared scheduler once per process after each step. This one
    moves once nevertheless: if several processes run, calls without a step of the optimizer in
    between count as one.

    Args:
        optimizer: An `AsymmetricOptimizer`, or any optimizer made from `parameter_groups`.
        schedules: The schedule of every part; `constant()` for a part that keeps its rate. A
            group that is added to the optimizer later follows the schedule of its part; as a new
            part it keeps its rate.
        last_epoch: Index of the last step, to resume without a saved state; -1 to start.

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
        inner = getattr(optimizer, "optimizer", optimizer)  # accelerate wraps an optimizer
        inner.register_step_post_hook(partial(_mark, ref(self)))
        super().__init__(optimizer, [schedules[part] for part in self.parts], last_epoch)

    def step(self, epoch: int | None = None) -> None:
        """Advance every schedule by one step.

        Args:
            epoch: Deprecated by PyTorch.
        """
        if self._due is False and _several_processes():
            return
        self._admit()
        if self._due:
            self._due = False
        super().step(epoch)

    def get_lr(self) -> list[float | Tensor]:
        """Compute the rates of all groups at the current step.

        Returns:
            Plain numbers, also if a schedule computes with numpy or tensors, so that
            `torch.load(weights_only=True)` reads a saved state; tensors where a rate is one.
        """
        return [
            rate if isinstance(base, Tensor) else float(rate)
            for rate, base in zip(super().get_lr(), self.base_lrs, strict=True)
        ]

    def state_dict(self) -> dict:
        """Return the number of steps done, the parts' names and their base rates.

        Returns:
            Plain numbers and names. The schedules are not saved: pass them again on resuming.
        """
        self._admit()
        state = {name: value for name, value in super().state_dict().items() if name != "_due"}
        for name in ("base_lrs", "_last_lr"):  # a rate that is a tensor would go on changing
            state[name] = [float(rate) for rate in state[name]]
        return state

    def load_state_dict(self, state_dict: dict) -> None:
        """Restore a saved state; optimizer and scheduler may be made and loaded in any order.

        Args:
            state_dict: A result of `state_dict`.

        Raises:
            ValueError: If its parts are not those of this scheduler.
        """
        self._admit()
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
        self._admit()
        return dict(zip(self.parts, self.lr_lambdas, strict=True))

    def _admit(self) -> None:
        """Schedule groups that were added to the optimizer; a new part keeps its rate."""
        schedules = dict(zip(self.parts, self.lr_lambdas, strict=True))
        for part, group in named_groups(self.optimizer, "AsymmetricScheduler")[len(self.parts) :]:
            rate = group["lr"]
            now = rate.clone() if isinstance(rate, Tensor) else rate
            self.parts.append(part)
            self.lr_lambdas.append(schedules.setdefault(part, constant()))
            self.base_lrs.append(group.setdefault("initial_lr", now))
            self._last_lr.append(now)


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
    if not isinstance(schedules, Mapping):
        raise TypeError(
            "AsymmetricScheduler: schedules must map every part to its schedule; got schedules of "
            f"type {type(schedules).__name__}, the optimizer has {', '.join(known)}"
        )
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
        if not callable(schedule) or isinstance(schedule, type):
            raise TypeError(
                "AsymmetricScheduler: a schedule must be a function from a step to a multiplier; "
                f"got {part!r} {schedule!r}"
            )

"""Weights chosen by what they do to a loss on other data.

T tasks, A active tasks.
"""

from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor

from polytask.balancing.base import LossBalancer, Scale
from polytask.balancing.moments import Moments
from polytask.balancing.passes import identity
from polytask.errors import TrainingError

Losses = Callable[[], Tensor]
PerParameter = float | Mapping[Tensor, float]


class AutoLambda(LossBalancer):
    """Auto-Lambda: weights by the validation loss of the primary tasks, one step ahead.

    Weights l descend `sum_primary L_t^val(theta')` with `theta' = theta - lr grad sum_t l_t L_t`,
    the virtual next step. The derivative by `l_t` is `-lr grad L_t . grad L^val(theta')`, by
    central differences of the training losses along `grad L^val(theta')`. Liu et al., *Auto-Lambda:
    Disentangling Dynamic Task Relationships* (TMLR 2022). For a few primary tasks and auxiliary
    ones that may or may not help; weights of tasks that harm go down.

    Needs: `look_ahead` called before each step, or every few, with losses of the step's batch and
    of other examples, on which it must not be judged afterwards. `polytask train` takes a second
    batch of training rows, as the authors' code does, and computes both in float32. State: T
    weights and Adam's moments.
    Cost: a step costs one backward, and `look_ahead` two more and two more forwards. Authors'
    defaults: weights start at 0.1, Adam with lr 1e-4 (3e-5 on Cityscapes), difference
    `0.01 / |grad|`. Weights are kept >= 0 here. In `unit` scale only their proportions count.

    Args:
        num_tasks: T.
        primary: The tasks that count, by number from 0, in a file also by name; None for all.
        init: Where weights start.
        lr: Adam's learning rate for the weights.
        scale: `unit` rescales the weights to mean 1; `paper` leaves them.
        weight_heads: Whether heads are weighted too, as in the paper.
    """

    convention = "free"

    def __init__(
        self,
        num_tasks: int,
        *,
        primary: tuple[int, ...] | None = None,
        init: float = 0.1,
        lr: float = 1e-4,
        scale: Scale = "unit",
        weight_heads: bool = False,
    ) -> None:
        super().__init__(num_tasks, scale=scale, weight_heads=weight_heads)
        chosen = tuple(range(num_tasks)) if primary is None else tuple(primary)
        if not chosen or not all(0 <= t < num_tasks for t in chosen):
            raise ValueError(f"`primary` should be task numbers below {num_tasks}. Found {chosen}.")
        if init <= 0 or lr <= 0:
            raise ValueError(f"`init` and `lr` should be > 0. Found {init} and {lr}.")
        self.primary, self.lr = chosen, lr
        self.weights: Tensor
        self.register_buffer("weights", torch.full((num_tasks,), init, dtype=torch.float64))
        self.adam = Moments(num_tasks)
        self._looked = False

    def forward(self, losses: Tensor) -> Tensor:
        """The weighted sum of the losses `[A]`."""
        self.check(losses)
        if not self._looked and not bool(self.adam.counts.any()):
            raise ValueError(
                "AutoLambda learns its weights in `look_ahead`, which has not been called. Call it "
                "before `backward`, or choose `constant` weights."
            )
        return (self.weights[self.tasks].to(losses) * losses).sum()

    def look_ahead(
        self,
        parameters: Iterable[Tensor],
        train: Losses,
        validate: Losses,
        *,
        lr: PerParameter,
        momentum: Mapping[Tensor, Tensor] | None = None,
        weight_decay: PerParameter = 0.0,
        active: Tensor | None = None,
        reduce: Callable[[Tensor], Tensor] = identity,
    ) -> Tensor:
        """Move the weights by what they would do to the primary validation losses.

        Parameters and their `.grad` are as before when it returns; buffers that a forward moves
        (batch normalization's) are not, so put such layers into evaluation mode if that matters.
        Where no primary task is active there is nothing to look ahead to, and weights stay.

        Args:
            parameters: All that the optimizer moves.
            train: Gives the training losses `[T]`, of the same batch and with the same dropout at
                every call.
            validate: Gives the validation losses `[T]`.
            lr: The optimizer's learning rate, or that of each parameter.
            momentum: The optimizer's velocity of parameters, times its momentum.
            weight_decay: The optimizer's, or that of each parameter.
            active: `[T]` bool, the tasks with labels in both batches; None for all.
            reduce: Averages a tensor over processes, as for `backward`.

        Returns:
            The derivative `[A]` of the primary validation loss by the weights of active tasks.

        Raises:
            TrainingError: If it is not finite.
        """
        self._looked = True
        moved = [p for p in parameters if p.requires_grad]
        tasks = torch.arange(self.num_tasks) if active is None else active.cpu().nonzero()[:, 0]
        goal = [t for t in tasks.tolist() if t in self.primary]
        if not goal:
            return self.weights.new_zeros(len(tasks))
        rates, decays = _each(lr, moved), _each(weight_decay, moved)
        # The losses differ along `rate * gradient`; one rate for all would leave it the gradient.
        top = max(rates) or 1.0
        start = [p.detach().clone() for p in moved]
        try:
            losses = train()[tasks]
            total = (self.weights[tasks].to(losses) * losses).sum()
            with torch.no_grad():
                found = _gradients(total, moved, reduce)
                for p, g, rate, decay in zip(moved, found, rates, decays, strict=True):
                    speed = g + decay * p
                    if momentum is not None and p in momentum:
                        speed = speed + momentum[p]
                    p.sub_(rate * speed)
            ahead = _gradients(validate()[goal].sum(), moved, reduce)
            ahead = [g * (rate / top) for g, rate in zip(ahead, rates, strict=True)]
            norm = float(torch.stack([g.double().square().sum() for g in ahead]).sum().sqrt())
            reach = 0.01 / max(norm, 1e-12)
            sides = []
            with torch.no_grad():
                for side in (reach, -reach):
                    for p, s, g in zip(moved, start, ahead, strict=True):
                        p.copy_(s + side * g)
                    sides.append(reduce(train()[tasks].double()))
        finally:
            with torch.no_grad():
                for p, s in zip(moved, start, strict=True):
                    p.copy_(s)
        slope = (-max(rates) * (sides[0] - sides[1]) / (2 * reach)).to(self.weights)
        if not bool(slope.isfinite().all()):
            raise TrainingError(
                "AutoLambda looked a step ahead and found losses that are not finite. Lower the "
                "optimizer's learning rate, of which the step is a plain one."
            )
        after = self.weights[tasks] - self.lr * self.adam.step(tasks.to(slope.device), slope)
        self.weights[tasks] = after.clamp_min(0)
        return slope


def _each(value: PerParameter, parameters: list[Tensor]) -> list[float]:
    """A number for each parameter."""
    one = value if isinstance(value, (int, float)) else None
    return [value[p] if one is None else one for p in parameters]  # type: ignore[index]


def _gradients(
    loss: Tensor, parameters: list[Tensor], reduce: Callable[[Tensor], Tensor]
) -> list[Tensor]:
    """The gradient at each parameter, zero where it has none."""
    found = torch.autograd.grad(loss, parameters, allow_unused=True)
    pairs = zip(parameters, found, strict=True)
    return [reduce(torch.zeros_like(p) if g is None else g) for p, g in pairs]

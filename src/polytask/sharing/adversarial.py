"""A network for what tasks have in common, beside networks for what each has of its own.

Shapes: T tasks, B examples, D shared and E private features.
"""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import Parameter

from polytask.sharing.base import Trunk
from polytask.sharing.making import MakeBackbone, several, task_names
from polytask.types import ByName, Features


class SharedPrivate(Trunk):
    """One shared backbone and one per task, side by side; an adversary keeps the shared one common
    (Liu, Qiu and Huang 2017, "Adversarial Multi-task Learning for Text Classification").

    Heads read both, joined. A discriminator behind a reversal of gradients (Ganin and Lempitsky
    2015) says from the shared features whose examples it sees, and the shared backbone learns to
    leave it guessing. A second penalty, `orthogonality`, keeps private features from repeating
    shared ones. Both are averaged over frames or pixels first.

    In the paper each task has examples of its own. Here examples belong to an input, and tasks may
    read the same one; then the discriminator is right if it names any of them (`source_loss`). If
    all tasks read one input there is nothing to tell apart: the adversary's loss is 0, and a
    warning says so once.

    Other differences from the paper: `adversarial` scales the reversed gradient alone, so a
    discriminator learns at full speed whatever its weight (as Ganin and Lempitsky's does);
    examples of each input count the same in sum; `orthogonality` is relative to the features' size,
    with their means removed. With several processes the penalty is the mean of each one's own.

    Args:
        make: Makes one backbone; called once more than there are tasks.
        tasks: The names of the tasks.
        adversarial: Weight of the reversed gradient; 0 leaves the discriminator out.
        orthogonal: Weight of the orthogonality penalty.
        hidden: Width of a hidden layer of the discriminator; None for a linear one, as in the
            paper.
    """

    by_order = ("discriminator",)

    def __init__(
        self,
        make: MakeBackbone,
        tasks: Sequence[str],
        *,
        adversarial: float = 0.05,
        orthogonal: float = 0.01,
        hidden: int | None = None,
    ) -> None:
        super().__init__()
        self.tasks = task_names(tasks)
        self.adversarial, self.orthogonal = adversarial, orthogonal
        self.common, *own = several(make, 1 + len(self.tasks))
        made = dict(zip(self.tasks, own, strict=True))
        self.columns = ByName(made)
        width, count = self.common.out_features, len(self.tasks)
        self.out_features = {task: width + made[task].out_features for task in self.tasks}
        self.discriminator: nn.Module | None = None
        if adversarial > 0 and count > 1:
            self.discriminator = _discriminator(width, count, hidden)
        # Of each group of tasks: pooled shared features [B, D], and each task's own [B, E].
        self._seen: dict[tuple[str, ...], tuple[Tensor, dict[str, Tensor]]] = {}
        self._warned = False

    def forward(self, features: Features, tasks: Sequence[str]) -> dict[str, Features]:
        """Shared and own features of each task, `[B, D + E]` (or maps, or sequences)."""
        common = self.common(features)
        own = {task: self.columns[task](features) for task in tasks}
        if self.training and torch.is_grad_enabled():
            self._note(common, own)
        return {task: beside(common, found) for task, found in own.items()}

    def shared_parameters(self) -> Iterator[Parameter]:
        """The shared backbone, if there is more than one task."""
        return self.common.parameters() if len(self.tasks) > 1 else iter(())

    def _penalty(self) -> Tensor | None:
        """The discriminator's loss, its gradient reversed, and the orthogonality penalty."""
        seen, self._seen = self._seen, {}
        if not seen:
            return None
        total = next(iter(seen.values()))[0].new_zeros((), dtype=torch.float32)
        for tasks, (common, own) in seen.items():
            if self.discriminator is not None:
                logits = self.discriminator(reversed_gradient(common.float(), self.adversarial))
                group = [self.tasks.index(task) for task in tasks]
                total = total + source_loss(logits, group) / len(seen)
            for private in own.values():
                total = total + self.orthogonal * orthogonality(common.float(), private.float())
        return total

    def __getstate__(self) -> dict[str, Any]:
        """What a copy or a file is made of: without what waits for the penalty, on its graph."""
        return {**self.__dict__, "_seen": {}}

    def _note(self, common: Features, own: Mapping[str, Features]) -> None:
        """Keep what the penalty is about."""
        pooled = {task: found.pooled() for task, found in own.items()}
        self._seen[tuple(own)] = common.pooled(), pooled
        if self.discriminator is not None and len(own) == len(self.tasks) and not self._warned:
            self._warned = True
            warnings.warn(
                "All tasks read one input, so a discriminator has nothing to tell apart and the "
                "adversarial part of the trunk is without effect. Only orthogonality acts.",
                stacklevel=2,
            )


def beside(first: Features, second: Features) -> Features:
    """Two features joined along C or D."""
    at = 1 if first.values.ndim == 4 else -1
    return Features(torch.cat([first.values, second.values], at), first.mask)


def source_loss(logits: Tensor, group: Sequence[int]) -> Tensor:
    """How surprised a discriminator is by where examples come from: their mean `-log p(group)`.

    Args:
        logits: `[B, T]`.
        group: The tasks whose examples these are; with one task it is the cross-entropy.
    """
    return (logits.logsumexp(1) - logits[:, list(group)].logsumexp(1)).mean()


def orthogonality(shared: Tensor, private: Tensor) -> Tensor:
    """`|S'P|^2 / (|S|^2 |P|^2)` in Frobenius norms, of features without their means: 0 to 1.

    Args:
        shared: S, `[B, D]`.
        private: P, `[B, E]`.
    """
    shared, private = shared - shared.mean(0), private - private.mean(0)
    sizes = shared.square().sum() * private.square().sum()
    return (shared.T @ private).square().sum() / sizes.clamp(min=1e-12)


class _Reversal(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, weight: float) -> Tensor:
        ctx.weight = weight
        return values.view_as(values)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return -ctx.weight * gradients[0], None


def reversed_gradient(values: Tensor, weight: float = 1.0) -> Tensor:
    """The same values; their gradient is multiplied by `-weight` (Ganin and Lempitsky 2015)."""
    turned: Tensor = _Reversal.apply(values, weight)
    return turned


def _discriminator(width: int, count: int, hidden: int | None) -> nn.Module:
    """From shared features to one logit per task."""
    if hidden is None:
        return nn.Linear(width, count)
    return nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, count))

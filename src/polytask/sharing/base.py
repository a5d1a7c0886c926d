"""What a sharing topology is."""

import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import Parameter

from polytask.backbones.base import Backbone
from polytask.errors import nearest
from polytask.types import Features

PATIENCE = 100


class Trunk(nn.Module, ABC):
    """Arranges one backbone, or several, for the tasks.

    Attributes:
        tasks: The tasks that it knows.
        out_features: Per task, the width of the features that its head gets.
        draft_weight: The factor of the losses of heads on drafts (see `with_drafts`); 0 for a
            topology that has none.
        apart: Whether each task has a pass of its own that reads nothing of another's: asked for
            one task at a time, each with some of the rows, the trunk gives those what it gives all
            tasks on all rows. A model then runs a task's pass on the rows whose output is read.
            Batch normalisation alone sees the difference: in training its statistics are of those
            rows, as in a network for that task alone.
        by_order: Beginnings of the names of parameters and buffers that know tasks by their place
            in `tasks`, not by name: they mean something else where tasks are in another order.
    """

    tasks: tuple[str, ...]
    out_features: dict[str, int]
    draft_weight: float = 0.0
    apart: ClassVar[bool] = False
    by_order: ClassVar[tuple[str, ...]] = ()
    _unasked: int = 0  # training passes without a call of `penalty`; negative once there was one

    def __call__(self, features: Features, tasks: Sequence[str]) -> dict[str, Features]:
        """Features for some of the tasks from one input's features.

        Raises:
            TypeError: If it is given something other than features, and names.
            ValueError: If it does not know a task.
        """
        if not isinstance(features, Features):
            raise TypeError(
                f"A trunk takes Features. Found {type(features).__name__}. Pass "
                "`polytask.types.Features(values)`, and with padded sequences their mask."
            )
        if isinstance(tasks, str):
            raise TypeError(f"`tasks` should be a list of names. Found '{tasks}': put it in [ ].")
        unknown = [task for task in tasks if task not in self.tasks]
        if unknown:
            raise ValueError(
                f"{type(self).__name__} does not know the task '{unknown[0]}'. "
                f"{nearest(str(unknown[0]), self.tasks)}"
            )
        if self.training and torch.is_grad_enabled() and not torch.compiler.is_compiling():
            self._count()
        given: dict[str, Features] = super().__call__(features, tasks)
        return given

    @abstractmethod
    def forward(self, features: Features, tasks: Sequence[str]) -> dict[str, Features]:
        """Features for some of the tasks from one input's features."""

    @abstractmethod
    def shared_parameters(self) -> Iterator[Parameter]:
        """The parameters that more than one task moves."""

    def with_drafts(
        self, features: Features, tasks: Sequence[str]
    ) -> tuple[dict[str, Features], dict[str, Features]]:
        """As `forward`, and per task features of the same width from which it should be able to
        predict already: in training a second head does, and its loss times `draft_weight` is added
        to the task's. No drafts where a topology has none.
        """
        return self(features, tasks), {}

    def penalty(self) -> Tensor | None:
        """A scalar that the trunk itself wants small, beside the tasks' losses.

        It belongs to no task and no balancer sees it: add it to what is differentiated. It is
        about the parameters, or about the training passes since the last call (of each group of
        tasks the latest), and then it hangs on their graph. Call it with autocast off.

        A loop that never calls it is told so after a hundred training passes.

        Returns:
            The penalty with its weight; None for a topology that has none.
        """
        self._unasked = -1
        return self._penalty()

    def _penalty(self) -> Tensor | None:
        """The penalty of a topology that has one."""
        return None

    def _count(self) -> None:
        """Note a training pass, and warn once where so many went by without the penalty."""
        if self._unasked < 0 or type(self)._penalty is Trunk._penalty:
            return
        self._unasked += 1
        if self._unasked < PATIENCE:
            return
        self._unasked = -1
        with torch.no_grad():
            penalty = self._penalty()
        if penalty is not None and bool(penalty != 0):  # its weight may be 0
            warnings.warn(
                f"{type(self).__name__} has gone through {PATIENCE} training passes and nobody has "
                "asked for its penalty, which is a part of it. Add `trunk.penalty()` to what is "
                "differentiated in each step, or give it no weight.",
                stacklevel=3,
            )

    def shares(self) -> dict[str, Tensor]:
        """What is shared with whom, for people to look at: small tables by name.

        Tasks are in the order of `tasks`. Nothing is computed for it in a training pass but
        what the topology keeps anyway; tables are detached.

        Returns:
            For stitches the mean matrices `[stages, T, T]`, for gates their weights, and so on;
            empty for a topology whose sharing no number describes.
        """
        return {}

    def backbones(self) -> Iterator[Backbone]:
        """Every backbone of the trunk."""
        return (module for module in self.modules() if isinstance(module, Backbone))

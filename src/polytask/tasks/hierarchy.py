"""Classes of one task that are kinds of another's: `dog` and `cat` of `animal`.

Shapes: B examples, C classes of a task, C' of the task above it.
"""

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor

from polytask.errors import ConfigError, nearest
from polytask.tasks.base import Task
from polytask.tasks.classification import Multiclass


def parents(tasks: Sequence[Task]) -> dict[str, Multiclass]:
    """The task above each task that has a `parent`, by its name.

    Raises:
        ConfigError: If a parent is not among the tasks, or has no classes of which one holds.
    """
    known = {t.name: t for t in tasks if isinstance(t, Multiclass)}
    for task in known.values():
        if task.parent is not None and task.parent not in known:
            raise ConfigError(
                f"Task '{task.name}' has 'parent: {task.parent}', which is none of the multiclass "
                f"tasks. {nearest(task.parent, known)}"
            )
    return {t.name: known[t.parent] for t in known.values() if t.parent is not None}


class Hierarchies:
    """Tasks whose answers are made to agree, where one task's classes are kinds of another's.

    Every head says something about the classes of each task above it: the sum over their kinds. So
    a task has as many opinions as there are heads in its branch, its own among them, and their
    answer is the geometric mean (the logarithmic opinion pool of Genest and Zidek, *Combining
    Probability Distributions*, 1986): of `coarse` above `fine` it is in proportion to `sqrt(p(c)
    sum_f p(f))`. Going down again, `p(f)` is divided among the kinds of a class as `fine` has it,
    so that the probabilities of a class's kinds add up to the class's own. Each class of a task
    below has one class above it; of a class without any kind only its own head speaks.

    Args:
        tasks: Fitted.

    Raises:
        ConfigError: If the parent of a task is not among them.
    """

    def __init__(self, tasks: Sequence[Task]) -> None:
        above = parents(tasks)
        self.parents = {name: parent.name for name, parent in above.items()}
        self.above = {  # The number of the class above each class.
            t.name: torch.tensor([above[t.name].classes.index(c) for c in t.above])
            for t in tasks
            if isinstance(t, Multiclass) and t.name in above
        }
        everyone = {*self.parents, *self.parents.values()}
        # Parents come before their children.
        self.order = sorted((t.name for t in tasks if t.name in everyone), key=self._depth)

    def __bool__(self) -> bool:
        return bool(self.parents)

    def _depth(self, name: str) -> int:
        return 1 + self._depth(self.parents[name]) if name in self.parents else 0

    def _root(self, name: str) -> str:
        return self._root(self.parents[name]) if name in self.parents else name

    def families(self, names: Iterable[str]) -> dict[str, list[str]]:
        """The tasks that decide together with each of `names`, itself among them."""
        families: dict[str, list[str]] = {}
        for name in self.order:
            families.setdefault(self._root(name), []).append(name)
        return {name: families.get(self._root(name), [name]) for name in names}

    def agreed(self, outputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Outputs `[B, C]`, in the place of a family's the logarithms of what it says together.

        Args:
            outputs: Of whole families.
        """
        found = dict(outputs)
        order = [name for name in self.order if name in outputs]
        own = {name: outputs[name].float().log_softmax(1) for name in order}
        total, voices = dict(own), dict.fromkeys(order, 1)
        pooled: dict[str, Tensor] = {}
        summed: dict[str, Tensor] = {}
        for name in reversed(order):
            pooled[name] = (total[name] / voices[name]).log_softmax(1)
            if name in self.parents:
                parent = self.parents[name]
                summed[name] = self._summed(name, pooled[name], own[parent])
                total[parent] = total[parent] + voices[name] * summed[name]
                voices[parent] += voices[name]
        for name in order:
            found[name] = pooled[name]
            if name in self.parents:
                change = found[self.parents[name]] - summed[name]  # [B, C']
                above = self.above[name].to(change.device)
                found[name] = (pooled[name] + change[:, above]).log_softmax(1)
        return found

    def _summed(self, name: str, logs: Tensor, parent: Tensor) -> Tensor:
        """What a task says of the classes above its own, `[B, C']`; see `agreed`.

        Args:
            name: The task.
            logs: The logarithms of its probabilities `[B, C]`.
            parent: Those of the task above, `[B, C']`, which stay where a class has no kind.
        """
        above = self.above[name].to(logs.device)
        kinds = torch.zeros(parent.shape[1], dtype=torch.bool, device=logs.device)
        kinds[above] = True
        # Sums of exponentials, of which the greatest is 1; of a class without a kind just 1.
        most = torch.zeros_like(parent).scatter_reduce(
            1, above.expand_as(logs), logs.detach(), "amax", include_self=False
        )
        sums = (~kinds).to(logs).expand_as(parent)
        sums = sums.index_add(1, above, (logs - most[:, above]).exp())
        return torch.where(kinds, sums.log() + most, parent)

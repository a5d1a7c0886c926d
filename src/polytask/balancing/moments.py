"""Adam for a number per task, where a task that is absent stands still.

T tasks, A active tasks.
"""

import torch
from torch import Tensor, nn


class Moments(nn.Module):
    """Adam's moments and step counts, each task's own (Kingma and Ba, ICLR 2015).

    Args:
        num_tasks: T.
    """

    def __init__(self, num_tasks: int) -> None:
        super().__init__()
        self.first: Tensor
        self.second: Tensor
        self.counts: Tensor
        for name in ("first", "second", "counts"):
            self.register_buffer(name, torch.zeros(num_tasks, dtype=torch.float64))

    def step(self, tasks: Tensor, gradient: Tensor) -> Tensor:
        """The direction `[A]` to descend in, for the gradients `[A]` of `tasks`."""
        counts = self.counts[tasks] + 1
        first = 0.9 * self.first[tasks] + 0.1 * gradient
        second = 0.999 * self.second[tasks] + 0.001 * gradient**2
        self.first[tasks], self.second[tasks], self.counts[tasks] = first, second, counts
        return (first / (1 - 0.9**counts)) / ((second / (1 - 0.999**counts)).sqrt() + 1e-8)

"""A diagnosis of how task gradients get on with each other, for any training loop.

T tasks, A active tasks, P shared parameters (entries).
"""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

EVERYTHING = "all"


@dataclass(frozen=True)
class ConflictRecord:
    """One observed step.

    Attributes:
        step: Its number, counted from 1.
        cosines: Per group of parameters, `[T, T]`; NaN where a task was absent or its gradient
            zero.
        norms: Per group, `[T]` gradient norms; NaN where absent.
        weights: `[T]`, NaN where absent; None if the balancer has none.
    """

    step: int
    cosines: Mapping[str, Tensor]
    norms: Mapping[str, Tensor]
    weights: Tensor | None


class Conflict:
    """Collects cosines, norms and weights of the task gradients, each `every` steps.

    Hand it to `backward(..., observe=conflict)`. A step that is observed costs one trunk backward
    per task under a loss balancer, and next to nothing under one that takes gradients anyway.

    Args:
        num_tasks: T.
        groups: Parameters by the name of their group, such as a layer; those of no group are
            counted under `all` only.
        every: Observe each so many steps.
        keep: How many records are kept.
    """

    def __init__(
        self,
        num_tasks: int,
        *,
        groups: Mapping[str, Iterable[Tensor]] | None = None,
        every: int = 20,
        keep: int = 1000,
    ) -> None:
        if every < 1 or keep < 1:
            raise ValueError(f"`every` and `keep` should be at least 1. Found {every}, {keep}.")
        if groups is not None and EVERYTHING in groups:
            raise ValueError(f"`groups` should not use the name '{EVERYTHING}'.")
        self.num_tasks, self.every = num_tasks, every
        self.group_of = {p: name for name, ps in (groups or {}).items() for p in ps}
        self.names = [EVERYTHING, *(groups or {})]
        self.steps = 0
        self.records: deque[ConflictRecord] = deque(maxlen=keep)

    def due(self) -> bool:
        """Count a step; whether it should be observed (the first one is)."""
        self.steps += 1
        return (self.steps - 1) % self.every == 0

    def record(
        self, gramians: Mapping[str, Tensor], weights: Tensor | None, tasks: list[int]
    ) -> None:
        """Keep what a step showed.

        Args:
            gramians: `[A, A]` by name of the group.
            weights: `[A]`, or None.
            tasks: The numbers of the A active tasks.
        """
        cosines, norms = {}, {}
        for name, gramian in gramians.items():
            lengths = gramian.diagonal().clamp_min(0).sqrt()
            inside = torch.where(lengths > 0, lengths, torch.full_like(lengths, torch.nan))
            cosines[name] = self._spread((gramian / inside / inside[:, None]).clamp(-1, 1), tasks)
            norms[name] = self._spread(lengths, tasks)
        spread = None if weights is None else self._spread(weights.detach().cpu().double(), tasks)
        self.records.append(ConflictRecord(self.steps, cosines, norms, spread))

    def cosines(self, group: str = EVERYTHING) -> Tensor:
        """The mean cosine of each pair, `[T, T]`; NaN for a pair that never met."""
        return self._all(group).nanmean(0)

    def rate(self, group: str = EVERYTHING) -> Tensor:
        """How often each pair was in conflict (cosine below 0), `[T, T]`."""
        values = self._all(group)
        return torch.where(values.isnan(), values, (values < 0).double()).nanmean(0)

    def sizes(self, group: str = EVERYTHING) -> Tensor:
        """The mean norm of each task's gradient, `[T]`, divided by the mean over tasks."""
        empty = torch.full((1, self.num_tasks), torch.nan, dtype=torch.float64)
        norms = torch.stack([*(r.norms[group] for r in self.records if group in r.norms), *empty])
        means = norms.nanmean(0)
        return means / means.nanmean()

    def weights(self) -> Tensor:
        """The mean weight of each task, `[T]`."""
        empty = torch.full((1, self.num_tasks), torch.nan, dtype=torch.float64)
        return torch.stack(
            [*(r.weights for r in self.records if r.weights is not None), *empty]
        ).nanmean(0)

    def svg(self, names: Iterable[str] | None = None) -> str:
        """A picture: mean cosines of every pair, one square per group of parameters.

        Args:
            names: The tasks' names; None for their numbers.
        """
        labels = [str(n) for n in (range(self.num_tasks) if names is None else names)]
        cell, margin = 36, 90
        side = margin + cell * self.num_tasks + 20
        parts = []
        for g, group in enumerate(self.names):
            left, means, rates = g * side, self.cosines(group), self.rate(group)
            parts.append(_text(left + margin, 16, group, "start"))
            for i, label in enumerate(labels):
                middle = margin + cell * i + cell / 2 + 4
                parts.append(_text(left + margin - 6, middle, label, "end"))
                parts.append(_text(left + middle - 4, margin - 8, label, "middle"))
                for j in range(self.num_tasks):
                    value = float(means[i, j])
                    title = f"{label} and {labels[j]}: cosine {value:.2f}, "
                    title += f"in conflict {float(rates[i, j]):.0%} of the time"
                    x, y = left + margin + cell * j, margin + cell * i
                    parts.append(
                        f'<rect x="{x}" y="{y}" width="{cell}" height="{cell}" '
                        f'fill="{_colour(value)}"><title>{title}</title></rect>'
                    )
                    parts.append(_text(x + cell / 2, y + cell / 2 + 4, f"{value:.2f}", "middle"))
        size = f'width="{side * len(self.names)}" height="{side}"'
        body = "\n".join(parts)
        return f'<svg xmlns="http://www.w3.org/2000/svg" {size}>\n{body}\n</svg>\n'

    def _all(self, group: str) -> Tensor:
        if group not in self.names:
            raise ValueError(f"`group` should be one of {self.names}. Found {group!r}.")
        empty = torch.full((1, self.num_tasks, self.num_tasks), torch.nan, dtype=torch.float64)
        return torch.stack([*(r.cosines[group] for r in self.records), *empty])

    def _spread(self, values: Tensor, tasks: list[int]) -> Tensor:
        """Values of the active tasks `[A]` or `[A, A]` among all tasks, NaN elsewhere."""
        shape = (self.num_tasks,) * values.ndim
        out = torch.full(shape, torch.nan, dtype=torch.float64)
        index = torch.tensor(tasks)
        out[index if values.ndim == 1 else (index[:, None], index)] = values
        return out


def _text(x: float, y: float, text: str, anchor: str) -> str:
    safe = text.replace("&", "&amp;").replace("<", "&lt;")
    style = f'text-anchor="{anchor}" font-size="11" font-family="sans-serif"'
    return f'<text x="{x}" y="{y}" {style}>{safe}</text>'


def _colour(cosine: float) -> str:
    """Red for conflict, white for none, blue for agreement; grey where unknown."""
    if cosine != cosine:
        return "#cccccc"
    fade = round(255 * (1 - min(1.0, abs(cosine)) * 0.7))
    return f"#ff{fade:02x}{fade:02x}" if cosine < 0 else f"#{fade:02x}{fade:02x}ff"

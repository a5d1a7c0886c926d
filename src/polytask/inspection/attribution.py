"""What each task looks at: integrated gradients of its answer.

Shapes: B examples, L frames or tokens, D features.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from polytask.errors import require
from polytask.model import MultiTaskModel
from polytask.tasks import Task
from polytask.types import Features

STEPS = 24


@dataclass(frozen=True)
class Attribution:
    """How much each raw value, or each value that the encoder's front gives, speaks for an answer.

    Attributes:
        values: `[B, ...]`, of the shape of what was looked at.
        seen: What was looked at, of the same shape.
        mask: `[B, L]` for sequences; None otherwise.
        gap: `[B]`: how far the attributions' sum is from the difference of the answer to the
            baseline's, as a share of that difference. Small is good.
    """

    values: Tensor
    seen: Tensor
    mask: Tensor | None
    gap: Tensor

    def example(self, row: int, values: Tensor | None = None) -> Tensor:
        """One example's attributions (or other values of their shape) without its padding."""
        some = self.values if values is None else values
        return some[row] if self.mask is None else some[row][self.mask[row]]


def attribute(
    model: MultiTaskModel, task: Task, raw: Features, baseline: Tensor | None = None
) -> Attribution:
    """Integrated gradients (Sundararajan, Taly and Yan 2017, by Captum) of a task's answer.

    The answer is the score that is greatest where there are several; where a task answers at many
    places (tokens, pixels), the sum of each place's greatest one. Pictures and vectors are
    attributed at their raw values; token numbers and sounds, which have no useful gradient or no
    readable one, at what the encoder's front makes of them (embeddings, log-mel frames). What the
    n-grams of a `wide` part say is added to their units, in the first of their D entries.

    Args:
        model: In evaluation mode.
        task: The task.
        raw: The examples of its input.
        baseline: What counts as nothing: one example, `[1, ...]`; None for the mean of the
            examples at raw values, and zeros at the front's.

    Raises:
        MissingDependency: If captum is not installed.
    """
    require("captum", "report")
    from captum.attr import IntegratedGradients

    name = task.input
    encoder = model.encoders[name]
    front: nn.Module = getattr(encoder, "front", encoder)
    inside = not (raw.values.ndim == 4 or raw.values.is_floating_point()) or (
        raw.values.ndim == 2 and raw.mask is not None
    )

    def scores(values: Features) -> Tensor:
        output: Tensor = model({name: values}, [task.name])[task.name]
        return task.scores(output)

    with torch.no_grad():
        given = front(raw) if inside else Features(raw.values.float(), raw.mask)
        greatest = scores(raw).argmax(2, keepdim=True)
    if baseline is None:
        zeros = torch.zeros_like(given.values)
        baseline = zeros[:1] if inside else given.values.mean(0, keepdim=True)

    def answer(values: Tensor, whose: Tensor) -> Tensor:
        """The answers for values between baseline and example, of the examples `whose`."""
        mask = None if given.mask is None else given.mask[whose]
        if inside:
            with replaced(front, Features(values, mask)):
                rows = Features(raw.values[whose], None if raw.mask is None else raw.mask[whose])
                found = scores(rows)
        else:
            found = scores(Features(values, mask))
        chosen: Tensor = found.gather(2, greatest[whose]).flatten(1).sum(1)
        return chosen

    whose = torch.arange(len(given.values))
    start = baseline.expand_as(given.values)
    method: Any = IntegratedGradients(answer)
    values, gap = method.attribute(
        given.values,
        start,
        additional_forward_args=(whose,),
        n_steps=STEPS,
        return_convergence_delta=True,
        internal_batch_size=max(len(whose), 32),
    )
    values = values.detach()
    with torch.no_grad():
        if (counted := model.by_unit(task.name, raw)) is not None:
            # Exact, as it is linear; the path from nothing to the example has none of it.
            chosen = greatest.expand(-1, counted.shape[1], -1)
            values[:, :, :1] += counted.gather(2, chosen)
        size = (answer(given.values, whose) - answer(start, whose)).abs().clamp(min=1e-6)
    return Attribution(values, given.values, given.mask, gap.abs() / size)


@contextmanager
def replaced(module: nn.Module, output: Features) -> Iterator[None]:
    """Inside, a module gives this output whatever enters it."""
    handle = module.register_forward_hook(lambda *_: output)
    try:
        yield
    finally:
        handle.remove()

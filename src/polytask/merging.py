"""Models that left one start for different tasks, as one model: arithmetic on their weights.

A change is what a model has become less the start. Integers (counters) have no change: of those
the largest counts. Computed in float64, given back in the start's type.

Shapes: M models, P numbers of all floating tensors together.
"""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from polytask.errors import RunError

State = Mapping[str, Tensor]

_SHOWN = 8


def average(start: State, models: Sequence[State], *, scale: float = 1.0) -> dict[str, Tensor]:
    """The start and the mean of the changes; with scale 1 the mean of the models.

    Args:
        start: What all models were trained from.
        models: Their weights.
        scale: How far to go along the mean change.

    Raises:
        RunError: If names or shapes differ.
    """
    changes = changes_from(start, models)
    return moved(start, models, changes.mean(0), scale)


def task_arithmetic(
    start: State, models: Sequence[State], *, scale: float = 0.4
) -> dict[str, Tensor]:
    """The start and the scaled sum of the changes (Ilharco et al. 2023).

    Theirs chooses the scale on validation data, one for all models; 0.4 is what they found to do
    where there is none.

    Args:
        start: What all models were trained from.
        models: Their weights.
        scale: Factor of the sum.

    Raises:
        RunError: If names or shapes differ.
    """
    changes = changes_from(start, models)
    return moved(start, models, changes.sum(0), scale)


def ties(
    start: State, models: Sequence[State], *, scale: float = 1.0, keep: float = 0.2
) -> dict[str, Tensor]:
    """Changes trimmed, given one sign per number, and averaged where they have it (Yadav 2023).

    Of each model the largest share of changes stays, the rest is zero. The sign of a number is
    that of the trimmed changes' sum, and the merged change is the mean of those with that sign.
    Deviation: where trimmed changes cancel exactly, theirs gives the number the sign of most
    numbers; here it stays as in the start.

    Args:
        start: What all models were trained from.
        models: Their weights.
        scale: Factor of the merged change.
        keep: Share of each model's changes that stays, in (0, 1], by magnitude over all tensors.

    Raises:
        RunError: If names or shapes differ, or `keep` is no share.
    """
    if not 0 < keep <= 1:
        raise RunError(f"`keep` should be a share above 0 and at most 1. Found {keep}.")
    trimmed = torch.stack([largest(change, keep) for change in changes_from(start, models)])
    agrees = (trimmed.sign() == trimmed.sum(0).sign()) & (trimmed != 0)
    merged = (trimmed * agrees).sum(0) / agrees.sum(0).clamp(min=1)
    return moved(start, models, merged, scale)


def largest(change: Tensor, keep: float) -> Tensor:
    """A change `[P]` with all but its largest share of magnitudes at zero; equal ones stay."""
    if not len(change):
        return change
    count = math.ceil(keep * len(change))
    magnitudes = change.abs()
    least = magnitudes.kthvalue(len(change) - count + 1).values
    return change.where(magnitudes >= least, 0.0)


def changes_from(start: State, models: Sequence[State]) -> Tensor:
    """What each model's floating tensors are more than the start's, `[M, P]` of float64.

    Raises:
        RunError: If there is no model, or names or shapes differ from the start's.
    """
    wanted = "Merging takes the `state_dict()` of the start and a list of those of the models."
    for given in (start, *([models] if isinstance(models, Mapping) else models)):
        if not isinstance(given, Mapping):
            raise RunError(f"{wanted} Found {type(given).__name__}.")
    if isinstance(models, Mapping) or not isinstance(models, Sequence):
        raise RunError(f"{wanted} Found {type(models).__name__} in place of a list.")
    if not models:
        raise RunError("There is nothing to merge: expected at least one model, found none.")
    for number, model in enumerate(models, 1):
        require_alike(start, model, f"model {number}")
    origin = flat(start, start)
    return torch.stack([flat(model, start) - origin for model in models])


def require_alike(start: State, model: State, what: str, like: str = "the start") -> None:
    """Raise unless a model has the start's names and shapes.

    Args:
        start: What it should look like.
        model: The weights to look at.
        what: What to call it in the message.
        like: What to call what it should look like.

    Raises:
        RunError: With what differs.
    """
    wrong = [f"{name}: only in {like}" for name in start if name not in model]
    wrong += [f"{name}: not in {like}" for name in model if name not in start]
    wrong += [
        f"{name}: {list(value.shape)} in {like}, {list(model[name].shape)} here"
        for name, value in start.items()
        if name in model and model[name].shape != value.shape
    ]
    if wrong:
        more = f"; and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
        raise RunError(
            f"Only models of one build can be merged; {what} is built otherwise than {like}: "
            f"{'; '.join(wrong[:_SHOWN])}{more}."
        )


def flat(state: State, like: State) -> Tensor:
    """The floating tensors of a state in the order of another, `[P]` of float64."""
    floating = [name for name, value in like.items() if value.is_floating_point()]
    parts = [state[name].detach().double().flatten() for name in floating]
    return torch.cat(parts) if parts else torch.zeros(0, dtype=torch.float64)


def moved(start: State, models: Sequence[State], change: Tensor, scale: float) -> dict[str, Tensor]:
    """The start with a change `[P]` added to its floating tensors; of the others the largest."""
    merged: dict[str, Tensor] = {}
    at = 0
    for name, value in start.items():
        if value.is_floating_point():
            part = change[at : at + value.numel()].view_as(value)
            merged[name] = (value.detach().double() + scale * part).to(value.dtype)
            at += value.numel()
        else:
            merged[name] = torch.stack([model[name] for model in models]).amax(0)
    return merged

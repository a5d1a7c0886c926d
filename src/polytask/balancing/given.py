"""What a loop hands to `backward`, taken in or refused by name."""

import inspect
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn


def one_per_task(losses: Sequence[Tensor | None]) -> list[Tensor]:
    """T scalars, NaN for a task whose entry is None.

    Raises:
        TypeError: If the losses are no tensors, or go by names.
        ValueError: If there is none, or a loss is not a scalar.
    """
    if isinstance(losses, Mapping):
        raise TypeError(
            "`losses` should be a list in the balancer's order of tasks. Found "
            f"{type(losses).__name__}. Pass `[losses[task] for task in tasks]`."
        )
    if isinstance(losses, nn.Module):
        raise TypeError(f"The losses come first, then the balancer. Found {_kind(losses)} first.")
    given = list(losses)
    if not given:
        raise ValueError("`losses` is empty. Pass one loss per task.")
    for task, loss in enumerate(given):
        if loss is not None and not isinstance(loss, Tensor):
            raise TypeError(
                f"The loss of task {task} should be a tensor with its graph. Found {_kind(loss)}. "
                "Leave out `.item()` and the like; of a task without a label put None there and "
                "pass `active=`."
            )
        if loss is not None and (loss.numel() != 1 or loss.is_complex()):
            raise ValueError(
                f"The loss of task {task} should be one real number. Found {loss.dtype} of shape "
                f"{tuple(loss.shape)}. Take the mean over its examples."
            )
    some = [loss for loss in given if loss is not None]
    whole = some
    if len(some) < len(given):
        nothing = torch.full((), torch.nan, device=some[0].device if some else None)
        whole = [nothing if loss is None else loss for loss in given]
    # A leaf has no node of its own for a pass to begin at; a view of it has.
    return [loss.reshape(()) if loss.ndim or loss.is_leaf else loss for loss in whole]


def one_dimension(losses: Tensor) -> None:
    """Raise unless the losses are real numbers `[T]`."""
    if losses.ndim == 1 and not losses.is_complex():
        return
    remedy = "Take the mean over the examples of each task, and `torch.stack` the means."
    if losses.ndim == 0:
        remedy = "Pass them before they are added up: `torch.stack([loss_a, loss_b])`."
    raise ValueError(
        f"`losses` should be real numbers of shape [T], one per task. Found {losses.dtype} of "
        f"shape {tuple(losses.shape)}. {remedy}"
    )


def tensors(parameters: Iterable[Tensor], called: str = "`shared`") -> list[Tensor]:
    """Parameters, each once.

    Args:
        parameters: The parameters.
        called: What to call them in messages.

    Raises:
        TypeError: If they are given as something else.
        ValueError: If they have been gone through already, or are computed from others.
    """
    if isinstance(parameters, nn.Module):
        raise TypeError(
            f"{called} should be parameters. Found {_kind(parameters)}: pass its `.parameters()`."
        )
    if isinstance(parameters, Tensor):
        raise TypeError(f"{called} should be several parameters. Found one tensor: put it in [ ].")
    if inspect.isgenerator(parameters) and inspect.getgeneratorstate(parameters) == "GEN_CLOSED":
        raise ValueError(
            f"{called} is a generator that has been gone through before, by an earlier step or an "
            "optimizer, and is empty now. Call `.parameters()` in each step, or keep a list."
        )
    found = list(parameters)
    for p in found:
        if not isinstance(p, Tensor):
            raise TypeError(
                f"{called} should hold parameters. Found {_kind(p)}. Pass what `.parameters()` "
                "gives, not modules, names, pairs or groups of them."
            )
        if not p.is_leaf:
            raise ValueError(
                f"A tensor of shape {tuple(p.shape)} in {called} is computed from others "
                f"({p.grad_fn}) and receives no gradient. Pass the parameters that it is made of."
            )
    return list(dict.fromkeys(found))


def _kind(thing: object) -> str:
    return thing.__name__ if isinstance(thing, type) else type(thing).__name__

"""How far a student is from a teacher: in what it predicts, and in its features.

Shapes: B examples, C classes, K outputs, D features.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from polytask.errors import ConfigError
from polytask.tasks import Binary, Multiclass, Multilabel, Regression, Task

SoftLoss = Callable[[Tensor, Tensor, float], Tensor]


def soft_cross_entropy(output: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """`T^2 KL(softmax(teacher / T) || softmax(output / T))` (Hinton et al. 2015), `[B]`.

    The factor keeps gradients of one size whatever the temperature.
    """
    _alike(output, teacher, temperature)
    ours, theirs = (F.log_softmax(logits / temperature, 1) for logits in (output, teacher))
    return F.kl_div(ours, theirs, reduction="none", log_target=True).sum(1) * temperature**2


def soft_binary(output: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Binary cross-entropy with `sigmoid(teacher / T)` as label, times T^2; mean over K, `[B]`."""
    _alike(output, teacher, temperature)
    label = (teacher / temperature).sigmoid()
    loss = F.binary_cross_entropy_with_logits(output / temperature, label, reduction="none")
    return loss.mean(1) * temperature**2


def squared(output: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """The squared distance of predictions, mean over K, `[B]`; there is no temperature here."""
    _alike(output, teacher, temperature)
    return (output - teacher).square().mean(1)


def _alike(output: Tensor, teacher: Tensor, temperature: float) -> None:
    """Raise unless outputs can be compared entry by entry."""
    if output.ndim < 2 or output.shape != teacher.shape:
        raise ValueError(
            "A student's and a teacher's outputs should have one shape, [B, C] or [B, K]. Found "
            f"{tuple(output.shape)} and {tuple(teacher.shape)}."
        )
    if not temperature > 0:
        raise ValueError(f"`temperature` should be above 0. Found {temperature}.")


def feature_distance(ours: Tensor, theirs: Tensor) -> Tensor:
    """The squared distance of vectors scaled to length one, `[B]` (Li & Bilen 2020)."""
    return (F.normalize(ours, dim=1) - F.normalize(theirs, dim=1)).square().sum(1)


# Per kind of task: how a student's output is compared with a teacher's.
SOFT_LOSSES: dict[type[Task], SoftLoss] = {
    Multiclass: soft_cross_entropy,
    Binary: soft_binary,
    Multilabel: soft_binary,
    Regression: squared,
}


def as_label(task: Task, output: Tensor) -> Tensor:
    """The label that a teacher's output (in the task's own terms) stands for, as a target."""
    if isinstance(task, Multiclass):
        return output.argmax(1)
    if isinstance(task, Regression):
        return task.decode(output)
    likely = (output > 0).float()
    return likely.squeeze(1) if isinstance(task, Binary) else likely


def filled(target: Tensor, present: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
    """Targets with `label` wherever a label, or one of its entries, is absent.

    Returns:
        The targets, and how many examples got anything.
    """
    known = present.view(-1, *[1] * (target.ndim - 1)).expand_as(target)
    if target.is_floating_point():
        known = known & ~target.isnan()
    return torch.where(known, target, label.to(target.dtype)), (~known).unsqueeze(-1).flatten(
        1
    ).any(1).sum()


def in_terms_of(student: Task, teacher: Task) -> Callable[[Tensor], Tensor]:
    """How a teacher's output becomes one in the student's order of classes, or on its scale.

    Raises:
        ConfigError: If the two tasks do not predict the same.
    """
    if type(student) is not type(teacher) or type(student) not in SOFT_LOSSES:
        raise ConfigError(
            f"Task '{student.name}' ({type(student).__name__}) can't learn from a teacher's "
            f"{type(teacher).__name__}. Both should be one of "
            f"{', '.join(kind.__name__ for kind in SOFT_LOSSES)}."
        )
    if isinstance(student, Regression):
        if student.outputs != teacher.outputs:
            raise ConfigError(
                f"Task '{student.name}' has {student.outputs} outputs. Its teacher has "
                f"{teacher.outputs}."
            )
        mean, std = torch.tensor(student.mean), torch.tensor(student.std)
        return lambda out: (teacher.decode(out) - mean.to(out.device)) / std.to(out.device)
    if isinstance(student, Multiclass) and (
        "one-vs-rest" in (student.criterion, teacher.criterion)  # type: ignore[attr-defined]
    ):
        raise ConfigError(
            f"Task '{student.name}' is one-vs-rest, here or in its teacher. Soft targets are "
            "compared by softmax: use 'criterion: softmax', or 'kind: multilabel', in both."
        )
    ours, theirs = student.classes, teacher.classes  # type: ignore[attr-defined]
    if set(ours) != set(theirs):
        raise ConfigError(
            f"Task '{student.name}' should have its teacher's labels: {', '.join(theirs)}. Found "
            f"{', '.join(ours)}."
        )
    if isinstance(student, Binary):
        return (lambda out: out) if ours == theirs else (lambda out: -out)
    order = [theirs.index(name) for name in ours]
    return lambda out: out[:, order]

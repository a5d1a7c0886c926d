"""Teachers: their losses, labels that they fill in, and a training with them."""

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from polytask.balancing import EqualWeighting
from polytask.distillation import (
    Lesson,
    SoftLoss,
    Teacher,
    Teaching,
    as_label,
    filled,
    in_terms_of,
    soft_binary,
    soft_cross_entropy,
    squared,
)
from polytask.errors import ConfigError
from polytask.model import Boundary
from polytask.tasks import Multiclass, Regression
from polytask.training.checkpoint import load_state
from polytask.training.optim import SGD
from polytask.training.step import train_step
from polytask.training.trainer import Trainer
from polytask.types import Batch, Features
from tests.networks import TASKS, batch, network, parameters
from tests.training.loops import Watcher, fabric, trainer

KIND, VALUES, TRUTH, TAGS = TASKS


def test_soft_losses_are_the_papers() -> None:
    ours, theirs = torch.randn(2, 5, 3, dtype=torch.float64).unbind(0)
    p, q = (theirs / 4).softmax(1), (ours / 4).softmax(1)
    torch.testing.assert_close(
        soft_cross_entropy(ours, theirs, 4.0), 16 * (p * (p.log() - q.log())).sum(1)
    )
    assert float(soft_cross_entropy(ours, ours, 3.0).abs().max()) < 1e-12
    p, q = (theirs / 2).sigmoid(), (ours / 2).sigmoid()
    by_hand = -(p * q.log() + (1 - p) * (1 - q).log()).mean(1)
    torch.testing.assert_close(soft_binary(ours, theirs, 2.0), 4 * by_hand)


def test_the_gradient_of_a_hot_teacher_is_the_difference_of_logits() -> None:
    # Hinton et al. 2015: for T -> infinity T^2 KL matches centred logits, (z - v) / C.
    ours = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    theirs = torch.randn(4, 3, dtype=torch.float64)
    soft_cross_entropy(ours, theirs, 1e4).sum().backward()
    centred = (ours - ours.mean(1, keepdim=True)) - (theirs - theirs.mean(1, keepdim=True))
    torch.testing.assert_close(ours.grad, centred.detach() / 3, atol=1e-4, rtol=1e-3)


def test_a_teacher_speaks_in_the_students_order_and_scale() -> None:
    assert isinstance(KIND, Multiclass) and isinstance(VALUES, Regression)
    mixed = replace(KIND, classes=("z", "x", "y"))
    output = torch.randn(4, 3)
    translated = in_terms_of(KIND, mixed)(output)
    ours = [KIND.classes[i] for i in translated.argmax(1)]
    assert ours == [mixed.classes[i] for i in output.argmax(1)]
    other = replace(VALUES, mean=(3.0, 4.0), std=(1.0, 7.0))
    values = torch.randn(4, 2)
    torch.testing.assert_close(
        VALUES.decode(in_terms_of(VALUES, other)(values)), other.decode(values)
    )
    swapped = replace(TRUTH, classes=("yes", "no"))  # type: ignore[call-arg]
    torch.testing.assert_close(in_terms_of(TRUTH, swapped)(values), -values)
    for theirs in (replace(KIND, classes=("x", "y", "w")), VALUES):
        with pytest.raises(ConfigError):
            in_terms_of(KIND, theirs)


def test_only_absent_labels_are_filled() -> None:
    nan = float("nan")
    target = torch.tensor([[1.0, nan], [nan, nan], [3.0, 4.0]])
    label = torch.full((3, 2), 9.0)
    got, count = filled(target, torch.tensor([True, False, True]), label)
    assert got.tolist() == [[1, 9], [9, 9], [3, 4]] and int(count) == 2
    got, count = filled(torch.tensor([5, -1]), torch.tensor([True, False]), torch.tensor([7, 8]))
    assert got.tolist() == [5, 8] and int(count) == 1
    output = torch.tensor([[-1.0, 2.0]])
    assert as_label(KIND, output).tolist() == [1]
    assert as_label(TAGS, output).tolist() == [[0, 1]]
    assert as_label(TRUTH, output[:, :1]).tolist() == [0]
    assert as_label(VALUES, output).tolist() == [[-1.5, 0.0]]


def teaching(model, lesson: Lesson, tasks=TASKS) -> Teaching:  # type: ignore[no-untyped-def]
    torch.manual_seed(5)
    return Teaching([Teacher(network(tasks, width=4, seed=9), tasks, model, TASKS, lesson)])


def stepped(model, examples: Batch, teachers: Teaching, progress: float) -> None:  # type: ignore[no-untyped-def]
    spec, runner = SGD(lr=0.1), fabric()
    wrapped, optimizer = runner.setup(model, spec.make(spec.groups(model, [])))
    shared = list(model.shared_parameters())
    private = [p for p in model.parameters() if all(p is not s for s in shared)]
    train_step(
        runner,
        wrapped,
        examples,
        TASKS,
        balancer=EqualWeighting(4),
        optimizer=optimizer,
        shared=shared,
        private=private,
        clip=None,
        teaching=teachers,
        progress=progress,
    )


@pytest.mark.parametrize("fill", [False, True])
@pytest.mark.parametrize("anneal", [False, True])
@pytest.mark.parametrize("absent", [[], ["type"]])
@pytest.mark.parametrize("trunk", ["hard", "independent"])
def test_a_taught_step_is_the_hand_written_one(
    fill: bool, anneal: bool, absent: list[str], trunk: str
) -> None:
    lesson = Lesson(
        run=Path(),
        tasks={"type": 2.0, "values": 1.0},
        weight=0.5,
        temperature=3.0,
        fill_missing=fill,
        anneal=anneal,
    )
    model, examples = network(trunk=trunk), batch(absent=absent)
    twin, teachers = copy.deepcopy(model), teaching(model, lesson)
    teacher = network(width=4, seed=9)
    stepped(model, examples, teachers, 0.25)

    names = [task.name for task in TASKS]
    outputs = twin(examples.inputs, names)
    with torch.no_grad():
        said = teacher(examples.inputs, names)
    soft = {
        "type": 9 * F.kl_div(
            (outputs["type"] / 3).log_softmax(1), (said["type"] / 3).softmax(1), reduction="none"
        ).sum(1).mean(),
        "values": (outputs["values"] - said["values"]).square().mean(1).mean(),
    }  # fmt: skip
    total = torch.zeros(())
    for task in TASKS:
        target, rows = examples.targets[task.name], examples.present[task.name]
        if fill and task.name in soft:
            guess = {"type": said["type"].argmax(1), "values": VALUES.decode(said["values"])}
            target, _ = filled(target, rows, guess[task.name])
            rows = torch.ones_like(rows)
        loss = torch.zeros(())
        if rows.any():
            loss = task.loss(outputs[task.name][rows], target[rows]).mean()
        if task.name in soft:
            weight = {"type": 1.0, "values": 0.5}[task.name]
            loss = (0.25 if anneal else 1.0) * loss
            loss = loss + (0.75 if anneal else 1.0) * weight * soft[task.name]
        total = total + loss
    total.backward()
    for (name, ours), theirs in zip(model.named_parameters(), twin.parameters(), strict=True):
        assert theirs.grad is not None, name
        torch.testing.assert_close(ours, theirs - 0.1 * theirs.grad, atol=1e-6, rtol=1e-5, msg=name)


def test_a_teacher_never_moves_and_misfits_are_named() -> None:
    model = network()
    teachers = teaching(model, Lesson(run=Path()), TASKS[:2])
    before = parameters(teachers)
    teachers.train()
    stepped(model, batch(), teachers, 0.0)
    assert all(torch.equal(v, before[k]) for k, v in parameters(teachers).items())
    assert not any(module.training for module in teachers.teachers[0].modules())  # type: ignore[union-attr]
    with pytest.raises(ConfigError, match="teacher has no task 'tags'"):
        teaching(model, Lesson(run=Path(), tasks={"tags": 1.0}), TASKS[:2])
    other = (replace(KIND, input="sound"),)
    with pytest.raises(ConfigError, match="matched by name"):
        Teacher(network(other), other, model, TASKS, Lesson(run=Path()))
    with pytest.raises(ConfigError, match="temperature"):
        Lesson(run=Path(), temperature=0.0)


def test_feature_losses_use_masks_and_reach_adaptor_and_trunk() -> None:
    model = network()
    teachers = teaching(model, Lesson(run=Path(), match="features"))
    lessons, boundary = teachers(batch(), 0.0), Boundary()
    outputs = model(batch().inputs, ["type"], boundary)
    loss = lessons.loss("type", outputs["type"], boundary)
    assert 0 <= float(loss.detach()) <= 4 * len(outputs["type"])
    loss.backward()
    adaptor = teachers.adaptors()[0]["type"]
    assert adaptor.weight.grad.abs().sum() > 0
    assert all(p.grad is not None for p in model.trunk.parameters())
    values = torch.randn(2, 3, 7)
    long = Features(values, torch.tensor([[True, True, False]] * 2))
    teacher = teachers.teachers[0]
    said = (outputs["type"], torch.randn(2, 7))
    assert isinstance(teacher, Teacher)
    torch.testing.assert_close(
        teacher.loss("type", said, outputs["type"], long),
        teacher.loss("type", said, outputs["type"], Features(values[:, :2])),
    )


@pytest.mark.parametrize("match", ["logits", "features"])
def test_resuming_repeats_a_taught_training_and_counts_what_was_filled(
    tmp_path: Path, match: str
) -> None:
    lesson = Lesson(run=Path(), match=match, fill_missing=True, anneal=True)  # type: ignore[arg-type]

    def made(folder: str, watcher: Watcher, **settings: int) -> Trainer:
        (tmp_path / folder).mkdir(exist_ok=True)
        model = network(dropout=0.2)
        return trainer(
            tmp_path / folder,
            model=model,
            watcher=watcher,
            optimizer=SGD(lr=0.05, momentum=0.9),
            teaching=teaching(model, lesson),
            **settings,
        )

    def state(of: Trainer) -> dict[str, Tensor]:
        found = parameters(of.bare)
        for i, adaptor in enumerate(of.adaptors):
            found |= {f"{i}.{k}": v for k, v in parameters(adaptor).items()}
        return found

    whole, watcher = made("whole", (seen := Watcher())), Watcher()
    assert whole.fit()
    stopped = made("cut", watcher)
    watcher.after = {6: stopped._stop.set}
    assert not stopped.fit()
    again = made("cut", Watcher())
    again.load_state_dict(load_state(again.checkpoint))
    assert again.fit()
    for name, value in state(whole).items():
        assert torch.equal(value, state(again)[name]), name
    expected = sum(int((~batch(step).present["type"]).sum()) for step in range(4))
    assert seen.epochs[0].filled is not None
    assert seen.epochs[0].filled["type"] == expected


@pytest.mark.parametrize("compare", [soft_cross_entropy, soft_binary, squared])
def test_outputs_that_cannot_be_compared_are_refused(compare: SoftLoss) -> None:
    """Shapes that broadcast give a loss of other examples' outputs, and no error."""
    output = torch.randn(6, 1)
    for teacher in (torch.randn(6), torch.randn(1, 1), torch.randn(6, 2)):
        with pytest.raises(ValueError, match=r"one shape.*\(6, 1\)"):
            compare(output, teacher, 2.0)
    with pytest.raises(ValueError, match="one shape"):
        compare(output.squeeze(1), output.squeeze(1), 2.0)
    with pytest.raises(ValueError, match="above 0"):
        compare(output, output, 0.0)

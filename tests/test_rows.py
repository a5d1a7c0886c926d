"""Of which rows a task's output is read, and which rows its part of the network therefore sees.

Shapes: B examples, L tokens.
"""

from collections.abc import Sequence
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from polytask.backbones import PerceptronBackbone, RecurrentBackbone, ResidualBackbone
from polytask.balancing import MGDA, backward
from polytask.config.catalogue import TRUNKS
from polytask.encoders import Encoder, PixelEncoder, StackedEncoder, VectorEncoder
from polytask.evaluation import evaluate
from polytask.model import Boundary, MultiTaskModel, guidance
from polytask.tasks import Multiclass, Regression, Tagging, Task
from polytask.tasks.generation import Generation
from polytask.tasks.sequences import PADDING
from polytask.training.losses import read_rows, task_losses
from polytask.types import Batch, Blend, Features
from tests.networks import TASKS, batch, network
from tests.training.loops import fabric

NAMES = [task.name for task in TASKS]
APART = [kind for kind, trunk in TRUNKS.items() if trunk.apart]

# Rows 0 to 5: words, and of some of them a class; row 3 is read by nobody.
WORDS = torch.tensor([True, True, True, False, False, False])
CLASS = torch.tensor([False, False, False, False, True, True])
MASK = torch.arange(7) < torch.tensor([[7], [3], [1], [5], [4], [2]])


class AsTheyAre(Encoder):
    """Sequences that need no encoding."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.out_features = width

    def forward(self, raw: Features) -> Features:
        return raw


TAGS = Tagging(name="tags", input="words", target={}, classes=("x", "y", "z"), decoder="crf")
KIND = Multiclass(name="kind", input="words", target={}, classes=("p", "q"), counts=(1, 1))
SPELL = Generation(name="spell", input="words", target={}, classes=("a", "b"), width=4, longest=3)


def sentences(kind: str, tasks: Sequence[Task] = (TAGS, KIND)) -> MultiTaskModel:
    torch.manual_seed(0)
    make = partial(RecurrentBackbone, 4, cell="lstm", width=3, layers=2)
    names = [task.name for task in tasks]
    model = MultiTaskModel({"words": AsTheyAre(4)}, TRUNKS[kind](make, names), tasks)
    with torch.no_grad():
        for parameter in model.trunk.parameters():  # some start without effect
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def examples() -> Batch:
    random = torch.Generator().manual_seed(1)
    tags = torch.randint(0, 3, (6, 7), generator=random).masked_fill(~MASK, PADDING)
    return Batch(
        {"words": Features(torch.randn(6, 7, 4, generator=random), MASK)},
        {"tags": tags, "kind": torch.tensor([9, 9, 9, 9, 0, 1])},
        {"tags": WORDS, "kind": CLASS},
    )


def seen(model: MultiTaskModel) -> dict[str, list[int]]:
    """How many rows each column of an independent trunk is given, pass by pass, from now on."""
    found: dict[str, list[int]] = {}
    for task in model.trunk.tasks:
        column = model.trunk.columns[task]  # type: ignore[operator,union-attr,index]
        column.register_forward_pre_hook(  # type: ignore[union-attr]
            lambda _, given, name=task: found.setdefault(name, []).append(len(given[0].values))
        )
    return found


def test_columns_that_exchange_something_are_not_apart() -> None:
    assert set(APART) == {"independent", "soft", "lora"}


@pytest.mark.parametrize("kind", APART)
def test_a_trunk_whose_passes_are_apart_gives_rows_what_it_gives_all_rows(kind: str) -> None:
    trunk, features = sentences(kind).trunk, examples().inputs["words"]
    places = torch.tensor([5, 1])
    whole = trunk(features, ["tags", "kind"])
    for task in ("tags", "kind"):
        (found,) = trunk(features.of_rows(places), [task]).values()
        assert found.mask is not None and torch.equal(found.mask, MASK[places])
        inside = found.mask.unsqueeze(2)
        torch.testing.assert_close(
            found.values * inside, whole[task].values[places] * inside, atol=1e-6, rtol=1e-5
        )


@pytest.mark.parametrize("kind", TRUNKS)
def test_rows_that_are_read_are_as_without_saying_so(kind: str) -> None:
    model, given = sentences(kind), examples()
    rows = {"tags": WORDS, "kind": CLASS}

    def run(**said: object) -> tuple[dict[str, Tensor], dict[str, Tensor | None]]:
        model.zero_grad()
        boundary = Boundary()
        outputs = model(given.inputs, ["tags", "kind"], boundary, **said)
        total = sum(o[rows[name]].square().sum() for name, o in outputs.items())
        total.backward()  # type: ignore[union-attr]
        return outputs, {n: p.grad for n, p in model.named_parameters()}

    (plain, expected), (ours, found) = run(), run(rows=rows)
    for name, read in rows.items():
        assert ours[name].shape == plain[name].shape
        torch.testing.assert_close(ours[name][read], plain[name][read], atol=1e-6, rtol=1e-5)
        nothing = ours[name][~read].eq(0).all()
        assert bool(nothing) == (kind in APART), "the others are computed or they are zeros"
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, atol=1e-6, rtol=1e-4, msg=name)


@pytest.mark.parametrize("kind", APART)
def test_a_task_of_which_no_row_is_read_is_absent(kind: str) -> None:
    model, given = sentences(kind), examples()
    none = torch.zeros(6, dtype=torch.bool)
    boundary = Boundary()
    outputs = model(given.inputs, ["tags", "kind"], boundary, rows={"tags": WORDS, "kind": none})
    assert list(outputs) == list(boundary.aliases) == ["tags"]
    assert len(boundary.features["tags"]) == len(boundary.masks["tags"]) == 3  # type: ignore[arg-type]
    outputs["tags"].sum().backward()
    own = [n for n, p in model.named_parameters() if "kind" in n and p.grad is not None]
    assert not own
    assert model(given.inputs, ["kind"], rows={"kind": none}) == {}


def test_columns_run_on_labelled_rows_in_training_and_judging_and_on_all_in_predicting() -> None:
    model, given = sentences("independent"), examples()
    count = seen(model)
    losses, counts = task_losses(fabric(), model, given, [TAGS, KIND], Boundary())
    assert counts.tolist() == [3, 2] and all(loss.requires_grad for loss in losses)
    evaluate(model, [given], [TAGS, KIND], torch.device("cpu"))
    model(given.inputs, ["tags", "kind"])
    assert count == {"tags": [3, 3, 6], "kind": [2, 2, 6]}
    absent = Batch(given.inputs, given.targets, {"tags": WORDS, "kind": ~WORDS & ~MASK[:, 0]})
    losses, counts = task_losses(fabric(), model, absent, [TAGS, KIND], Boundary())
    assert counts.tolist() == [3, 0] and float(losses[1]) == 0 and not losses[1].requires_grad
    assert count["kind"] == [2, 2, 6], "without a label the column isn't run"


def test_where_all_rows_are_read_one_pass_serves_as_before() -> None:
    model, given = network(trunk="independent"), batch(missing=0.0)
    everything = {name: torch.ones(8, dtype=torch.bool) for name in NAMES}
    calls = []
    model.trunk.register_forward_hook(lambda _, args, out: calls.append(list(out)))
    model(given.inputs, NAMES, rows=everything)
    assert calls == [["type", "values"], ["training", "tags"]]


def test_scores_are_those_of_all_rows() -> None:
    """Of a trunk that computes the rows that count, and the same one made to compute all."""
    given = [batch(seed) for seed in range(3)]
    model = network(trunk="independent").eval()
    found = evaluate(model, given, TASKS, torch.device("cpu"))
    model.trunk.apart = False  # type: ignore[misc]
    expected = evaluate(model, given, TASKS, torch.device("cpu"))
    assert found.keys() == expected.keys()
    for task, scores in expected.items():
        assert scores["loss"] is not None and scores.keys() == found[task].keys()
        for name, value in scores.items():
            assert found[task][name] == pytest.approx(value, rel=1e-5), (task, name)


def test_a_head_that_reads_targets_reads_those_of_its_rows() -> None:
    model, given = sentences("independent", (TAGS, SPELL)), examples()
    spelled = torch.tensor([[0, 1, PADDING], [1, 1, 0], [0, PADDING, PADDING]]).repeat(2, 1)
    given = Batch(
        given.inputs,
        {"tags": given.targets["tags"], "spell": spelled},
        {"tags": WORDS, "spell": CLASS},
    )
    guides = guidance([TAGS, SPELL], given)
    assert list(guides["guides"]) == ["spell"]
    whole = model(given.inputs, ["tags", "spell"], **guides)["spell"]
    rows = {"tags": WORDS, "spell": CLASS}
    some = model(given.inputs, ["tags", "spell"], rows=rows, **guides)["spell"]
    torch.testing.assert_close(some[CLASS], whole[CLASS], atol=1e-6, rtol=1e-5)
    assert some[~CLASS].eq(0).all() and whole[~CLASS].any()


def test_batch_normalisation_takes_statistics_of_labelled_rows() -> None:
    """As in a network for the task alone that is shown no other rows."""
    tasks = (
        Multiclass(name="a", input="picture", target={}, classes=("x", "y"), counts=(1, 1)),
        Regression(name="b", input="picture", target={}, mean=(0.0,), std=(1.0,)),
    )

    def made(some: Sequence[Task]) -> MultiTaskModel:
        torch.manual_seed(0)
        trunk = TRUNKS["independent"](
            partial(ResidualBackbone, 3, widths=(4,)), [t.name for t in some]
        )
        pixels = PixelEncoder(3, [0.5] * 3, [0.25] * 3)
        return MultiTaskModel({"picture": pixels}, trunk, some)

    pixels = torch.randint(0, 256, (6, 3, 12, 12)).to(torch.uint8)
    pixels[2:] //= 8  # another kind of pictures
    rows = {"a": torch.arange(6) < 2, "b": torch.arange(6) >= 2}
    both, alone = made(tasks), made(tasks[:1])
    both({"picture": Features(pixels)}, ["a", "b"], rows=rows)
    alone({"picture": Features(pixels[:2])}, ["a"])
    norms = [
        {n: m for n, m in model.trunk.columns["a"].named_modules() if isinstance(m, nn.BatchNorm2d)}  # type: ignore[operator,union-attr,index]
        for model in (both, alone)
    ]
    assert norms[0] and norms[0].keys() == norms[1].keys()
    for name, norm in norms[0].items():
        torch.testing.assert_close(norm.running_mean, norms[1][name].running_mean)
        torch.testing.assert_close(norm.running_var, norms[1][name].running_var)


def test_mirror_images_of_the_rows_that_are_read() -> None:
    task = Multiclass(name="a", input="picture", target={}, classes=("x", "y"), counts=(1, 1))
    torch.manual_seed(0)
    trunk = TRUNKS["independent"](partial(ResidualBackbone, 3, widths=(4,)), ["a"])
    front = PixelEncoder(3, [0.5] * 3, [0.25] * 3, mirror=True)
    model = MultiTaskModel({"picture": front}, trunk, [task]).eval()
    pixels = {"picture": Features(torch.randint(0, 256, (4, 3, 12, 12)).to(torch.uint8))}
    read = torch.tensor([False, True, True, False])
    whole, some = model(pixels, ["a"])["a"], model(pixels, ["a"], rows={"a": read})["a"]
    torch.testing.assert_close(some[read], whole[read], atol=1e-6, rtol=1e-5)
    assert some[~read].eq(0).all()


def test_of_blends_the_rows_with_either_label_are_read() -> None:
    task = TASKS[0]
    given = batch()
    other = ~given.present["type"]
    other[0] = False
    blend = Blend({"type": given.targets["type"]}, {"type": other}, torch.full((8,), 0.5))
    blended = Batch(given.inputs, given.targets, given.present, {}, {"picture": blend})
    assert torch.equal(read_rows(task, given), given.present["type"])
    assert torch.equal(read_rows(task, blended), given.present["type"] | other)


def test_balancing_over_columns_of_unlike_numbers_of_rows() -> None:
    """An encoder that several tasks read is moved as by columns that run on all rows."""

    def gradients(apart: bool) -> dict[str, Tensor | None]:
        torch.manual_seed(0)
        encoder = StackedEncoder(VectorEncoder(5), width=6)
        tasks = TASKS[:2]
        names = [task.name for task in tasks]
        trunk = TRUNKS["independent"](partial(PerceptronBackbone, 6, widths=(6,)), names)
        trunk.apart = apart  # type: ignore[misc]
        model, boundary = MultiTaskModel({"picture": encoder}, trunk, tasks), Boundary()
        losses, _ = task_losses(fabric(), model, batch(tasks=tasks), tasks, boundary)
        balancer = MGDA(2)
        features = [boundary.aliases[name] for name in names]
        backward(losses, balancer, model.shared_parameters(), features=features)
        return {name: p.grad for name, p in model.named_parameters()}

    found, expected = gradients(apart=True), gradients(apart=False)
    assert any(g is not None and g.any() for g in expected.values())
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, atol=1e-6, rtol=1e-4, msg=name)

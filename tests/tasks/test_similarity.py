"""Embeddings: the loss and the scores against their definitions, and who counts."""

import math

import pytest
import torch
import torch.nn.functional as F

from polytask.errors import ConfigError, DataError
from polytask.evaluation.evaluate import evaluate
from polytask.tasks import Similarity
from polytask.tasks.retrieval import average_precisions, chances, nearest_is_alike
from polytask.tasks.similarity import contrastive, numbered
from polytask.types import Batch, Features
from tests.tasks.kinds import cells

IDENTITY = torch.tensor([3, 1, 3, 2, 1, 3])


def task(**settings: float) -> Similarity:
    return Similarity(name="who", input="x", target={"t": "who"}, **settings)  # type: ignore[arg-type]


def embeddings(seed: int = 0, rows: int = 6) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(rows, 4, generator=generator), dim=1)


def test_loss_is_the_mean_over_positives_of_their_chance_among_all_others() -> None:
    z, temperature = embeddings(), 0.3
    found = contrastive(z, IDENTITY, temperature).tolist()
    for i in range(6):
        others = [a for a in range(6) if a != i]
        positives = [a for a in others if IDENTITY[a] == IDENTITY[i]]
        whole = sum(math.exp(float(z[i] @ z[a]) / temperature) for a in others)
        each = [float(z[i] @ z[p]) / temperature - math.log(whole) for p in positives]
        assert found[i] == pytest.approx(-sum(each) / max(1, len(each)), abs=1e-5)
    assert found[3] == 0  # nobody is like it


def test_length_does_not_matter_and_order_moves_with_the_examples() -> None:
    some, output = task(), torch.randn(6, 64)
    loss = some.loss(output, IDENTITY)
    torch.testing.assert_close(some.loss(output * torch.rand(6, 1).add(0.1), IDENTITY), loss)
    order = torch.randperm(6)
    torch.testing.assert_close(some.loss(output[order], IDENTITY[order]), loss[order])
    assert some.decode(output).norm(dim=1) == pytest.approx(torch.ones(6))


def test_who_has_nobody_to_be_compared_with_is_no_label_of_a_batch() -> None:
    some = task()
    present = torch.tensor([True, True, True, True, False, False])
    assert some.counted(IDENTITY, present).tolist() == [True, False, True, False, False, False]
    alone = torch.tensor([[1.0, 2.0]], requires_grad=True)
    some.loss(alone, IDENTITY[:1]).sum().backward()
    assert alone.grad is not None and alone.grad.eq(0).all()


class Fixed(torch.nn.Module):
    """A model that gives its inputs."""

    def forward(
        self, inputs: dict[str, Features], tasks: list[str], *_: object, rows: object
    ) -> dict[str, torch.Tensor]:
        return {name: inputs["x"].values for name in tasks}


def batch(identity: torch.Tensor, present: torch.Tensor, seed: int = 0) -> Batch:
    values = Features(embeddings(seed, len(identity)))
    return Batch({"x": values}, {"who": identity}, {"who": present}, {"x": identity})


def test_the_loss_of_a_part_is_the_mean_over_those_that_have_one() -> None:
    some, device = task(), torch.device("cpu")
    present = torch.tensor([True, True, True, True, True, False])
    given = batch(IDENTITY, present)
    scores = evaluate(Fixed(), [given], [some], device)["who"]
    losses = some.loss(given.inputs["x"].values[:5], IDENTITY[:5])
    assert scores["count"] == 5
    assert scores["loss"] == pytest.approx(float(losses.sum()) / 4)
    alone = evaluate(Fixed(), [batch(torch.arange(6), present)], [some], device)["who"]
    assert alone["count"] == 5 and alone["loss"] is None and alone["recall_at_1"] is None


def test_scores_are_of_the_whole_part_however_it_is_cut_into_batches() -> None:
    some, device, everyone = task(), torch.device("cpu"), torch.ones(12, dtype=torch.bool)
    whole = batch(IDENTITY.repeat(2), everyone)

    def cut(rows: slice) -> Batch:
        return Batch(
            {"x": Features(whole.inputs["x"].values[rows])},
            {"who": whole.targets["who"][rows]},
            {"who": everyone[rows]},
            {"x": whole.rows["x"][rows]},
        )

    once = evaluate(Fixed(), [whole], [some], device)["who"]
    parts = evaluate(Fixed(), [cut(slice(0, 5)), cut(slice(5, 12))], [some], device)["who"]
    for name in ("recall_at_1", "map", "chance"):
        assert once[name] == pytest.approx(parts[name])


def test_scores_are_their_definitions_and_an_example_does_not_find_itself() -> None:
    z = embeddings(seed=2)
    cosines = (z @ z.T).tolist()
    first, precision, chance = [], [], []
    for i in range(6):
        others = sorted((a for a in range(6) if a != i), key=lambda a, i=i: -cosines[i][a])
        alike = [bool(IDENTITY[a] == IDENTITY[i]) for a in others]
        if any(alike):
            first.append(float(alike[0]))
            at = [k for k, yes in enumerate(alike) if yes]
            precision.append(sum((n + 1) / (k + 1) for n, k in enumerate(at)) / len(at))
            chance.append(sum(alike) / 5)
    assert nearest_is_alike(z, IDENTITY).tolist() == first and len(first) == 5
    assert average_precisions(z, IDENTITY).tolist() == pytest.approx(precision)
    assert chances(z, IDENTITY).tolist() == pytest.approx(chance)


def test_many_examples_are_compared_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    z, identity = embeddings(rows=50), torch.arange(50) % 7
    whole = nearest_is_alike(z, identity), average_precisions(z, identity)
    monkeypatch.setattr("polytask.tasks.retrieval._ROWS", 8)
    assert torch.equal(nearest_is_alike(z, identity), whole[0])
    torch.testing.assert_close(average_precisions(z, identity), whole[1])


def test_identities_need_not_be_known_and_numbers_of_names_stay() -> None:
    some = task().fit(cells("ann", "bob", "ann"))
    target, present = some.encode(cells("eve", None, 3, "3", 3.0))
    assert present.tolist() == [True, False, True, True, True]
    assert target[0] == numbered("eve") and target[2:].unique().tolist() == [numbered("3")]
    assert 0 <= numbered("eve") < 2**48 and numbered("eve") != numbered("bob")


@pytest.mark.parametrize("rows", [("ann", "ann", None), ("ann", "bob", "eve")])
def test_without_pairs_or_differences_there_is_nothing_to_learn(rows: tuple[str, ...]) -> None:
    with pytest.raises(DataError, match=r"'who' needs two identities .*tasks\.who\.target"):
        task().fit(cells(*rows))


@pytest.mark.parametrize("settings", [{"dimensions": 1}, {"width": -1}, {"temperature": 0.0}])
def test_settings_that_mean_nothing_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="should be at least 2"):
        task(**settings)

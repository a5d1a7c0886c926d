"""Texts that are written: the search against all texts, and the two ways to read a head."""

import itertools

import pytest
import torch

from polytask.errors import ConfigError
from polytask.model import MultiTaskModel, guidance
from polytask.tasks import Generation, Multiclass
from polytask.tasks.writing import Writer, as_places
from polytask.types import Batch, Blend, Features
from tests.networks import network
from tests.tasks.kinds import cells, ready

SYMBOLS, STEPS = 3, 3  # the end and two others


def writer(beam: int, seed: int = 0) -> Writer:
    """A decoder with large weights, so that what was written matters."""
    torch.manual_seed(seed)
    made = Writer(4, SYMBOLS, width=5, steps=STEPS, beam=beam, dropout=0.0)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=1.5)
    return made.eval()


@torch.no_grad()
def chance(made: Writer, features: Features, text: tuple[int, ...]) -> float:
    """The log-probability of one text and its end, as far as it has one in `STEPS`."""
    scores = made.guided(*as_places(features), torch.tensor([text]).view(1, -1)).log_softmax(2)
    wanted = (*text, 0)[:STEPS]
    return sum(float(scores[0, k, symbol]) for k, symbol in enumerate(wanted))


@pytest.mark.parametrize("seed", range(4))
def test_a_wide_search_finds_the_likeliest_of_all_texts(seed: int) -> None:
    features = Features(torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(seed)))
    made = writer(beam=27, seed=seed)
    found = made(features).argmax(2)
    for row in range(2):
        one = Features(features.values[row : row + 1])
        every = [t for n in range(STEPS + 1) for t in itertools.product((1, 2), repeat=n)]
        best = max(every, key=lambda text, one=one: chance(made, one, text))  # type: ignore[misc]
        assert tuple(k for k in found[row].tolist() if k) == best


def test_without_a_search_each_symbol_is_the_likeliest_after_those_before() -> None:
    features = Features(torch.randn(1, 3, 4, generator=torch.Generator().manual_seed(5)))
    made = writer(beam=1, seed=2)
    text: list[int] = []
    while len(text) < STEPS and 0 not in text:
        scores = made.guided(*as_places(features), torch.tensor([text]).view(1, -1))
        text.append(int(scores[0, -1].argmax()))
    assert made(features).argmax(2)[0].tolist()[: len(text)] == text


def test_in_training_it_reads_true_texts_and_outside_its_own_as_well() -> None:
    task, target, _ = ready("generation")
    assert isinstance(task, Generation) and task.longest == 3
    head, features = task.head(4), Features(torch.randn(len(target), 5, 4))
    guided = head(features, task.guide(target))
    both = head.eval()(features, task.guide(target))
    alone = head(features)
    assert [x.shape[1] for x in (guided, both, alone)] == [4, 8, 4]
    torch.testing.assert_close(task.loss(guided, target), task.loss(both, target))
    assert torch.equal(task.decode(both), task.decode(alone))
    with pytest.raises(ValueError, match=r"should have 3 rows .*Was the head given the targets"):
        task.loss(alone, target[:, :2])


def test_what_pads_a_batch_changes_nothing() -> None:
    task, target, _ = ready("generation")
    head, values = task.head(4).eval(), torch.randn(2, 5, 4)
    wide = Features(
        torch.cat([values, torch.full((2, 2, 4), 9.0)], 1), (torch.arange(7) < 5).expand(2, -1)
    )
    some = task.guide(target[:2])
    torch.testing.assert_close(head(Features(values), some), head(wide, some))


def test_maps_and_vectors_are_places_to_look_at() -> None:
    assert as_places(Features(torch.zeros(2, 3, 4, 5)))[0].shape == (2, 20, 3)
    assert as_places(Features(torch.zeros(2, 3)))[0].shape == (2, 1, 3)
    _, mask = as_places(Features(torch.zeros(1, 2, 3), torch.zeros(1, 2, dtype=torch.bool)))
    assert mask.tolist() == [[True, False]]


def test_scores_of_texts_are_those_of_the_library_over_all_batches() -> None:
    sacrebleu = pytest.importorskip("sacrebleu")
    task = Generation(name="t", input="x", target={"s": "y"}, unit="words")
    true = ["a b c d e", "b a", "c d e a b", "e"]
    found = ["a b c d d", "b a", "c d a b", "a"]
    task = task.fit(cells(*true))
    metrics = task.metrics()
    for rows in (slice(0, 1), slice(1, 4)):
        metrics.update(*(task.encode(cells(*texts[rows]))[0] for texts in (found, true)))
    values = metrics.compute()
    assert float(values["bleu"]) == pytest.approx(sacrebleu.corpus_bleu(found, [true]).score / 100)
    assert float(values["chrf"]) == pytest.approx(sacrebleu.corpus_chrf(found, [true]).score / 100)
    assert float(values["exact"]) == 0.25
    metrics.reset()
    singles = (
        task.encode(cells(*words))[0] for words in (["a", "b", "a", "e"], ["a", "b", "c", "e"])
    )
    metrics.update(*singles)
    assert float(metrics.compute()["bleu"]) == pytest.approx(0.75)
    metrics.reset()
    metrics.update(*(task.encode(cells("a b"))[0],) * 2)
    assert float(metrics.compute()["exact"]) == 1.0


def writing_network() -> tuple[MultiTaskModel, Generation, Batch]:
    """A small network with a task that writes and one that does not."""
    table = cells("one", "two", "one")
    write = Generation(name="write", input="picture", target={"a": "t"}, width=8).fit(table)
    other = Multiclass(name="kind", input="picture", target={"a": "k"}, classes=("x", "y"))
    target, present = write.encode(table)
    batch = Batch(
        {"picture": Features(torch.randn(3, 5))},
        {"write": target, "kind": torch.zeros(3, dtype=torch.int64)},
        {"write": present, "kind": present},
    )
    return network([write, other]), write, batch


def test_the_model_hands_targets_to_heads_that_read_them() -> None:
    model, write, batch = writing_network()
    guides = guidance([write], batch)
    assert set(guides["guides"]) == {"write"}
    outputs = model(batch.inputs, ["write", "kind"], **guides)
    assert outputs["write"].shape == (3, 4, 6) and outputs["kind"].shape == (3, 2)
    alone = model.eval()(batch.inputs, ["write"])["write"]
    assert alone.shape == (3, 4, 6) and len(write.describe(write.decode(alone))) == 3
    assert guidance([], batch) == {}


def test_blends_have_no_single_text_to_read() -> None:
    _, write, batch = writing_network()
    blend = Blend(torch.ones(3), batch.targets, batch.present)
    blended = Batch(batch.inputs, batch.targets, batch.present, blends={"picture": blend})
    with pytest.raises(ConfigError, match=r"can't learn from blends .*inputs\.picture"):
        guidance([write], blended)

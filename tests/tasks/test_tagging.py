"""Labels of tokens: the chain against enumeration, metrics against their libraries, alignment."""

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor

from polytask.errors import ConfigError, DataError
from polytask.tasks import LabelError, Tagging
from polytask.tasks.crf import best_tags, log_partition, negative_log_likelihood
from polytask.tasks.sequences import PADDING, UNKNOWN
from polytask.tasks.token_metrics import SpanScore, tagging_metrics
from polytask.types import Features
from tests.tasks.kinds import cells, ready

TAGS = 3
LENGTHS = (4, 1, 3, 0)


def chain(seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Scores, mask, transitions and ends of four examples of different lengths."""
    g = torch.Generator().manual_seed(seed)
    scores = torch.randn(len(LENGTHS), max(LENGTHS), TAGS, generator=g, dtype=torch.float64)
    mask = torch.arange(max(LENGTHS)) < torch.tensor(LENGTHS)[:, None]
    draw = [torch.randn(n, TAGS, generator=g, dtype=torch.float64) for n in (TAGS, 2)]
    return scores, mask, draw[0], draw[1]


def score_of(tags: tuple[int, ...], scores: Tensor, transitions: Tensor, ends: Tensor) -> Tensor:
    """The score of one sequence, term by term."""
    terms = [ends[0, tags[0]], ends[1, tags[-1]]]
    terms += [scores[place, tag] for place, tag in enumerate(tags)]
    terms += [transitions[a, b] for a, b in itertools.pairwise(tags)]
    return torch.stack(terms).sum()


def every(length: int) -> list[tuple[int, ...]]:
    """All sequences of tags of a length."""
    return list(itertools.product(range(TAGS), repeat=length))


def test_the_partition_function_is_the_sum_over_all_sequences() -> None:
    scores, mask, transitions, ends = chain()
    found = log_partition(scores, mask, transitions, ends)
    for row, length in enumerate(LENGTHS[:3]):
        all_scores = [score_of(t, scores[row], transitions, ends) for t in every(length)]
        torch.testing.assert_close(found[row], torch.stack(all_scores).logsumexp(0))


def test_the_best_sequence_is_the_best_of_all() -> None:
    scores, mask, transitions, ends = chain(1)
    found = best_tags(scores, mask, transitions, ends)
    for row, length in enumerate(LENGTHS[:3]):
        best = max(every(length), key=lambda t: score_of(t, scores[row], transitions, ends))
        assert tuple(found[row, :length].tolist()) == best


def test_the_likelihood_of_known_tags_sums_over_unknown_ones() -> None:
    scores, mask, transitions, ends = chain(2)
    target = torch.tensor([[1, UNKNOWN, 0, 2], [2] + [PADDING] * 3, [0, 0, 1, PADDING], [-2] * 4])
    found = negative_log_likelihood(scores, mask, transitions, ends, target)
    for row, length in enumerate(LENGTHS[:3]):
        wanted = target[row, :length].tolist()
        fits = [
            t for t in every(length) if all(w in (-1, k) for w, k in zip(wanted, t, strict=True))
        ]
        of = [
            torch.stack([score_of(t, scores[row], transitions, ends) for t in some]).logsumexp(0)
            for some in (every(length), fits)
        ]
        torch.testing.assert_close(found[row], of[0] - of[1])
    assert found[3] == 0


def test_gradients_of_the_chain_are_right_and_finite() -> None:
    scores, mask, transitions, ends = chain(3)
    target = torch.tensor([[1, UNKNOWN, 0, 2], [2, -2, -2, -2], [0, 0, 1, -2], [-2] * 4])
    given = [scores.requires_grad_(), transitions.requires_grad_(), ends.requires_grad_()]
    assert torch.autograd.gradcheck(
        lambda s, t, e: negative_log_likelihood(s, mask, t, e, target), given
    )


@pytest.mark.parametrize("kind", ["tagging", "chain"])
def test_what_pads_a_batch_changes_nothing(kind: str) -> None:
    task, target, _ = ready(kind)
    assert isinstance(task, Tagging)
    torch.manual_seed(0)
    head, values = task.head(8), torch.randn(2, 3, 8)
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter)
    mask = torch.tensor([[True, True, True], [True, True, False]])
    wide = Features(
        torch.cat([values, torch.full((2, 2, 8), 9.0)], 1),
        torch.cat([mask, torch.zeros(2, 2, dtype=torch.bool)], 1),
    )
    labels = torch.tensor([[0, 1, 0, -2, -2, -2], [2, -1, -2, -2, -2, -2]], dtype=torch.int8)
    narrow, padded = head(Features(values, mask)), head(wide)
    torch.testing.assert_close(task.loss(narrow, labels), task.loss(padded, labels[:, :3]))
    assert torch.equal(task.decode(narrow), task.decode(padded)[:, :3])
    assert (task.decode(padded)[:, 3:] == UNKNOWN).all() and target.dtype == torch.int8


def test_the_loss_is_the_mean_over_labelled_tokens() -> None:
    task, _, _ = ready("tagging")
    output = task.head(4)(Features(torch.randn(1, 3, 4)))
    target = torch.tensor([[2, UNKNOWN, 0]], dtype=torch.int8)
    log = output[0, :, :-1].log_softmax(1)
    torch.testing.assert_close(task.loss(output, target)[0], -(log[0, 2] + log[2, 0]) / 2)


def test_a_chain_learns_what_tokens_alone_do_not_show() -> None:
    """Every token looks alike, so only transitions and ends tell the alternating tags."""
    table = cells("A B A", "A B", "A B A B")
    task = Tagging(name="t", input="x", target={"t": "y"}, decoder="crf").fit(table)
    target, _ = task.encode(table)
    tokens = torch.tensor([3, 2, 4])
    features = Features(torch.ones(3, 4, 2), torch.arange(4) < tokens[:, None])
    head = task.head(2)
    adam = torch.optim.Adam(head.parameters(), lr=0.2)
    for _ in range(60):
        loss = task.loss(head(features), target).mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
    described = task.describe(task.decode(head(features)))
    assert described == [{"t": "A B A"}, {"t": "A B"}, {"t": "A B A B"}]


def test_token_metrics_are_those_of_the_libraries_over_all_batches() -> None:
    metrics = pytest.importorskip("seqeval.metrics")
    sklearn = pytest.importorskip("sklearn.metrics")
    names = ["O", "B-X", "I-X", "B-Y", "I-Y"]
    rng = np.random.default_rng(0)
    lengths = [5, 3, 7, 1, 6, 2]
    true = [[names[k] for k in rng.integers(0, 5, n)] for n in lengths]
    guessed = [
        [t if rng.random() < 0.6 else names[rng.integers(0, 5)] for t in row] for row in true
    ]
    found = tagging_metrics(names, spans=True)
    for batch in (slice(0, 1), slice(1, 4), slice(4, 6)):
        width = max(lengths[batch])
        numbers = [
            torch.tensor([[names.index(t) for t in r] + [pad] * (width - len(r)) for r in rows])
            for rows, pad in ((guessed[batch], UNKNOWN), (true[batch], PADDING))
        ]
        found.update(*numbers)
    flat = [list(itertools.chain(*rows)) for rows in (true, guessed)]
    values = {name: float(value) for name, value in found.compute().items()}
    assert values == pytest.approx(
        {
            "accuracy": sklearn.accuracy_score(*flat),
            "f1": sklearn.f1_score(*flat, average="macro"),
            "majority": max(flat[0].count(n) for n in names) / len(flat[0]),
            "span_precision": metrics.precision_score(true, guessed),
            "span_recall": metrics.recall_score(true, guessed),
            "span_f1": metrics.f1_score(true, guessed),
        }
    )


def test_tokens_without_a_prediction_are_wrong_and_without_a_label_are_left_out() -> None:
    accuracy = tagging_metrics(["A", "B"], spans=False)
    accuracy.update(torch.tensor([[0, 1]]), torch.tensor([[0, UNKNOWN, 1, PADDING]]))
    assert float(accuracy.compute()["accuracy"]) == 0.5
    spans = SpanScore(["O", "B-X"], "f1")
    spans.update(torch.tensor([[1, 1, 0]]), torch.tensor([[1, UNKNOWN, 0]]))
    assert float(spans.compute()) == 1.0


def test_spans_are_scored_where_labels_look_like_them() -> None:
    assert ready("chain")[0].score == "span_f1"
    assert ready("tagging")[0].score == "accuracy"


def test_one_vector_per_example_has_no_tokens_to_label() -> None:
    with pytest.raises(ConfigError, match=r"'tagging' labels every token .*Leave out 'pool:'"):
        ready("tagging")[0].head(4)(Features(torch.randn(2, 4)))


def test_features_of_another_length_than_the_labels_are_an_error_unless_cut_off() -> None:
    task, _, _ = ready("tagging")
    output = task.head(4)(Features(torch.randn(1, 2, 4)))
    task.loss(output, torch.tensor([[0, 1, 2]], dtype=torch.int8))  # cut off at its end
    with pytest.raises(DataError, match="1 labels for an example whose features have 2 places"):
        task.loss(output, torch.tensor([[0]], dtype=torch.int8))
    shorter = task.head(4)(Features(torch.randn(2, 2, 4), torch.tensor([[1, 1], [1, 0]]).bool()))
    with pytest.raises(DataError, match=r"2 labels .* 1 places.*stride: 1"):
        task.loss(shorter, torch.tensor([[0, 1, 2, 0], [0, 1, -2, -2]], dtype=torch.int8))


def test_a_cell_that_is_no_list_of_labels_names_its_row() -> None:
    with pytest.raises(LabelError, match=r"list of labels.*Found 3") as caught:
        ready("tagging")[0].encode(cells("DET", 3))
    assert caught.value.row == 1

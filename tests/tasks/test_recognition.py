"""Texts read off frames, against enumeration of all paths and all texts."""

import itertools
import math

import pytest
import torch
from torch import Tensor

from polytask.data.phones import FOLDED, PHONES, folded
from polytask.errors import DataError
from polytask.tasks import Recognition
from polytask.tasks.prefixes import collapsed, likeliest
from polytask.types import Features
from tests.tasks.kinds import cells, ready

FRAMES, SYMBOLS = 5, 3  # with the blank


def scores(seed: int) -> Tensor:
    """Log-probabilities of five frames."""
    g = torch.Generator().manual_seed(seed)
    return (2 * torch.randn(FRAMES, SYMBOLS, generator=g)).log_softmax(1)


def said(scores: Tensor) -> dict[tuple[int, ...], float]:
    """The probability of every text, summed over all paths one by one."""
    found: dict[tuple[int, ...], float] = {}
    for path in itertools.product(range(SYMBOLS), repeat=FRAMES):
        text = tuple(k for k, _ in itertools.groupby(path) if k != 0)
        chance = math.exp(sum(float(scores[t, k]) for t, k in enumerate(path)))
        found[text] = found.get(text, 0.0) + chance
    return found


def test_a_path_collapses_to_its_text() -> None:
    assert collapsed(torch.tensor([0, 1, 1, 0, 1, 2, 2, 0])) == [1, 1, 2]
    assert collapsed(torch.tensor([0, 0])) == []


@pytest.mark.parametrize("seed", range(6))
def test_a_wide_beam_finds_the_likeliest_of_all_texts(seed: int) -> None:
    every = said(scores(seed))
    assert sum(every.values()) == pytest.approx(1.0)
    best = max(every, key=lambda text: every[text])
    assert tuple(likeliest(scores(seed), 1000)) == best


def test_the_likeliest_text_need_not_be_that_of_the_likeliest_path() -> None:
    frames = torch.tensor([[0.4, 0.35, 0.25]] * 2).log()
    assert collapsed(frames.argmax(1)) == []  # with 0.16; the first symbol has 0.4025
    assert likeliest(frames, 10) == [1]


def test_the_loss_is_the_log_probability_of_the_text_per_symbol() -> None:
    task = Recognition(name="t", input="x", target={"s": "y"}).fit(cells("ab"))
    target, _ = task.encode(cells("aba", "bb", "", "a"))
    output = torch.stack([scores(k) for k in range(4)])
    output = torch.cat([output, torch.ones(4, FRAMES, 1)], 2)
    texts = [(1, 2, 1), (2, 2), (), (1,)]
    wanted = [-math.log(said(scores(k))[text]) / max(len(text), 1) for k, text in enumerate(texts)]
    torch.testing.assert_close(task.loss(output, target), torch.tensor(wanted))


def test_what_pads_a_batch_changes_nothing() -> None:
    task, _, _ = ready("ctc")
    head, values = task.head(8), torch.randn(2, 6, 8)
    mask = torch.arange(6) < torch.tensor([[6], [4]])
    wide = Features(
        torch.cat([values, torch.full((2, 3, 8), 5.0)], 1),
        torch.cat([mask, torch.zeros(2, 3, dtype=torch.bool)], 1),
    )
    target, _ = task.encode(cells("one", "two"))
    narrow, padded = head(Features(values, mask)), head(wide)
    torch.testing.assert_close(task.loss(narrow, target), task.loss(padded, target))
    assert task.describe(task.decode(narrow)) == task.describe(task.decode(padded))


def test_a_text_with_more_symbols_than_frames_is_an_error_that_shows_it() -> None:
    task, _, _ = ready("ctc")
    target, _ = task.encode(cells("eel"))
    output = task.head(4)(Features(torch.randn(1, 4, 4)))
    assert task.loss(output, target).isfinite().all()
    with pytest.raises(DataError, match=r"3 symbols, 1 of them doubled, for 3 frames: 'eel'"):
        task.loss(output[:, :3], target)


def test_error_rates_are_counts_over_all_batches() -> None:
    task, _, _ = ready("ctc")
    true, found = ["one", "two", "", "eel"], ["oe", "twoo", "o", "eel"]
    metrics = task.metrics()
    for rows in (slice(0, 1), slice(1, 3), slice(3, 4)):
        numbers = [task.encode(cells(*texts[rows]))[0] for texts in (found, true)]
        metrics.update(*numbers)
    values = {name: float(value) for name, value in metrics.compute().items()}
    # One letter left out, one added, and one added to nothing; nine letters are true.
    assert values == pytest.approx(
        {"cer": 3 / 9, "accuracy": 1 - 3 / 9, "wer": 3 / 3, "exact": 1 / 4}
    )


def test_words_as_symbols_have_an_error_rate_of_their_own() -> None:
    task, _, _ = ready("phones")
    metrics = task.metrics()
    numbers = [task.encode(cells(text))[0] for text in ("ax b", "ax sil b b")]
    metrics.update(*numbers)
    assert float(metrics.compute()["wer"]) == 0.5 and "cer" not in metrics
    assert task.describe(numbers[0]) == [{"phones": "ax b"}]


def test_the_phones_of_timit_fold_to_39() -> None:
    assert FOLDED.keys() <= set(PHONES)
    assert len(set(folded(PHONES))) == 39
    assert folded(["h#", "q", "ax-h", "nx", "pau", "bcl", "b", "zh", "h#"]) == [
        "sil",
        "ah",
        "n",
        "sil",
        "b",
        "sh",
        "sil",
    ]

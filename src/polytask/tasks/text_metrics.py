"""Metrics of texts; counts that add up over batches.

Shapes: B examples, L and M symbols of the longest text.
"""

from typing import Literal

import torch
from torch import Tensor
from torchmetrics import Metric, MetricCollection

from polytask.errors import require
from polytask.tasks.base import LOCAL
from polytask.tasks.texts import TextTask


class ErrorRate(Metric):
    """Substituted, left out and added units of predicted texts, per unit of the true texts.

    Units are aligned by `jiwer`. The rate is over all texts together, so it does not depend on
    batches, and can be above 1. Of an empty text everything predicted is added.

    Args:
        task: Knows the texts.
        of: `symbols` of the task, or `words` between white space.
        accuracy: Whether 1 minus the rate is wanted.
    """

    full_state_update = False
    counts: Tensor

    def __init__(
        self, task: TextTask, of: Literal["symbols", "words"], *, accuracy: bool = False
    ) -> None:
        super().__init__(**LOCAL)
        self.task = task
        self.accuracy = accuracy
        self.characters = of == "symbols" and task.unit == "characters"
        jiwer = require("jiwer", "text")
        self._align = jiwer.process_characters if self.characters else jiwer.process_words
        # Errors, units of the true texts.
        self.add_state("counts", torch.zeros(2, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, predicted: Tensor, target: Tensor) -> None:
        """Add a batch: `[B, L]` and `[B, M]` symbol numbers, negative past the end."""
        found, true = self.task.texts(predicted), self.task.texts(target)
        pairs = [(t, f) for t, f in zip(true, found, strict=True) if t.strip()]
        added = sum(
            len(f) if self.characters else len(f.split())
            for t, f in zip(true, found, strict=True)
            if not t.strip()
        )
        self.counts[0] += added
        if pairs:
            aligned = self._align(*(list(texts) for texts in zip(*pairs, strict=True)))
            wrong = aligned.substitutions + aligned.deletions
            self.counts[0] += wrong + aligned.insertions
            self.counts[1] += wrong + aligned.hits

    def compute(self) -> Tensor:
        """The rate; infinite or NaN where the true texts have no unit."""
        rate = self.counts[0] / self.counts[1]
        return 1.0 - rate if self.accuracy else rate


class ExactMatch(Metric):
    """The share of texts that are predicted without a mistake.

    Args:
        task: Knows the texts.
    """

    full_state_update = False
    counts: Tensor

    def __init__(self, task: TextTask) -> None:
        super().__init__(**LOCAL)
        self.task = task
        self.add_state("counts", torch.zeros(2, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, predicted: Tensor, target: Tensor) -> None:
        """Add a batch: `[B, L]` and `[B, M]` symbol numbers, negative past the end."""
        found, true = self.task.texts(predicted), self.task.texts(target)
        self.counts[0] += sum(f == t for f, t in zip(found, true, strict=True))
        self.counts[1] += len(true)

    def compute(self) -> Tensor:
        """The share; NaN without a text."""
        return self.counts[0] / self.counts[1]


class CorpusScore(Metric):
    """BLEU or chrF of all texts together, by `sacrebleu`, from 0 to 1.

    Neither is a mean over texts, so the texts are kept until the end. BLEU leaves out n-grams that
    no text is long enough to have: with single words it is the share of those that are right,
    where plain BLEU would be 0.

    Args:
        task: Knows the texts.
        of: Which score.
    """

    full_state_update = False

    def __init__(self, task: TextTask, of: Literal["bleu", "chrf"]) -> None:
        super().__init__(**LOCAL)
        self.task = task
        sacrebleu = require("sacrebleu", "text")
        metrics = sacrebleu.metrics
        score = metrics.BLEU(effective_order=True) if of == "bleu" else metrics.CHRF()
        self._score = score.corpus_score
        self.texts: list[tuple[str, str]] = []

    def update(self, predicted: Tensor, target: Tensor) -> None:
        """Add a batch: `[B, L]` and `[B, M]` symbol numbers, negative past the end."""
        found, true = self.task.texts(predicted), self.task.texts(target)
        self.texts += zip(found, true, strict=True)

    def compute(self) -> Tensor:
        """The score; NaN without a text."""
        if not self.texts:
            return torch.tensor(float("nan"))
        found, true = zip(*self.texts, strict=True)
        return torch.tensor(self._score(list(found), [list(true)]).score / 100)

    def reset(self) -> None:
        """Forget all texts."""
        super().reset()
        self.texts = []


def generation_metrics(task: TextTask) -> MetricCollection:
    """BLEU, chrF, exact matches and the share of symbols that are right."""
    return MetricCollection(
        {
            "bleu": CorpusScore(task, "bleu"),
            "chrf": CorpusScore(task, "chrf"),
            "exact": ExactMatch(task),
            "accuracy": ErrorRate(task, "symbols", accuracy=True),
        },
        compute_groups=False,
    )


def recognition_metrics(task: TextTask) -> MetricCollection:
    """Error rates of symbols (and of words, where symbols are characters), and exact matches."""
    made: dict[str, Metric | MetricCollection] = {
        "accuracy": ErrorRate(task, "symbols", accuracy=True),
        "exact": ExactMatch(task),
        "wer": ErrorRate(task, "words"),
    }
    if task.unit == "characters":
        made["cer"] = ErrorRate(task, "symbols")
    return MetricCollection(made, compute_groups=False)

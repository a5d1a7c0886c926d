"""What counting and a linear model make of a recipe's texts: the same rows as its network.

A tagging task: each word's most frequent label in training rows, and for words that these lack the
most frequent label of all. A task about a whole text: tf-idf of words and pairs of words, then
logistic regression (scikit-learn), its strength chosen on validation rows. Scores are the task's
own, on the test part.

    POLYTASK_DATA=... python benchmarks/texts.py recipes/conll2000.yaml
"""

import argparse
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from polytask.config.load import load_config
from polytask.data.dataset import Prepared
from polytask.data.text import TextInput
from polytask.tasks import Binary, Multiclass, Tagging, Task
from polytask.workflow import prepare_data

STRENGTHS = (1, 3, 10, 30, 100)
Labelled = tuple[list[Any], Tensor]


def labelled(prepared: Prepared, task: Task, part: str) -> Labelled:
    """Texts as their columns hold them, and targets, of a part's rows that have the label."""
    texts: list[Any] = []
    targets: list[Tensor] = []
    for source, rows in prepared.parts[part].items():
        dataset = prepared.datasets[source]
        if task.name in dataset.present:
            kept = rows[dataset.present[task.name][rows]]
            column = dataset.table.frame[prepared.inputs[task.input].columns[source]]
            texts += [column.iloc[int(row)] for row in kept]
            targets += list(dataset.targets[task.name][kept])
    if not texts:
        return [], torch.zeros(0)
    return texts, pad_sequence(targets, True, -1) if targets[0].ndim else torch.stack(targets)


def words(text: Any) -> list[str]:
    """A cell's words."""
    return text.split() if isinstance(text, str) else list(text)


def pairs(texts: Sequence[Any], target: Tensor) -> Iterator[tuple[str, int]]:
    """Every word that has a label, with it; a negative number is none."""
    for text, labels in zip(texts, target.tolist(), strict=True):
        yield from ((w, y) for w, y in zip(words(text), labels, strict=False) if y >= 0)


def frequent(train: Labelled, test: Labelled) -> Tensor:
    """Each word's most frequent label, `[B, L]`; negative where a text has no word any more."""
    seen: dict[str, Counter[int]] = defaultdict(Counter)
    for word, label in pairs(*train):
        seen[word][label] += 1
    overall = sum(seen.values(), Counter()).most_common(1)[0][0]
    best = {word: counts.most_common(1)[0][0] for word, counts in seen.items()}
    found = [torch.tensor([best.get(word, overall) for word in words(text)]) for text in test[0]]
    return pad_sequence(found, True, -1)


def linear(parts: dict[str, Labelled]) -> tuple[Tensor, Tensor, str]:
    """Answers of the model that is best on validation rows, those of one that has learned from
    these as well, and the strength of both."""
    flat = {part: ([" ".join(words(t)) for t in x], y.numpy()) for part, (x, y) in parts.items()}
    best: tuple[float, int, Any] | None = None
    for strength in STRENGTHS:
        model = make_pipeline(
            TfidfVectorizer(ngram_range=(1, 2), token_pattern=r"\S+", sublinear_tf=True),
            LogisticRegression(C=strength, max_iter=300),
        ).fit(*flat["train"])
        score = float(model.score(*flat["validation"]))
        if best is None or score > best[0]:
            best = (score, strength, model)
    assert best is not None
    _, strength, model = best
    answers = torch.from_numpy(model.predict(flat["test"][0]))
    both = [[*flat["train"][at], *flat["validation"][at]] for at in (0, 1)]
    again = torch.from_numpy(model.fit(*both).predict(flat["test"][0]))
    return answers, again, f"C={strength}"


def main() -> None:
    """Print a line per task."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipe", type=Path)
    prepared = prepare_data(load_config(parser.parse_args().recipe), None)
    for task in prepared.tasks:
        if not isinstance(prepared.inputs[task.input], TextInput):
            continue
        parts = {part: labelled(prepared, task, part) for part in ("train", "validation", "test")}
        target = parts["test"][1]
        if isinstance(task, Tagging):
            metrics = task.metrics()
            metrics.update(frequent(parts["train"], parts["test"]), target)
            score = float(metrics.compute()[task.score])
            print(f"{task.name}: most frequent label, {task.score} {score:.4f}")
        elif isinstance(task, (Multiclass, Binary)):
            answers, again, chosen = linear(parts)
            right, whole = (float((of == target).float().mean()) for of in (answers, again))
            print(
                f"{task.name}: tf-idf and logistic regression ({chosen}), accuracy {right:.4f}; "
                f"of validation rows as well {whole:.4f}"
            )


if __name__ == "__main__":
    main()

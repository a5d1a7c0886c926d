"""What scikit-learn makes of a run's tables: the same rows, the same vectors, task by task.

`python benchmarks/tables.py RUN`: the better of a linear model and gradient boosting by the
validation part, beside the run's own network, on the test part. `--linear` leaves out boosting.
"""

import argparse
import math
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import accuracy_score, average_precision_score, r2_score, roc_auc_score

from polytask.run import Run
from polytask.tasks import Binary, Multiclass, Multilabel
from polytask.tasks.base import Task
from polytask.workflow import best_model, reopen_data

STRENGTHS = (0.01, 0.1)
SEEN = dict[str, tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]]


def candidates(classes: bool) -> dict[str, list[Callable[[], Any]]]:
    """Models by family, to be chosen among on validation rows."""
    if classes:
        linear = [lambda c=c: LogisticRegression(C=c, max_iter=300) for c in STRENGTHS]
        return {"linear": linear, "boosting": [lambda: HistGradientBoostingClassifier(max_iter=60)]}
    ridge = [lambda a=a: Ridge(alpha=a) for a in (1.0, 10.0, 100.0, 1000.0)]
    return {"linear": ridge, "boosting": [lambda: HistGradientBoostingRegressor(max_iter=60)]}


def judge(kind: str, truth: Any, found: Any) -> float:
    """The score of a column: area under the ROC curve, accuracy, or R2; NaN if not defined."""
    if kind == "auroc":
        return float(roc_auc_score(truth, found)) if len(set(truth)) == 2 else float("nan")
    if kind == "accuracy":
        return float(accuracy_score(truth, found))
    return float(r2_score(truth, found)) if len(truth) > 1 else float("nan")


def answer(model: Any, kind: str, rows: Any) -> Any:
    """What is judged of a fitted model's prediction."""
    if not len(rows):
        return np.zeros(0)
    return model.predict_proba(rows)[:, 1] if kind == "auroc" else model.predict(rows)


def best(kind: str, seen: SEEN, linear: bool) -> tuple[str, Any]:
    """The best family by validation rows, and its prediction for test rows."""
    values, target = seen["train"]
    if kind != "r2" and len(set(target)) < 2:
        return "constant", answer(
            DummyClassifier().fit(values, target), "accuracy", seen["test"][0]
        )
    found: list[tuple[float, str, Any]] = []
    for family, makers in candidates(kind != "r2").items():
        if linear and family != "linear":
            continue
        for make in makers:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                model = make().fit(values, target)
            score = judge(kind, seen["validation"][1], answer(model, kind, seen["validation"][0]))
            found.append((np.nan_to_num(score, nan=-9.0), family, model))
    _, family, model = max(found, key=lambda each: each[0])
    return family, answer(model, kind, seen["test"][0])


def by_column(values: torch.Tensor) -> np.ndarray[Any, Any]:
    """Values as `[N, K]`, also where N is 0: small tasks may have no row in a part."""
    return values.double().reshape(len(values), math.prod(values.shape[1:])).numpy()


def columns(task: Task, target: torch.Tensor) -> tuple[str, np.ndarray[Any, Any]]:
    """How a task's columns are judged, and its targets as `[N, K]`."""
    values = by_column(target)
    if isinstance(task, (Binary, Multilabel)):
        return "auroc", values
    return ("accuracy" if isinstance(task, Multiclass) else "r2"), values


def main(path: Path, linear: bool) -> None:
    """Print one line per kind of score."""
    run = Run.open(path)
    model, _, tasks = best_model(run)
    prepared = reopen_data(run, None)
    ours: dict[str, list[float]] = {}
    theirs: dict[str, list[float]] = {}
    families: dict[str, int] = {}
    errors: list[Any] = []
    for task in tasks:
        (source,) = task.target
        batches = {
            p: prepared.datasets[source].gather(r[source]) for p, r in prepared.parts.items()
        }
        present = {p: b.present[task.name] for p, b in batches.items()}
        rows = {p: b.inputs[task.input].values[present[p]] for p, b in batches.items()}
        kind, _ = columns(task, batches["test"].targets[task.name])
        with torch.inference_mode():
            inputs = {task.input: batches["test"].inputs[task.input]}
            decoded = task.decode(model(inputs, [task.name])[task.name])[present["test"]]
        guess = decoded.argmax(1) if kind == "accuracy" else decoded
        guess_columns = by_column(guess)
        for k in range(guess_columns.shape[1]):
            seen: SEEN = {}
            for part in batches:
                target = columns(task, batches[part].targets[task.name][present[part]])[1][:, k]
                known = ~np.isnan(target)
                seen[part] = rows[part].numpy()[known], target[known]
            known = ~np.isnan(
                columns(task, batches["test"].targets[task.name][present["test"]])[1][:, k]
            )
            family, answered = best(kind, seen, linear)
            families[family] = families.get(family, 0) + 1
            truth, said = seen["test"][1], guess_columns[known, k]
            ours.setdefault(kind, []).append(judge(kind, truth, said))
            theirs.setdefault(kind, []).append(judge(kind, truth, answered))
            if kind == "auroc" and len(set(truth)) == 2:
                ours.setdefault("average_precision", []).append(
                    average_precision_score(truth, said)
                )
                theirs.setdefault("average_precision", []).append(
                    average_precision_score(truth, answered)
                )
            if kind == "r2":
                errors.append((truth, said, answered))
        print(task.name, kind, f"{ours[kind][-1]:.4f} {theirs[kind][-1]:.4f} {family}", flush=True)
    for kind in ours:
        means = [np.nanmean(of[kind]) for of in (ours, theirs)]
        print(f"mean {kind}: network {means[0]:.4f}, scikit-learn {means[1]:.4f}")
    if errors:
        truth, said, answered = (np.concatenate(each) for each in zip(*errors, strict=True))
        pooled = [
            1 - np.square(truth - x).sum() / np.square(truth - truth.mean()).sum()
            for x in (said, answered)
        ]
        both = f"network {pooled[0]:.4f}, scikit-learn {pooled[1]:.4f}"
        print(f"explained variance of all together: {both}")
    print("chosen:", families)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--linear", action="store_true")
    given = parser.parse_args()
    main(given.run, given.linear)

"""What a recipe is compared with: networks of one task each, and classical models.

`alone` writes a configuration per task, with the same network, the same rows, steps and examples
per step and none of the other tasks. `classical` fits scikit-learn's models to the same training
rows and scores them on the same test rows: pixels as they are, the mean and standard deviation of
13 MFCCs over a recording's frames, a table's vectors.

    python benchmarks/baselines.py alone recipes/mnist-fashion.yaml --output FOLDER
    python benchmarks/baselines.py classical recipes/mnist-fashion.yaml
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from polytask.config.load import load_config
from polytask.config.schema import Config
from polytask.config.variants import with_tasks
from polytask.data.dataset import Prepared
from polytask.data.text import TextInput
from polytask.encoders import LogMelEncoder
from polytask.tasks import Binary, Multiclass, Task
from polytask.types import Features
from polytask.workflow import make_stream, prepare_data

MODELS = ("logistic regression", "gradient boosting")


def classical(name: str) -> Any:
    """A fresh model."""
    if name == "gradient boosting":
        return HistGradientBoostingClassifier(random_state=0, max_iter=60)
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=200, C=0.1))


def alone(config: Config, task: str, prepared: Prepared) -> dict[str, Any]:
    """The configuration of one task of a recipe, as plain values."""
    plain = with_tasks(config, [task]).resolved()
    stream = make_stream(config, prepared, 0, 1)
    counts = {name: max(1, round(stream.quota[name])) for name in plain["tasks"][task]["target"]}
    return plain | {
        "name": f"{config.name}-{task}",
        "batches": {
            "size": sum(counts.values()),
            "mixing": {"kind": "counts", "counts": counts},
            "epoch_examples": stream.steps_per_epoch * sum(counts.values()),
        },
    }


def vectors(features: Features, rate: int | None) -> NDArray[Any]:
    """What a classical model sees of a batch, `[B, D]`."""
    values = features.values
    if rate is None:
        return values.flatten(1).float().numpy()
    frames, mask = LogMelEncoder(rate, mels=40, normalize="none")(features)
    place = torch.arange(40) + 0.5
    basis = torch.cos(torch.pi / 40 * place.unsqueeze(1) * torch.arange(13))  # a DCT of type 2
    cepstra = (frames @ basis).numpy()
    kept = np.ones(cepstra.shape[:2], bool) if mask is None else mask.numpy()
    return np.stack(
        [np.concatenate([c[k].mean(0), c[k].std(0)]) for c, k in zip(cepstra, kept, strict=True)]
    )


def labelled(
    prepared: Prepared, task: Task, part: str, limit: int
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Vectors and targets of a part's rows that have the task's label."""
    rate = prepared.inputs[task.input].features.get("sample_rate")
    found = []
    for source, rows in prepared.parts[part].items():
        dataset = prepared.datasets[source]
        if task.name not in dataset.present:
            continue
        rows = rows[dataset.present[task.name][rows]]
        if not len(rows):
            continue
        rows = rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))[:limit]]
        for some in rows.split(500):
            batch = dataset.gather(some)
            found.append((vectors(batch.inputs[task.input], rate), batch.targets[task.name]))
    return np.concatenate([v for v, _ in found]), np.concatenate([t for _, t in found])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("alone", "classical"))
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--output", type=Path, default=Path("alone"))
    parser.add_argument("--limit", type=int, default=10_000, help="training rows at most")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=MODELS)
    given = parser.parse_args()
    config = load_config(given.recipe)
    prepared = prepare_data(config, None)
    if given.what == "alone":
        from polytask.config.document import write

        given.output.mkdir(parents=True, exist_ok=True)
        for task in config.tasks:
            path = given.output / f"{config.name}-{task}.yaml"
            path.write_text(write(alone(config, task, prepared)), encoding="utf-8")
            print(path)
        return
    data = {
        task.name: (
            *labelled(prepared, task, "train", given.limit),
            *labelled(prepared, task, "test", 10**9),
        )
        for task in prepared.tasks
        if isinstance(task, (Multiclass, Binary))
        and not isinstance(prepared.inputs[task.input], TextInput)
    }
    for task, (x, y, test_x, test_y) in data.items():
        for name in given.models:
            right = (classical(name).fit(x, y).predict(test_x) == test_y).mean()
            print(
                f"{task}: {name} {right:.4f} of {len(test_y):,} test rows "
                f"({len(y):,} training rows)",
                flush=True,
            )


if __name__ == "__main__":
    main()

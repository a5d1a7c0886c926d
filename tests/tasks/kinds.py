"""One ready task of each kind, with cells that fit it."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from polytask.tasks import (
    Binary,
    DenseRegression,
    Edges,
    Gaussian,
    Generation,
    Multiclass,
    Multilabel,
    Normals,
    Ordinal,
    Quantile,
    Recognition,
    Reconstruction,
    Regression,
    Segmentation,
    Similarity,
    Synthesis,
    Tagging,
    Task,
)
from polytask.tasks.dense import DenseTask
from polytask.tasks.labels import Cells
from polytask.types import Features


def cells(*rows: Any) -> Cells:
    """Raw cells `[N, K]`; a row that is no list is the single column's cell."""
    listed = [row if isinstance(row, list) else [row] for row in rows]
    array = np.empty((len(listed), len(listed[0])), dtype=object)
    for i, row in enumerate(listed):
        for j, cell in enumerate(row):
            array[i, j] = cell
    return array


SIZE = (2, 4)


def maps(kind: type[DenseTask], **settings: Any) -> Cells:
    """Stored targets of six pictures: the third is missing, and of the second a corner."""
    task = kind(name="t", input="x", target={"t": "y"}, **settings)
    rng = np.random.default_rng(0)
    found: list[Any] = []
    for k in range(6):
        if kind is Reconstruction:
            array = rng.integers(0, 256, (2, *SIZE))
        elif kind in (Segmentation, Edges):
            array = rng.integers(0, 3, SIZE).astype(np.uint8)
        elif kind is Normals:
            array = rng.normal(size=(3, *SIZE))
        else:
            array = rng.normal(3.0, 2.0, SIZE)
        if k == 1:
            blank = {np.uint8: 255, np.int64: -1}.get(array.dtype.type, np.nan)
            array[..., :1, :2] = blank
        found.append(None if k == 2 else task.stored(array, SIZE))
    return cells(*found)


VOICE = {"sample_rate": 1000, "seconds": 0.06, "mels": 3, "window": 0.016, "hop": 0.008}


def sounds() -> Cells:
    """Stored targets of six sounds of different lengths: the third is missing."""
    task = Synthesis(name="t", input="x", target={"t": "y"}, **VOICE)
    rng = np.random.default_rng(0)
    found: list[Any] = []
    for k in range(6):
        frames = task.read(rng.normal(0, 3000 * (k + 1), 16 + 8 * k).astype(np.int16))
        array = np.full(task.stored_shape, task.blank, task.dtype)
        array[: len(frames)] = frames
        found.append(None if k == 2 else array)
    return cells(*found)


EXAMPLES: dict[str, tuple[type[Task], dict[str, Any], Cells]] = {
    "multiclass": (Multiclass, {}, cells("cat", "dog", None, "cat", "owl", "dog")),
    "weighted": (
        Multiclass,
        {"class_weights": "balanced", "label_smoothing": 0.1},
        cells("cat", "dog", None, "cat", "owl", "dog"),
    ),
    "binary": (Binary, {"positive_weight": 2.0}, cells("no", "yes", None, "yes", "no", "no")),
    "multilabel": (
        Multilabel,
        {"positive_weight": 3.0},
        cells("red|round", "|", None, "red", "round|soft", "soft"),
    ),
    "columns": (
        Multilabel,
        {"target": {"t": ("red", "round")}},
        cells([1, 0], [None, 1], [None, None], [True, "yes"], [0.0, None], [1, 1]),
    ),
    "regression": (Regression, {}, cells(1.5, 2, None, "3.5", -4.0, 9.25)),
    "outputs": (
        Regression,
        {"target": {"t": ("x", "y")}, "criterion": "huber"},
        cells([1, 200], [None, 150], [None, None], [-3, 175.5], [0.5, None], [2, 100]),
    ),
    "tagging": (
        Tagging,
        {},
        cells(
            ("DET", "NOUN"),
            ("DET", None, "NOUN"),
            None,
            ("VERB",),
            "NOUN VERB",
            ("", "VERB", "DET"),
        ),
    ),
    "chain": (
        Tagging,
        {"decoder": "crf"},
        cells(
            ("O", "B-PER", "I-PER"),
            ("B-PER", "", "O", "O"),
            None,
            "O B-LOC O",
            "B-LOC O",
            "B-PER I-PER",
        ),
    ),
    "heard": (
        Tagging,
        {"frame": 0.1, "outside": "nothing"},
        cells(
            "0 0.2 bark 0.2 0.3 miaow",
            ((0.1, 0.4, "miaow"), (0.2, 0.3, "bark")),
            None,
            ((0, 0.1, ""), (0.1, 0.2, "bark")),
            "",
            "0.2 0.4 bark",
        ),
    ),
    "one-vs-rest": (
        Multiclass,
        {"criterion": "one-vs-rest", "class_weights": "effective", "focal": 1.5},
        cells("cat", "dog", None, "cat", "owl", "dog"),
    ),
    "focal": (
        Multiclass,
        {"focal": 2.0, "logit_adjustment": 1.0},
        cells("cat", "dog", None, "cat", "owl", "dog"),
    ),
    "rare": (
        Binary,
        {
            "positive_weight": "effective",
            "focal": 0.5,
            "logit_adjustment": 1.0,
            "threshold": "tuned",
        },
        cells("no", "yes", None, "yes", "no", "no"),
    ),
    "rare columns": (
        Multilabel,
        {
            "target": {"t": ("red", "round")},
            "positive_weight": "balanced",
            "focal": 1.0,
            "logit_adjustment": 0.5,
            "threshold": "tuned",
        },
        cells([1, 0], [None, 1], [None, None], [True, "yes"], [0.0, None], [1, 1]),
    ),
    "coral": (Ordinal, {}, cells(1, 3, None, 2, 5, 3)),
    "corn": (
        Ordinal,
        {"method": "corn", "classes": ("poor", "fair", "good")},
        cells("good", "poor", None, "fair", "poor", "good"),
    ),
    "quantile": (Quantile, {}, cells(1.5, 2, None, "3.5", -4.0, 9.25)),
    "quantiles": (
        Quantile,
        {"target": {"t": ("x", "y")}, "quantiles": (0.25, 0.75)},
        cells([1, 200], [None, 150], [None, None], [-3, 175.5], [0.5, None], [2, 100]),
    ),
    "gaussian": (Gaussian, {"beta": 0.5}, cells(1.5, 2, None, "3.5", -4.0, 9.25)),
    "ctc": (Recognition, {}, cells("one", "two", None, "eel", "", "one")),
    "phones": (
        Recognition,
        {"unit": "words", "search": "beam", "beam": 3},
        cells("ax b", ("b", "ax"), None, "ax", "sil b", "b ax"),
    ),
    "generation": (Generation, {"width": 24}, cells("one", "two", None, "eel", "", "one")),
    "written words": (
        Generation,
        {"unit": "words", "beam": 3, "width": 24},
        cells("a b", ("b", "a"), None, "a", "c b a", "b a"),
    ),
    "similarity": (Similarity, {}, cells("ann", "bob", None, "ann", "bob", "ann")),
    "synthesis": (Synthesis, {**VOICE, "width": 32}, sounds()),
    "segmentation": (
        Segmentation,
        {"classes": ("a", "b", "c")},
        maps(Segmentation, classes=("a", "b", "c")),
    ),
    "weighted pixels": (
        Segmentation,
        {"classes": ("a", "b", "c"), "class_weights": "balanced"},
        maps(Segmentation, classes=("a", "b", "c")),
    ),
    "edges": (Edges, {}, maps(Edges)),
    "edges nearby": (Edges, {"tolerance": 0.3}, maps(Edges)),
    "depth": (DenseRegression, {"criterion": "mse"}, maps(DenseRegression)),
    "normals": (Normals, {}, maps(Normals)),
    "picture": (Reconstruction, {}, maps(Reconstruction)),
    "absolute": (Regression, {"criterion": "l1"}, cells(1.5, 2, None, 3.5, -4.0, 9.25)),
}


def raw(kind: str) -> Task:
    """The task before it has seen data."""
    made, settings, _ = EXAMPLES[kind]
    return made(**{"name": kind, "input": "x", "target": {"t": "label"}, **settings})


def ready(kind: str) -> tuple[Task, Tensor, Tensor]:
    """The fitted task, its targets `[N, ...]` and where they are present `[N]`."""
    task = raw(kind).fit(EXAMPLES[kind][2])
    return task, *task.encode(EXAMPLES[kind][2])


def features(task: Task, rows: int, width: int, *, seed: int = 0) -> Features:
    """Features that a task's head can read, different for every row and place."""
    generator = torch.Generator().manual_seed(seed)
    if isinstance(task, Tagging):
        _, target, _ = ready(task.name)
        tokens = task.lengths(target).repeat(rows)[:rows]
        values = torch.randn(rows, int(tokens.max()), width, generator=generator)
        return Features(values, torch.arange(values.shape[1]) < tokens[:, None])
    if isinstance(task, Recognition):
        values = torch.randn(rows, 7, width, generator=generator)
        return Features(values, torch.arange(7) < 4 + torch.arange(rows)[:, None] % 4)
    if isinstance(task, DenseTask):
        return Features(torch.randn(rows, width, *SIZE, generator=generator))
    return Features(torch.randn(rows, width, generator=generator))


def guess(task: Task, rows: int, seed: int = 0) -> Tensor:
    """Outputs of a fresh head of the task, of random features."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        head = task.head(16)
        for parameter in head.parameters():
            torch.nn.init.normal_(parameter, std=0.25)
    guides = ()
    if task.reads_target:
        target = ready(task.name)[1]
        guides = (task.guide(target[torch.arange(rows) % len(target)]),)
    with torch.no_grad():
        output: Tensor = head.eval()(features(task, rows, 16, seed=seed), *guides)
    return output

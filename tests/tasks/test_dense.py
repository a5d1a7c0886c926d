"""Tasks about pixels: what is stored, losses and metrics against their definitions, mirrors."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchmetrics import MetricCollection

from polytask.errors import ConfigError, DataError
from polytask.tasks import DenseRegression, Edges, Normals, Segmentation
from polytask.tasks.dense import DenseTask, nearest_pixels
from polytask.tasks.dense_metrics import (
    Angle,
    NearEdges,
    depth_metrics,
    edge_metrics,
    near,
    normal_metrics,
    picture_metrics,
    segmentation_metrics,
)
from polytask.tasks.segmentation import region_edges
from polytask.types import Features
from tests.tasks.kinds import SIZE, cells, guess, ready

NAMED = {"name": "t", "input": "x", "target": {"t": "y"}}
DENSE = ["segmentation", "edges", "depth", "normals"]


def test_the_loss_of_classes_is_the_mean_over_labelled_pixels() -> None:
    task, target, _ = ready("segmentation")
    output = guess(task, len(target))
    for row in (0, 1):
        known = target[row] != 255
        expected = F.cross_entropy(output[row][:, known].T, target[row][known].long())
        torch.testing.assert_close(task.loss(output, target)[row], expected)


def test_mean_iou_is_its_definition_whatever_the_batches() -> None:
    task, target, present = ready("segmentation")
    decoded = task.decode(guess(task, len(target)))[present]
    target = target[present]
    metrics = task.metrics()
    for rows in (slice(0, 1), slice(1, 4), slice(4, 5)):
        metrics.update(decoded[rows], target[rows])
    known = target != 255
    found, true = decoded[known], target[known]
    pairs = [((found == k), (true == k)) for k in range(3)]
    iou = [((a & b).sum() / (a | b).sum()) for a, b in pairs]
    values = metrics.compute()
    torch.testing.assert_close(values["miou"], torch.stack(iou).mean())
    torch.testing.assert_close(values["accuracy"], (found == true).float().mean())


def test_balanced_factors_give_every_class_the_same_part_of_the_training_pixels() -> None:
    task, _, _ = ready("weighted pixels")
    assert isinstance(task, Segmentation)
    factors = task._factors()
    assert factors is not None
    parts = factors * torch.tensor(task.counts)
    torch.testing.assert_close(parts, parts.mean().expand(3))
    torch.testing.assert_close(parts.sum(), torch.tensor(float(sum(task.counts))))


def test_the_loss_of_edges_gives_both_sides_the_same_part() -> None:
    task, target, _ = ready("edges")
    logits = guess(task, len(target))
    loss = F.binary_cross_entropy_with_logits(
        logits[0, 0], (target[0] == 1).float(), reduction="none"
    )
    expected = (loss[target[0] == 1].mean() + loss[target[0] == 0].mean()) / 2
    torch.testing.assert_close(task.loss(logits, target)[0], expected)
    nothing = torch.zeros_like(target[:1])
    torch.testing.assert_close(task.loss(logits[:1], nothing)[0], F.softplus(logits[0]).mean())


def test_edges_lie_on_both_sides_of_a_border_and_not_beside_unlabelled_pixels() -> None:
    numbers = np.array([[1, 1, 2, 2], [1, 1, 255, 2], [1, 1, 1, 1]], np.uint8)
    wanted = [[0, 1, 1, 0], [0, 0, 0, 1], [0, 0, 0, 1]]
    assert region_edges(numbers).astype(int).tolist() == wanted
    task = Edges(**NAMED, of="regions")
    assert task.stored(numbers, (3, 4))[1].tolist() == [0, 0, 255, 1]


def measured(predicted: Tensor, target: Tensor, tolerance: float) -> dict[str, float]:
    """Precision, recall and F1, taken in two batches."""
    metrics = edge_metrics(255, tolerance)
    metrics.update(predicted[:1], target[:1])
    metrics.update(predicted[1:], target[1:])
    return {name: float(value) for name, value in metrics.compute().items()}


def nearby(predicted: Tensor, target: Tensor, tolerance: float) -> dict[str, float]:
    """The same with the metric that has a tolerance, which may be 0."""
    found = {}
    for what in ("precision", "recall", "f1"):
        metric = NearEdges(what, tolerance=tolerance, blank=255)
        metric.update(predicted[:1], target[:1])
        metric.update(predicted[1:], target[1:])
        found[what] = float(metric.compute())
    return found


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.floats(0, 1), st.floats(0, 1), st.floats(0, 0.5))
def test_a_tolerance_adds_to_exact_scores_and_none_is_exact(
    seed: int, edges: float, blank: float, tolerance: float
) -> None:
    rng = torch.Generator().manual_seed(seed)
    predicted = torch.rand(3, 6, 9, generator=rng) + edges - 0.5
    target = (torch.rand(3, 6, 9, generator=rng) < edges).to(torch.uint8)
    target[torch.rand(3, 6, 9, generator=rng) < blank / 2] = 255
    predicted = predicted.clamp(0, 1)
    exact = measured(predicted, target, 0.0)
    assert nearby(predicted, target, 0.0) == pytest.approx(
        {k: exact[k] for k in ("precision", "recall", "f1")}, abs=1e-6
    )
    less, more = (measured(predicted, target, t) for t in (tolerance, 1.5 * tolerance))
    for name in ("precision", "recall", "f1"):
        assert exact[name] - 1e-6 <= less[name] <= more[name] + 1e-6
    assert less["average_precision"] == exact["average_precision"]
    unseen = torch.where(target == 255, 1 - predicted, predicted)  # what nobody labelled
    assert measured(unseen, target, tolerance) == less


def test_distances_are_those_of_every_pair_of_pixels() -> None:
    rng = np.random.default_rng(3)
    for share in (0.02, 0.2, 1.0):
        edges = rng.random((7, 11)) < share
        there, places = np.argwhere(edges), np.argwhere(np.ones_like(edges))
        gaps = np.linalg.norm(places[:, None] - there[None], axis=2).min(1, initial=np.inf)
        for distance in (0.0, 1.0, 1.5, 3.0):
            assert (near(edges, distance) == (gaps <= distance).reshape(7, 11)).all()
    assert not near(np.zeros((3, 4), np.bool_), 99.0).any()


def test_an_edge_one_pixel_off_counts_within_a_tolerance_of_one_pixel() -> None:
    target = torch.zeros(2, 8, 8, dtype=torch.uint8)
    target[:, 3] = 1
    target[1, :, 0] = 255
    task = Edges(**NAMED, tolerance=1.01 / (8 * 2**0.5))
    predicted = torch.zeros(2, 8, 8)
    predicted[:, 4] = 1.0
    predicted[0, 7, 7] = 1.0  # far from everything
    predicted[1, 2, 0] = 1.0  # where nothing is labelled
    metrics = task.metrics()
    metrics.update(predicted, target)
    found = {name: float(value) for name, value in metrics.compute().items()}
    assert found["precision"] == pytest.approx(15 / 16) and found["recall"] == 1.0
    assert found["f1"] == pytest.approx(2 * 15 / 31)
    assert measured(predicted, target, 0.0)["f1"] == 0.0
    for wrong in (-0.1, 2.0):
        with pytest.raises(ConfigError, match="share of the picture's diagonal"):
            Edges(**NAMED, tolerance=wrong)


def test_numbers_are_learned_on_a_standard_scale_and_predicted_in_their_own() -> None:
    task, target, present = ready("depth")
    assert isinstance(task, DenseRegression)
    known = target[~target.isnan()]
    assert task.mean[0] == pytest.approx(float(known.mean()), rel=1e-5)
    exact = (target.nan_to_num(0.0) - task.mean[0]) / task.std[0]
    assert task.loss(exact[:, None], target).abs().max() < 1e-10
    torch.testing.assert_close(task.decode(exact[:, None])[0], target[0])
    metrics = task.metrics()
    metrics.update(task.decode(exact[:, None])[present], target[present])
    assert float(metrics.compute()["r2"]) == pytest.approx(1.0)


def test_scores_of_numbers_are_those_of_float64_whatever_the_batches() -> None:
    """One far-off picture, and many whose squares float32 would lose beside its own."""
    generator = torch.Generator().manual_seed(3)
    target = torch.randint(1000, 9000, (120, 16, 16), generator=generator).float()
    predicted = target + torch.randint(-20, 21, target.shape, generator=generator)
    predicted[0] += 100_000
    target[:, 0] = float("nan")
    metrics = depth_metrics()
    for k in range(len(target)):
        metrics.update(predicted[k : k + 1], target[k : k + 1])
    known = ~np.isnan(target.numpy())
    found, true = (of.numpy().astype(np.float64)[known] for of in (predicted, target))
    squares = ((found - true) ** 2).sum()
    expected = {
        "mae": np.abs(found - true).mean(),
        "rmse": np.sqrt(squares / known.sum()),
        "r2": 1 - squares / ((true - true.mean()) ** 2).sum(),
    }
    for name, value in metrics.compute().items():
        assert float(value) == pytest.approx(expected[name], rel=1e-12), name
    pictures = picture_metrics(float("nan"))
    for k in range(len(target)):
        pictures.update(predicted[k : k + 1], target[k : k + 1])
    decibels = 10 * np.log10(255**2 * known.sum() / squares)
    assert float(pictures.compute()["psnr"]) == pytest.approx(decibels, rel=1e-12)


@pytest.mark.parametrize(
    "metrics",
    [segmentation_metrics(3, 255), edge_metrics(255), edge_metrics(255, 0.01), depth_metrics(),
     picture_metrics(255), normal_metrics()],
)  # fmt: skip
def test_what_is_added_up_over_pixels_is_whole_or_float64(metrics: MetricCollection) -> None:
    directions = any(isinstance(metric, Angle) for metric in metrics.values())
    target = torch.ones(2, 3, 4, 4) if directions else torch.ones(2, 4, 4, dtype=torch.uint8)
    metrics.update(target if "miou" in metrics else target.float(), target)
    for name, metric in metrics.items():
        for state in metric._defaults:
            value = getattr(metric, state)
            assert value.dtype in (torch.int64, torch.float64), f"{name}.{state}: {value.dtype}"


def test_angles_between_directions() -> None:
    task, target, _ = ready("normals")
    turned = torch.stack([target[:1, 1], -target[:1, 0], torch.zeros_like(target[:1, 2])], 1)
    metrics = task.metrics()
    metrics.update(target[:1], target[:1])
    metrics.update(F.normalize(turned, dim=1), target[:1])
    values = metrics.compute()
    assert float(values["angle"]) == pytest.approx(45.0, abs=0.1)
    assert float(values["within_11"]) == 0.5


def test_vectors_are_brought_to_length_one_and_nothing_is_no_label() -> None:
    task = Normals(**NAMED)
    found = task.stored(np.array([[[3.0, 0, np.nan]], [[0, 0, 1]], [[4.0, 0, 1]]]), (1, 3))
    np.testing.assert_allclose(found[:, 0, 0], [0.6, 0, 0.8], rtol=1e-6)
    assert np.isnan(found[:, 0, 1:]).all()
    picture = np.array([[[255, 127, 127], [0, 0, 0]]], np.uint8)
    np.testing.assert_allclose(task.stored(picture, (1, 2))[:, 0, 0], [1, 0, 0], atol=0.01)
    assert np.isnan(task.stored(picture, (1, 2))[:, 0, 1]).all()


def test_pixels_are_taken_by_their_centres() -> None:
    array = np.arange(24).reshape(4, 6)
    assert nearest_pixels(array, (4, 6)).tolist() == array.tolist()
    assert nearest_pixels(array, (2, 3)).tolist() == [[7, 9, 11], [19, 21, 23]]
    assert nearest_pixels(array[:1, :2], (1, 4)).tolist() == [[0, 0, 1, 1]]


@pytest.mark.parametrize(
    ("array", "told"),
    [
        (np.zeros((2, 2, 3), np.uint8), r"class numbers \[H, W\].* 1 colour \(\[0, 0, 0\]\)"),
        (np.zeros((2, 2, 3), np.int64), r"class numbers \[H, W\].*\(2, 2, 3\)"),
        (np.zeros((2, 2)), "float64"),
        (np.full((2, 2), -1), "0 to 254.*-1 to -1"),
        (np.full((2, 2), 3, np.uint8), "class 3 has no name: tasks.t.classes names 3"),
    ],
)
def test_what_is_no_map_of_classes_says_why(array: np.ndarray, told: str) -> None:
    with pytest.raises(DataError, match=told):
        Segmentation(**NAMED, classes=("a", "b", "c")).stored(array, (2, 2))


def test_a_number_to_ignore_is_no_class() -> None:
    task = Segmentation(**NAMED, classes=("a", "b"), ignore=(11, 12))
    found = task.stored(np.array([[0, 11], [12, 1]], np.uint8), (2, 2))
    assert found.tolist() == [[0, 255], [255, 1]]


@pytest.mark.parametrize("kind", DENSE)
def test_outputs_are_scaled_to_the_target_for_the_loss_and_to_the_picture_for_people(
    kind: str,
) -> None:
    task, target, _ = ready(kind)
    assert isinstance(task, DenseTask)
    output = guess(task, len(target))
    twice = F.interpolate(output, scale_factor=2, mode="bilinear", align_corners=False)
    big = target.repeat_interleave(2, -1).repeat_interleave(2, -2)
    torch.testing.assert_close(task.loss(output, big), task.loss(twice, big))
    assert task.decode(twice).shape[-2:] == SIZE


@pytest.mark.parametrize("kind", DENSE)
def test_mirrored_outputs_of_mirrored_pictures_are_the_outputs(kind: str) -> None:
    """A target that is its own prediction scores the same from the mirror."""
    task, target, _ = ready(kind)
    if kind == "normals":
        there = torch.stack([-target[:, 0], target[:, 1], target[:, 2]], 1).flip(-1)
        torch.testing.assert_close(task.unmirrored(there), target, equal_nan=True)
    else:
        output = guess(task, len(target))
        assert torch.equal(task.unmirrored(output.flip(-1)), output)


def test_numbers_of_pixels_come_back_from_picture_and_range() -> None:
    task, target, _ = ready("depth")
    decoded = task.decode(guess(task, len(target)))
    pairs = zip(task.pictures(decoded), task.describe(decoded), decoded, strict=True)
    for picture, said, numbers in pairs:
        span = said["depth.max"] - said["depth.min"]
        back = said["depth.min"] + np.asarray(picture.pixels, np.float64) / 65535 * span
        assert np.abs(back - numbers.numpy()).max() <= 1e-5 * span


@pytest.mark.parametrize("kind", DENSE)
def test_predictions_are_pictures(kind: str) -> None:
    task, target, _ = ready(kind)
    pictures = task.pictures(task.decode(guess(task, len(target))))
    assert pictures is not None and len(pictures) == len(target)
    shape = (*SIZE, 3) if kind == "normals" else SIZE
    kinds = {"depth": np.uint16}
    assert all(p.pixels.shape == shape for p in pictures)
    assert all(p.pixels.dtype == kinds.get(kind, np.uint8) for p in pictures)


def test_one_vector_per_example_has_no_pixels() -> None:
    with pytest.raises(ConfigError, match=r"'edges' is about every pixel.*Leave out 'pool:'"):
        ready("edges")[0].head(4)(Features(torch.randn(2, 4)))


def test_classes_have_different_names() -> None:
    with pytest.raises(ConfigError, match="at least two different names"):
        Segmentation(**NAMED, classes=("a", "a"))
    with pytest.raises(DataError, match="no labelled pixel"):
        Segmentation(**NAMED, classes=("a", "b")).fit(cells(np.full((2, 2), 255, np.uint8)))

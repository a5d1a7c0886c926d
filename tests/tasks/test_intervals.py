"""Labels with times: read, put on frames, and written again."""

from typing import Any

import numpy as np
import pytest
import torch

from polytask.errors import ConfigError, DataError
from polytask.tasks import LabelError, Tagging
from polytask.tasks.intervals import Interval, at_frames, read_intervals, written
from polytask.tasks.sequences import PADDING, UNKNOWN
from polytask.types import Features
from tests.tasks.kinds import cells

WANTED = [Interval(0.0, 0.5, "sil"), Interval(0.5, 1.0, "3")]


@pytest.mark.parametrize(
    "cell",
    [
        "0 0.5 sil\n0.5 1 3",
        [("0.5", 1, 3.0), (0, 0.5, " sil ")],
        np.array([["0", "0.5", "sil"], ["0.5", "1", "3"]]),
    ],
)
def test_texts_and_lists_are_intervals_in_order(cell: Any) -> None:
    assert read_intervals(cell) == WANTED


def test_nothing_is_no_interval_and_a_label_may_be_missing() -> None:
    assert read_intervals("") == read_intervals([]) == []
    assert read_intervals([[0, 1, None]]) == [Interval(0.0, 1.0, "")]


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        (3, "found 3"),
        ("0 1 a 1 2", "found .'1', '2'. for one"),
        ([[0, 1]], r"found \[0, 1\] for one"),
        (["a"], "found a for one"),
        ("0 x a", "from 0 to x seconds"),
        ("1 0.5 a", "from 1 to 0.5 seconds"),
        ("-1 0.5 a", "from -1 to 0.5 seconds"),
        ("0 inf a", "from 0 to inf seconds"),
        ([[None, 1, "a"]], "from None to 1 seconds"),
    ],
)
def test_what_is_no_list_of_intervals_says_why(cell: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read_intervals(cell)


def test_a_frame_has_the_label_of_its_middle() -> None:
    found = at_frames(read_intervals("0 0.24 a 0.24 0.26 b 0.26 0.5 c"), 0.1)
    assert found == ["a", "a", "b", "c", "c"]  # middles at 0.05, 0.15, 0.25, 0.35 and 0.45
    assert at_frames(read_intervals("0 0.26 a 0.26 0.34 b"), 0.1) == ["a", "a", "a"]


def test_gaps_are_outside_and_the_later_of_two_counts() -> None:
    some = read_intervals("0.1 0.5 a 0.3 0.4 b 0.7 0.8 c")
    assert at_frames(some, 0.1) == ["", "a", "a", "b", "a", "", "", "c"]
    assert at_frames(some, 0.1, "no")[:2] == ["no", "a"]
    assert at_frames([], 0.1) == [""] and at_frames([], 0.1, "no") == ["no"]


def test_labels_of_frames_are_written_as_they_are_read() -> None:
    names = ["a", "a", "b", "a", "c", "c", "c"]
    assert written(names[:3], 0.02) == "0 0.04 a 0.04 0.06 b"
    assert at_frames(read_intervals(written(names, 0.02)), 0.02) == names
    assert written([], 0.02) == ""


def task(**settings: Any) -> Tagging:
    return Tagging(name="heard", input="x", target={"t": "y"}, frame=0.1, **settings)


def test_labels_too_short_for_a_frame_are_known_all_the_same() -> None:
    fitted = task().fit(cells("0 0.26 a 0.26 0.34 b", None, ((0, 1, None),)))
    assert fitted.classes == ("a", "b")
    target, present = fitted.encode(cells("0 0.2 b", None, ((0, 0.2, "a"), (0.3, 0.4, "")), ""))
    assert target.tolist() == [[1, 1, -2, -2], [-2] * 4, [0, 0, -1, -1], [-1, -2, -2, -2]]
    assert present.tolist() == [True, False, True, False]


def test_what_is_outside_is_a_class_too() -> None:
    fitted = task(outside="none").fit(cells("0.1 0.2 bark", ""))
    assert fitted.classes == ("bark", "none") and fitted.rest == 1
    target, present = fitted.encode(cells("0.1 0.2 bark", ""))
    assert target.tolist() == [[1, 0], [1, -2]] and present.all()
    assert task().fit(cells("0 1 a 1 2 b")).rest == UNKNOWN


def test_a_strange_cell_names_its_row() -> None:
    with pytest.raises(LabelError, match=r"\[start, end, label\] in seconds.*found 3\.") as caught:
        task().fit(cells("0 1 a 1 2 b", 3))
    assert caught.value.row == 1


def test_settings_without_sense_are_refused() -> None:
    with pytest.raises(ConfigError, match="`frame` should be"):
        Tagging(name="t", input="x", target={"t": "y"}, frame=-1.0)
    with pytest.raises(ConfigError, match="`outside` is of labels with times"):
        Tagging(name="t", input="x", target={"t": "y"}, outside="none")


@pytest.mark.parametrize("decoder", ["linear", "crf"])
@pytest.mark.parametrize("labels", [[0, 1, 0], [0, 1, 0, 1], [0, 1, 0, 1, 1]])
def test_a_frame_more_or_less_is_rounding(decoder: Any, labels: list[int]) -> None:
    """Four frames, the third of which has no label; a fifth label has no frame."""
    fitted = task(decoder=decoder).fit(cells("0 1 a 1 2 b"))
    torch.manual_seed(0)
    head = fitted.head(4)
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter)
    values = torch.randn(1, 4, 4)
    padded = Features(torch.cat([values, torch.ones(1, 2, 4)], 1), torch.arange(6)[None] < 4)
    row = [*labels, *[PADDING] * (6 - len(labels))]
    row[2] = UNKNOWN
    target = torch.tensor([row], dtype=torch.int8)
    first = torch.tensor([[0, 1, UNKNOWN, 1 if len(labels) > 3 else UNKNOWN]], dtype=torch.int8)
    wanted = fitted.loss(head(Features(values)), first)
    torch.testing.assert_close(fitted.loss(head(padded), target), wanted)


def test_frames_of_another_length_are_an_error_that_says_which() -> None:
    fitted = task().fit(cells("0 1 a 1 2 b"))
    target, _ = fitted.encode(cells("0 1 a"))
    with pytest.raises(DataError, match=r"10 frames of 0\.1 s .* gives 5.*which is about 0\.2\."):
        fitted.loss(fitted.head(4)(Features(torch.randn(1, 5, 4))), target)


def test_predictions_are_intervals() -> None:
    fitted = task(classes=("a a", "b")).fit(cells(((0, 1, "a a"), (1, 2, "b"))))
    found = fitted.describe(torch.tensor([[0, 0, 1, UNKNOWN], [1, 0, 0, 0]]))
    assert found == [{"heard": "0 0.2 a\u00a0a 0.2 0.3 b"}, {"heard": "0 0.1 b 0.1 0.4 a\u00a0a"}]

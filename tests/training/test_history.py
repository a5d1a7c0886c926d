"""By what tasks are compared."""

import pytest

from polytask.tasks import Binary, Regression
from polytask.training.history import compared_by

BINARY = Binary(name="a", input="i", target={"s": "a"}, classes=("no", "yes"))
NUMBER = Regression(name="b", input="i", target={"s": "b"}, mean=(0.0,), std=(1.0,))


@pytest.mark.parametrize(
    ("monitor", "a", "b"),
    [
        ("mean", ("accuracy", True), ("r2", True)),
        ("mean.auroc", ("auroc", True), ("r2", True)),
        ("a.f1", ("f1", True), ("r2", True)),
        ("mean.mae", ("accuracy", True), ("mae", False)),
        ("mean.loss", ("accuracy", True), ("r2", True)),
    ],
)
def test_tasks_are_compared_by_what_is_monitored_if_they_have_it(
    monitor: str, a: tuple[str, bool], b: tuple[str, bool]
) -> None:
    assert compared_by(monitor, BINARY) == a and compared_by(monitor, NUMBER) == b

"""Loggers show what the history says, once, also after a training was cut off and resumed."""

import sys
from pathlib import Path
from typing import Any

import pytest

from polytask.config import load_config
from polytask.errors import MissingDependency
from polytask.run import Run
from polytask.training.history import EpochRecord
from polytask.training.loggers import numbers_of
from polytask.workflow import Silent, train
from tests.study.conftest import TINY


class Broken(Exception):
    """What happens in the middle."""


class CutOff(Silent):
    """Lets a training die between an epoch's line and its checkpoint."""

    def on_epoch(self, record: EpochRecord) -> None:
        """In the second epoch."""
        if record.epoch == 2:
            raise Broken


def cut_off_and_resumed(folder: Path, loggers: str) -> tuple[Run, dict[str, list[float]]]:
    """A run that was cut off and resumed, and what its history says, by step, under each name."""
    text = TINY.replace("epochs: 2", "epochs: 3") + f"balancer: {{kind: uw}}\nloggers: {loggers}\n"
    (folder / "logged.yaml").write_text(text)
    with pytest.raises(Broken):
        train(load_config(folder / "logged.yaml"), folder / "runs", CutOff(), ["test"])
    run = Run.newest(folder / "runs")
    assert [line["epoch"] for line in run.history()] == [1, 2]
    assert train(run, folder / "runs", Silent(), ["test"])
    lines = [EpochRecord(**line) for line in run.history()]
    assert [line.epoch for line in lines] == [1, 2, 3]
    known = [numbers_of(line) for line in lines]
    return run, {name: [numbers[name] for numbers in known] for name in known[0]}


def test_an_event_file_reads_as_the_history(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run, expected = cut_off_and_resumed(tmp_path, "[{kind: tensorboard}]")
    assert len(list((run.path / "tensorboard").glob("events.*"))) == 2
    found = EventAccumulator(str(run.path / "tensorboard"))
    found.Reload()
    assert set(found.Tags()["scalars"]) == set(expected)
    assert {"train/color/loss", "validation/shape/accuracy", "weight/color"} < set(expected)
    steps = [line["step"] for line in run.history()]
    for name, values in expected.items():
        events = found.Scalars(name)
        assert [event.step for event in events] == steps, name
        assert [event.value for event in events] == pytest.approx(values, rel=1e-6), name


def test_mlflow_has_the_history_in_one_run(tmp_path: Path) -> None:
    pytest.importorskip("mlflow", reason='needs pip install "polytask[mlflow]"')
    pytest.importorskip("pytorch_lightning", reason='needs pip install "polytask[mlflow]"')
    from mlflow.tracking import MlflowClient

    place = f"sqlite:///{tmp_path / 'm.db'}"
    run, expected = cut_off_and_resumed(tmp_path, f"[{{kind: mlflow, tracking_uri: '{place}'}}]")
    client = MlflowClient(place)
    [theirs] = client.search_runs(["1"])
    assert theirs.info.run_name == run.path.name and theirs.info.status == "FINISHED"
    assert theirs.data.params["trunk/kind"] == "hard"
    for name, values in expected.items():
        if name == "seconds":
            continue
        points = {(p.step, p.value) for p in client.get_metric_history(theirs.info.run_id, name)}
        assert [value for _, value in sorted(points)] == pytest.approx(values), name


def test_weights_and_biases_resumes_its_run_offline(tmp_path: Path) -> None:
    pytest.importorskip("wandb", reason='needs pip install "polytask[wandb]"')
    pytest.importorskip("pytorch_lightning", reason='needs pip install "polytask[wandb]"')
    run, _ = cut_off_and_resumed(tmp_path, "[{kind: wandb, project: p}]")
    folders = list((run.path / "wandb").glob("offline-run-*"))
    files = [path.name for folder in folders for path in folder.glob("run-*.wandb")]
    assert len(files) == 2 and len(set(files)) == 1


@pytest.mark.parametrize(
    ("kind", "module"),
    [("tensorboard", "tensorboard"), ("mlflow", "mlflow"), ("wandb", "wandb")],
)
def test_a_package_that_is_missing_is_said_before_anything_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, module: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    (tmp_path / "logged.yaml").write_text(TINY + f"loggers: [{{kind: {kind}}}]\n")
    config = load_config(tmp_path / "logged.yaml")
    extra = "loggers" if kind == "tensorboard" else kind
    with pytest.raises(MissingDependency, match=rf"polytask\[{extra}\]"):
        train(config, tmp_path / "runs", Silent(), ["test"])
    assert not (tmp_path / "runs").exists()


def test_a_log_that_cannot_be_written_does_not_end_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lightning_fabric.loggers import TensorBoardLogger

    def full(*_: Any, **__: Any) -> None:
        raise OSError("no space left")

    class Listening(Silent):
        said: list[str] = []  # noqa: RUF012 - one training only

        def warn(self, message: str) -> None:
            self.said.append(message)

    monkeypatch.setattr(TensorBoardLogger, "log_metrics", full)
    (tmp_path / "logged.yaml").write_text(TINY + "loggers: [{kind: tensorboard}]\n")
    assert train(load_config(tmp_path / "logged.yaml"), tmp_path / "runs", Listening(), ["test"])
    assert len([line for line in Listening.said if "no space left" in line]) == 2

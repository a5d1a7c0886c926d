"""Trainings among many: done once, taken up where they were left, failing alone."""

from dataclasses import replace
from pathlib import Path

import pytest

from polytask.config import Config
from polytask.config.variants import varied
from polytask.errors import CannotWrite, RunError
from polytask.run import Run, written
from polytask.study import Job, Outcome, outcome_of, work
from polytask.study.runs import RECORD, claimed
from polytask.training.history import EpochRecord
from polytask.workflow import Silent


class Interrupted(Silent):
    """Somebody who pulls the plug after an epoch."""

    def on_epoch(self, record: EpochRecord) -> None:
        raise KeyboardInterrupt


def test_a_job_is_done_once(tiny: Config, tmp_path: Path) -> None:
    job = Job("a", tiny)
    first = work(job, tmp_path / "runs")
    assert first.status == "finished" and first.steps == 2 * 2
    assert first.parameters > 0 and first.scores is not None
    history = Run.open(tmp_path / "runs/a").history()
    best = max(history, key=lambda line: line["monitored"])
    assert first.scores == best["scores"] and first.epoch == best["epoch"]
    weights = (tmp_path / "runs/a/model.safetensors").stat().st_mtime_ns
    assert work(job, tmp_path / "runs") == first == outcome_of(tmp_path / "runs/a")
    assert (tmp_path / "runs/a/model.safetensors").stat().st_mtime_ns == weights


def test_what_was_cut_off_goes_on_and_ends_as_if_it_had_not_been(
    tiny: Config, tmp_path: Path
) -> None:
    whole = work(Job("a", tiny), tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        work(Job("a", tiny), tmp_path / "cut", Interrupted())
    assert outcome_of(tmp_path / "cut/a") is None
    cut = work(Job("a", tiny), tmp_path / "cut")
    assert replace(cut, seconds=0.0) == replace(whole, seconds=0.0)
    assert (
        Run.open(tmp_path / "cut/a").fingerprint() == Run.open(tmp_path / "whole/a").fingerprint()
    )


def test_one_process_works_on_a_job(tiny: Config, tmp_path: Path) -> None:
    with claimed(tmp_path, "a") as ours:
        assert ours
        assert work(Job("a", tiny), tmp_path) == Outcome("elsewhere")
    assert not (tmp_path / "a").exists()
    with claimed(tmp_path, "a") as ours:
        assert ours


def test_a_failure_is_an_outcome_with_its_reason(tiny: Config, tmp_path: Path) -> None:
    job = Job("a", varied(tiny, {"optimizer.lr": 1e30}))
    outcome = work(job, tmp_path)
    assert outcome.status == "failed" and "finite" in outcome.reason
    assert work(job, tmp_path) == outcome


def test_a_folder_keeps_its_settings(tiny: Config, tmp_path: Path) -> None:
    Run.at(tmp_path / "a", tiny)
    with pytest.raises(RunError, match="other settings"):
        work(Job("a", varied(tiny, {"training.epochs": 3})), tmp_path)


def test_a_full_disk_is_no_outcome(
    tiny: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It had been one, so a training that had lacked room only was given up for good."""

    def full(*_: object, **__: object) -> bool:
        with written(tmp_path / "checkpoint.pt"):
            raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("polytask.study.runs.train", full)
        with pytest.raises(CannotWrite, match="No space left"):
            work(Job("a", tiny), tmp_path)
    assert outcome_of(tmp_path / "a") is None
    assert work(Job("a", tiny), tmp_path).status == "finished"


def test_a_broken_record_says_so(tmp_path: Path) -> None:
    (tmp_path / RECORD).write_text("{}")
    with pytest.raises(RunError, match="Remove it"):
        outcome_of(tmp_path)

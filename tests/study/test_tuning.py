"""A search: its trials, what they leave behind, and how it goes on."""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from polytask.config import Config, load_config
from polytask.config.variants import varied
from polytask.errors import ConfigError, RunError
from polytask.run import Run
from polytask.study.runs import outcome_of
from polytask.study.space import Space, suggested
from polytask.study.trials import Pruning, Search, folder_of, opened, taken
from polytask.study.tuning import require_same_search, tune
from polytask.training.history import EpochRecord
from tests.study.conftest import TINY

TUNED = "tune: {optimizer.lr: {low: 0.0001, high: 1.0e+30, log: true}}\n"


@pytest.fixture
def searched(tmp_path: Path) -> Config:
    """One epoch; rates so great that some trials must fail."""
    (tmp_path / "s.yaml").write_text(TINY.replace("epochs: 2", "epochs: 1") + TUNED)
    return load_config(tmp_path / "s.yaml")


def quiet(_: str) -> None:
    """Nothing."""


def test_trials_fail_alone_and_the_best_can_be_trained(searched: Config, tmp_path: Path) -> None:
    lines: list[str] = []
    found = tune(searched, tmp_path / "t", Search(trials=5), lines.append)
    states = [trial["state"] for trial in found["trials"]]
    assert len(states) == 5 and "complete" in states and "fail" in states
    assert all(
        ("finite" in t["reason"]) == (t["state"] == "fail") for t in found["trials"] if t["reason"]
    )
    best = found["best"][0]
    outcome = outcome_of(Path(found["trials"][best["number"]]["run"]))
    assert outcome is not None and outcome.monitored == best["values"][0]
    finished = [t["values"][0] for t in found["trials"] if t["state"] == "complete"]
    assert best["values"][0] == max(finished)
    config = load_config(Path(best["file"]))
    assert config.optimizer.model_dump()["lr"] == best["params"]["optimizer.lr"]
    assert config.tune is None and len(lines) == 5 and "(5 of 5)" in lines[-1]
    assert not list((tmp_path / "t").glob("trials/*/scores.json"))  # the test part stays closed

    again = tune(searched, tmp_path / "t", Search(trials=6), lines.append)
    assert len(again["trials"]) == 6 and again["trials"][:5] == found["trials"]
    with pytest.raises(RunError, match="another search: objectives was"):
        tune(searched, tmp_path / "t", Search(objectives=("color.loss",)), quiet)
    with pytest.raises(RunError, match=r"keeps its trials in 'tune\.db'"):
        tune(searched, tmp_path / "t", Search(journal=True), quiet)


def test_what_was_killed_goes_on_with_its_values(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "s.yaml").write_text(TINY + "tune: {optimizer.lr: {low: 0.001, high: 0.01}}\n")
    config = load_config(tmp_path / "s.yaml")
    search = Search(trials=1, journal=True)

    def cut_off(self: Pruning, record: EpochRecord) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(Pruning, "on_epoch", cut_off)
        tune(config, tmp_path / "t", search, quiet)
    found = tune(config, tmp_path / "t", search, quiet)
    first, second = opened(tmp_path / "t", config, search).get_trials()
    assert second.params == first.params and folder_of(second) == "0000"
    assert [t["number"] for t in found["trials"]] == [1]
    assert [path.name for path in (tmp_path / "t/trials").glob("0*")] == ["0000"]


def test_two_workers_do_each_trial_once(tmp_path: Path) -> None:
    """Both are at it, on one SQLite file, with values of their own and no trial too many."""
    text = TINY.replace("epochs: 2", "epochs: 1")
    (tmp_path / "s.yaml").write_text(text + "tune: {optimizer.lr: {low: 0.001, high: 0.01}}\n")
    config = load_config(tmp_path / "s.yaml")
    found = tune(config, tmp_path / "t", Search(trials=4, workers=2), quiet)
    assert [trial["number"] for trial in found["trials"]] == list(range(4))
    assert {trial["state"] for trial in found["trials"]} == {"complete"}
    assert len({trial["params"]["optimizer.lr"] for trial in found["trials"]}) == 4
    runs = sorted((tmp_path / "t/trials").glob("0*"))
    assert [run.name for run in runs] == [f"{number:04d}" for number in range(4)]
    assert all(len(Run.open(run).history()) == 1 for run in runs)
    alone = tune(config, tmp_path / "alone", Search(trials=1), quiet)
    assert alone["trials"][0]["params"] == found["trials"][0]["params"]


def test_a_trial_is_taken_up_when_its_process_is_gone_and_not_before(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(TINY + "tune: {optimizer.lr: {low: 0.001, high: 0.01}}\n")
    space = Space(load_config(tmp_path / "s.yaml"))
    search, root = Search(trials=2), tmp_path / "t"
    root.mkdir()
    study = opened(root, space.config, search)
    with ExitStack() as ours, ExitStack() as theirs:
        first = taken(study, space, root, search, ours)
        suggested(first, "optimizer.lr", space.ranges["optimizer.lr"])
        second = taken(study, space, root, search, theirs)
        assert second.number == 1
        # Two are under way, so nobody needs a third, and nobody goes on with these.
        assert taken(study, space, root, search, theirs) is None
        assert len(study.get_trials()) == 2
        ours.close()  # as when its process is killed, with values drawn
        again = taken(study, space, root, search, theirs)
        assert folder_of(again) == "0000" and again.number == 2
        theirs.close()  # and these two; the second had drawn no values, so it is just forgotten
        fresh = [taken(study, space, root, search, ours) for _ in range(2)]
        assert [folder_of(trial) for trial in fresh] == ["0000", "0004"]
        assert taken(study, space, root, search, ours) is None


def test_a_front_of_two_scores(tmp_path: Path) -> None:
    text = TINY.replace("epochs: 2", "epochs: 1")
    (tmp_path / "s.yaml").write_text(text + "tune: {tasks.color.weight: {low: 0.01, high: 9.0}}\n")
    search = Search(trials=3, objectives=("color.loss", "shape.loss"))
    found = tune(load_config(tmp_path / "s.yaml"), tmp_path / "t", search, quiet)
    points = [tuple(t["values"]) for t in found["trials"]]
    front = {p for p in points if not any(q[0] < p[0] and q[1] < p[1] for q in points)}
    assert {tuple(b["values"]) for b in found["best"]} <= front
    assert all(Path(b["file"]).exists() for b in found["best"])


def test_trials_that_fall_behind_are_pruned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import optuna

    monkeypatch.setattr(optuna.trial.Trial, "should_prune", lambda self: self.number > 0)
    (tmp_path / "s.yaml").write_text(TINY + "tune: {optimizer.lr: {low: 0.001, high: 0.01}}\n")
    found = tune(load_config(tmp_path / "s.yaml"), tmp_path / "t", Search(trials=2), quiet)
    assert [t["state"] for t in found["trials"]] == ["complete", "pruned"]
    assert [t["epochs"] for t in found["trials"]] == [2, 1]
    assert not (tmp_path / "t/trials/0001/checkpoint.pt").exists()
    assert len(Run.open(tmp_path / "t/trials/0001").history()) == 1


def test_a_search_that_was_changed_says_where(searched: Config, tmp_path: Path) -> None:
    require_same_search(tmp_path, searched, Search())
    require_same_search(tmp_path, searched, Search())
    other = varied(searched, {"training.epochs": 7, "batches.size": 8})
    with pytest.raises(RunError) as told:
        require_same_search(tmp_path, other, Search(objectives=("color.loss",)))
    for part in ("batches.size was 32 and is 8", "training.epochs was", " and is 7", "objectives"):
        assert part in str(told.value)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"pruner": "medain"}, "--pruner"),
        ({"trials": 0}, "--trials"),
        ({"objectives": ("colour.loss",)}, "Did you mean 'color.loss'"),
        ({"objectives": ("color",)}, r"task\.metric"),
        ({"objectives": ("color.accuarcy",)}, "Did you mean 'color.accuracy'"),
    ],
)
def test_what_cannot_be_searched_is_said(
    searched: Config, tmp_path: Path, given: dict[str, object], told: str
) -> None:
    make: Callable[..., Search] = Search
    with pytest.raises(ConfigError, match=told):
        tune(searched, tmp_path / "t", make(**given), quiet)

"""What a comparison trains."""

from pathlib import Path

import pytest

from polytask.config import Config, load_config
from polytask.config.variants import varied
from polytask.errors import ConfigError
from polytask.study.folder import Study
from polytask.study.measuring import measured
from polytask.study.plan import Allowance, Plan

SECTION = """\
compare:
  sharing: [{kind: hard}, {kind: mmoe}, {kind: mmoe, experts: 2}]
  balancing: [{kind: uw}, {kind: cagrad}]
  seeds: [3, 4]
"""


@pytest.fixture
def compared(tiny: Config, tmp_path: Path) -> Config:
    """Two tasks, three ways to share, two balancers."""
    (tmp_path / "c.yaml").write_text((tmp_path / "tiny.yaml").read_text() + SECTION)
    return load_config(tmp_path / "c.yaml")


def test_equal_weights_are_always_tried_and_names_tell_candidates_apart(compared: Config) -> None:
    plan = Plan(compared, {}, {}, 1)
    names = [c.name for c in plan.shared()]
    assert names[:3] == ["hard + equal", "hard + uw", "hard + cagrad"]
    assert "mmoe + uw" in names and "mmoe 2 + uw" in names and len(set(names)) == 9
    assert [c.name for c in plan.adaptive()] == [n for n in names if "equal" not in n]


def test_every_task_alone_has_the_same_backbone_and_the_same_rows(compared: Config) -> None:
    plan = Plan(compared, {}, {}, 1)
    backbone = compared.resolved()["trunk"]["backbone"]
    jobs = [plan.job(c, 3).config.resolved() for c in (*plan.alone(), *plan.shared())]
    assert [list(job["tasks"]) for job in jobs[:2]] == [["color"], ["shape"]]
    assert all(job["trunk"]["backbone"] == backbone for job in jobs)
    assert all(job["seed"] == 3 and "compare" not in job for job in jobs)
    assert {job["sources"]["shapes"]["split"]["seed"] for job in jobs} == {compared.seed}


def test_searched_weights_get_as_many_trainings_as_adaptive_balancers(compared: Config) -> None:
    plan = Plan(compared, {}, {}, 1)
    assert plan.trial_count == 2 * 2
    trials = plan.trials()
    assert len(trials) == 3 * 4
    weights = [t.changes["balancer"]["weights"] for t in trials]
    assert weights[:4] == weights[4:8] and len({tuple(w) for w in weights}) == 4
    assert all(sum(w) == pytest.approx(2, abs=1e-3) for w in weights)
    assert Plan(varied(compared, {"compare.trials": 7}), {}, {}, 1).trial_count == 7


def test_the_best_trial_is_the_first_training_of_the_tuned_candidate(compared: Config) -> None:
    plan = Plan(compared, {}, {}, 1)
    best = plan.trials()[2]
    tuned = plan.tuned(best)
    assert plan.folder(tuned, 3) == plan.folder(best, 3)
    assert plan.folder(tuned, 4) != plan.folder(best, 4)
    assert plan.job(tuned, 4).config.balancer == plan.job(best, 4).config.balancer


def test_allowances_and_epochs_reach_the_trainings(compared: Config) -> None:
    plan = Plan(compared, {("color",): Allowance(7, 70)}, {"color alone": 5}, 2)
    raw = plan.job(plan.alone()[0], 3).config.resolved()
    assert (raw["batches"]["size"], raw["batches"]["epoch_examples"]) == (7, 70)
    assert raw["training"]["epochs"] == 5 and raw["training"]["threads"] == 2
    assert plan.job(plan.alone()[1], 3).config.resolved()["training"]["epochs"] == 2


def test_without_trials_no_weights_are_searched(tmp_path: Path) -> None:
    (tmp_path / "two.yaml").write_text(TWO_SOURCES.replace("BUDGET", "examples"))
    config = load_config(tmp_path / "two.yaml", ["compare.trials=0"])
    study = Study.create(config, tmp_path / "study", ["compare"], 1)
    assert [c.role for c in study.candidates()] == ["alone", "alone", "shared"]
    assert len(study.trainings()) == 6


TWO_SOURCES = """\
sources:
  one: {kind: shapes, count: 60, size: 16, split: {validation: 0.2}}
  two: {kind: shapes, count: 120, size: 16, seed: 1, split: {validation: 0.2}}
inputs:
  picture: {kind: image, columns: {one: image, two: image}, size: 16, pool: mean}
tasks:
  color: {kind: multiclass, input: picture, target: one.color}
  shape: {kind: multiclass, input: picture, target: two.shape}
batches: {size: 12, mixing: {kind: uniform}}
training: {epochs: 1, threads: 1, precision: fp32}
compare: {seeds: [0, 1], trials: 1, budget: BUDGET}
"""


@pytest.mark.parametrize(("budget", "size"), [("examples", 6), ("steps", 12), ("time", 6)])
def test_the_budget_decides_what_a_task_alone_gets(budget: str, size: int, tmp_path: Path) -> None:
    (tmp_path / "two.yaml").write_text(TWO_SOURCES.replace("BUDGET", budget))
    facts = measured(load_config(tmp_path / "two.yaml"), 1)
    sizes = {tuple(a["tasks"]): a["size"] for a in facts["allowances"]}
    assert sizes == {("color", "shape"): 12, ("color",): size, ("shape",): size}
    steps = {a["epoch_examples"] / a["size"] for a in facts["allowances"]}
    assert len(steps) == 1
    assert set(facts["epochs"]) == (set(facts["seconds"]) if budget == "time" else set())
    assert all(seconds > 0 for seconds in facts["seconds"].values())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"compare.tasks": [["color"]]}, "shares nothing"),
        ({"compare.tasks": [["color", "shade"]]}, "no task 'shade'"),
        ({"compare.seeds": [1, 1]}, "different numbers"),
        ({"compare.seeds": []}, "different numbers"),
        ({"sources.shapes.split.validation": 0.0}, "validation is 0"),
    ],
)
def test_what_cannot_be_compared_says_why(compared: Config, change: dict, said: str) -> None:  # type: ignore[type-arg]
    with pytest.raises(ConfigError, match=said):
        Plan(varied(compared, change), {}, {}, 1)


def test_tasks_that_a_balancer_names_are_the_same_in_each_set(tiny: Config) -> None:
    third = {"kind": "multiclass", "input": "picture", "target": {"shapes": "letter"}}
    config = varied(tiny, {"tasks.letter": third})
    named = {"kind": "metabalance", "primary": "shape"}
    weights = {"kind": "constant", "weights": [1.0, 2.0, 4.0]}
    sets = [["color", "shape"], ["color", "letter"]]
    config = varied(config, {"compare": {"balancing": [named, weights], "tasks": sets}})
    plan = Plan(config, {}, {}, 1)
    told = [plan.job(c, 0).config.balancer.model_dump() for c in plan.shared()]
    assert [b["primary"] for b in told if b["kind"] == "metabalance"] == ["shape", None]
    assert [b["weights"] for b in told if b["kind"] == "constant"] == [(1.0, 2.0), (1.0, 4.0)]

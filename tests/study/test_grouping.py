"""Groups of tasks, from a file to a page."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from polytask.config import Config, load_config
from polytask.config.variants import varied
from polytask.errors import ConfigError, RunError
from polytask.evaluation.ranking import gain
from polytask.report.groups import verdict, write_page
from polytask.run import Run
from polytask.study.affinities import gained, labels_together
from polytask.study.grouping import Plan, group
from polytask.study.runs import Outcome
from polytask.tasks import Binary
from polytask.workflow import Silent, prepare_data
from tests.study.conftest import TINY


@pytest.fixture
def three(tmp_path: Path) -> Config:
    """Three tasks, half of whose labels are missing."""
    text = TINY.replace("  shape: {", "  letter: {kind: multiclass, target: letter}\n  shape: {")
    (tmp_path / "three.yaml").write_text(text.replace("missing: 0.0", "missing: 0.4"))
    return load_config(tmp_path / "three.yaml")


class Counting(Silent):
    """Counts steps."""

    steps = 0

    def on_step(self, step: int, record: object, lr: float) -> None:
        self.steps += 1


def test_a_joint_training_tells_groups_and_verifies_them(three: Config, tmp_path: Path) -> None:
    plan = Plan(measure="lookahead", models=2, notes=3, tries=0, verify=True)
    found = group(three, tmp_path / "study", plan)
    assert json.loads((tmp_path / "study/group.json").read_text()) == found
    assert sorted(t for g in found["groups"] for t in g["serves"]) == sorted(three.tasks)
    assert len(found["groups"]) <= 2 and found["exact"]
    for said in found["predicted"].values():
        assert said["low"] <= said["high"]
    scores = found["verified"]["scores"]
    assert {how for how in scores["color"]} == {"metric", "groups", "together", "apart"}
    alone = next((g["trains"][0] for g in found["groups"] if len(g["trains"]) == 1), None)
    if alone is not None:
        assert scores[alone]["groups"] == scores[alone]["apart"]
    watcher = Counting()
    assert group(three, tmp_path / "study", plan, watcher) == found
    assert watcher.steps == 0  # all of it was there already
    page = write_page(found, tmp_path / "study/group.html")
    assert verdict(found).partition("\n")[0] in page.read_text()
    assert (tmp_path / "study/group/affinity.png").stat().st_size > 1000


def test_gains_are_of_the_metric_that_is_monitored() -> None:
    task = Binary(name="a", input="i", target={"s": "a"}, classes=("no", "yes"))
    ours, base = (
        Outcome("finished", scores={"a": {"accuracy": 0.9, "auroc": area}}) for area in (0.8, 0.7)
    )
    assert gained(ours, base, task, "mean") == 0
    assert gained(ours, base, task, "mean.auroc") == gain(0.8, 0.7) > 0


def test_random_sets_tell_gains_of_scores(three: Config, tmp_path: Path) -> None:
    quick = varied(three, {"training.epochs": 1})
    plan = Plan(measure="subsets", size=2, rounds=2, overlapping=True)
    found = group(quick, tmp_path / "study", plan)
    assert found["cost"]["trainings"] == len(list((tmp_path / "study/explore").glob("[a-z]*/")))
    assert "relative gain" in found["unit"] and not found["layers"]
    assert all(set(g["serves"]) <= set(g["trains"]) for g in found["groups"])


def test_every_set_is_trained_briefly_and_the_best_in_full(three: Config, tmp_path: Path) -> None:
    config = varied(three, {"training.epochs": 2})
    found = group(config, tmp_path / "study", Plan(measure="sets", models=2, tries=1))
    assert found["cost"]["trainings"] == 7 and found["cost"]["epochs"] == 1
    brief = [f"alone-{t}" for t in three.tasks] + ["set-color+letter", "set-color+letter+shape"]
    brief += ["set-color+shape", "set-letter+shape"]
    assert sorted(p.name for p in (tmp_path / "study/explore").glob("[a-z]*/")) == sorted(brief)
    runs = [Run.open(p) for p in (tmp_path / "study/verify").glob("[a-z]*/")]
    assert {r.config.resolved()["training"]["epochs"] for r in runs} == {2}
    assert {len(one["groups"]) for one in found["tried"]} >= {1, 3}
    assert "relative gain" in found["unit"] and "short training" in found["warnings"][-1]
    for said in found["predicted"].values():  # one training of each set: nothing to draw from
        assert said["low"] is None and said["high"] is None
    assert "Train" in write_page(found, tmp_path / "study/group.html").read_text()


def test_networks_that_know_the_same_are_alike(three: Config, tmp_path: Path) -> None:
    """A task and its copy have the same network, so the same representation; a stranger has not."""
    raw = three.resolved()["tasks"]
    tasks = {"color": raw["color"], "copy": raw["color"], "letter": raw["letter"]}
    config = varied(three, {"tasks": tasks, "training.epochs": 1})
    found = group(config, tmp_path / "study", Plan(models=2, tries=0))
    assert found["measure"] == "cka" and found["cost"]["trainings"] == 3
    pairs = found["pairs"]
    assert pairs[0][1] == pytest.approx(1) and 0 <= pairs[0][2] < 0.999
    assert [g["trains"] for g in found["groups"]] == [["color", "copy"], ["letter"]] or (
        len(found["groups"]) == 1
    )
    said = found["predicted"]["color"]
    assert said["low"] <= said["gain"] + 1e-9 and said["high"] <= 1 + 1e-9
    networks = [Run.open(tmp_path / f"study/explore/alone-{t}") for t in ("color", "copy")]
    assert networks[0].fingerprint() != networks[1].fingerprint()  # heads bear their tasks' names


def test_labels_take_no_training(three: Config, tmp_path: Path) -> None:
    found = group(three, tmp_path / "study", Plan(measure="labels", tries=0))
    assert found["cost"] == {"examples": 0.0, "trainings": 0, "epochs": 2}
    assert not (tmp_path / "study/explore").exists()
    both = found["correlation"][0][1]
    assert found["pairs"][0][1] == pytest.approx(abs(both))


def test_what_was_trained_has_the_last_word(three: Config, tmp_path: Path) -> None:
    quick = varied(three, {"training.epochs": 1})
    found = group(quick, tmp_path / "study", Plan(measure="labels", models=2, tries=2, verify=True))
    trained = found["tried"]
    assert {len(one["groups"]) for one in trained} >= {1, 3}  # all together, each alone
    best = max(one["validation_gain"] for one in trained)
    [chosen] = [one for one in trained if one["chosen"]]
    assert chosen["validation_gain"] == best >= 0
    assert [g["trains"] for g in found["groups"]] == chosen["groups"]
    apart = next(one for one in trained if len(one["groups"]) == 3)
    assert apart["validation_gain"] == 0
    assert found["verified"]["mean_gain"]["groups"] == pytest.approx(best)
    assert "groupings that were trained" in verdict(found)
    assert Plan().tried == 3 and Plan(overlapping=True).tried == 0
    page = write_page(found, tmp_path / "study/group.html").read_text()
    assert "chosen" in page and "gain on validation rows" in page


def test_notes_of_another_measure_are_refused(tiny: Config, tmp_path: Path) -> None:
    group(tiny, tmp_path, Plan(measure="cosine", notes=2, tries=0))
    with pytest.raises(RunError, match="another measure"):
        group(tiny, tmp_path, Plan(measure="lookahead", notes=2, tries=0))


def test_overlap_counts_labels_of_the_same_rows(three: Config) -> None:
    prepared = prepare_data(three, None)
    overlap, correlation = labels_together(prepared)
    rows = prepared.parts["train"]["shapes"]
    here = [prepared.datasets["shapes"].present[t][rows] for t in three.tasks]
    both = (here[0] & here[1]).sum() / here[1].sum()
    assert float(overlap[0, 1]) == pytest.approx(float(both)) and 0 < float(both) < 1
    assert float(correlation[0, 0]) == pytest.approx(1) and float(correlation[0, 1]) < 0.7


def test_what_cannot_be_grouped_is_said(tiny: Config, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cosine"):
        Plan(measure="cosin")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="--models"):
        Plan(models=0)
    with pytest.raises(ConfigError, match="do not overlap"):
        Plan(tries=2, overlapping=True)
    eight = {f"color{n}": tiny.resolved()["tasks"]["color"] for n in range(9)}
    with pytest.raises(ConfigError, match="up to 8 tasks"):
        group(varied(tiny, {"tasks": eight}), tmp_path, Plan(measure="sets"))
    with pytest.raises(ConfigError, match="--size"):
        group(tiny, tmp_path, Plan(measure="subsets", size=3))
    split = {"sources.shapes.split": {"validation": 0.0, "test": 0.2}}
    with pytest.raises(ConfigError, match="validation"):
        group(varied(tiny, split), tmp_path, Plan())
    with pytest.raises(ConfigError, match="nothing to group"):
        tasks = {"color": tiny.resolved()["tasks"]["color"]}
        group(varied(tiny, {"tasks": tasks}), tmp_path, replace(Plan()))

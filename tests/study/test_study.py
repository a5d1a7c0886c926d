"""A whole comparison: trained, judged, written down; stopped, killed, shared by processes."""

import json
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from polytask.config import load_config
from polytask.config.variants import varied
from polytask.errors import RunError
from polytask.report.study import study_page, write_study_page
from polytask.report.words import headline, number, percent
from polytask.run import Run
from polytask.study.crew import run_study, standing
from polytask.study.extending import extended
from polytask.study.folder import Study
from polytask.study.judge import Judge
from polytask.study.runs import RECORD, Outcome, work
from polytask.study.testing import RECORD as TESTED
from polytask.study.testing import tested as scores_of
from polytask.study.worker import labour
from polytask.study_terminal import print_stop, print_verdicts
from tests.report.browser import needs_browser, opened
from tests.study.conftest import TINY

SECTION = """\
compare:
  balancing: [{kind: uw}, {kind: constant, weights: [1.0, 2.0]}]
  seeds: [0, 1]
  trials: 1
"""


def fail(study: Study) -> None:
    """Let one candidate's trainings have failed."""
    for candidate in study.plan.shared():
        for seed in study.compare.seeds:
            job = study.plan.job(candidate, seed)
            if candidate.balancer == "constant":
                run = Run.at(study.runs / job.name, job.config)
                run.write_json(RECORD, asdict(Outcome("failed", "A loss is not finite.")))


@pytest.fixture(scope="module")
def over(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """A study that is over."""
    folder = tmp_path_factory.mktemp("over")
    (folder / "tiny.yaml").write_text(TINY + SECTION)
    config = varied(load_config(folder / "tiny.yaml"), {"training.epochs": 1})
    study = Study.create(config, folder / "study", ["polytask", "compare"], 1)
    fail(study)
    assert labour(study.path)
    return study


def test_tasks_are_compared_by_what_is_monitored(tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(
        TINY
        + SECTION.replace("[{kind: uw}, ", "[").replace(
            "{kind: constant, weights: [1.0, 2.0]}", "{kind: equal}"
        )
    )
    changes = {"training.epochs": 1, "training.monitor": "mean.f1"}
    config = varied(load_config(tmp_path / "tiny.yaml"), changes)
    study = Study.create(config, tmp_path / "study", ["polytask", "compare"], 1)
    assert labour(study.path)
    row = Judge(study).verdicts().row("hard + equal")
    path = study.runs / "hard-equal-s0"
    scored = Run.open(path).read_json("scores.json")["test"]["color"]
    found = scores_of(path, study.scores[0])
    alone = Run.open(study.runs / "color-alone-s0").config.training.model_dump()
    assert alone["monitor"] == "mean.f1" and row.tasks["color"].metric == "f1"
    assert found is not None and found.scores["color"] == scored["f1"]
    assert not set(found.units["color"].tolist()) <= {0.0, 1.0}  # those of an accuracy would be


def test_a_failure_is_listed_and_the_rest_goes_on(over: Study) -> None:
    now = standing(over)
    assert now.over and now.finished == now.planned - 2
    assert set(now.failed) == {"hard-constant-s0", "hard-constant-s1"}
    assert all("finite" in reason for reason in now.failed.values())


def test_what_is_over_is_not_done_again(over: Study) -> None:
    files = {p: p.stat().st_mtime_ns for p in over.path.rglob("*") if p.is_file()}
    files = {p: t for p, t in files.items() if ".locks" not in p.parts}
    assert labour(over.path)
    assert {p: p.stat().st_mtime_ns for p in files} == files


def test_trials_that_were_not_taken_are_not_scored_on_the_test_part(over: Study) -> None:
    tested = {p.parent.name for p in over.runs.glob(f"*/{TESTED}")}
    known = {over.plan.folder(c, s) for c in over.candidates() for s in over.compare.seeds}
    assert tested == known - {"hard-constant-s0", "hard-constant-s1"}


def test_scores_are_those_of_the_runs_and_differences_are_paired(over: Study) -> None:
    found = Judge(over).verdicts()
    assert found.chosen is not None and found.chosen.candidate.role != "alone"
    row = found.row("hard + uw")
    runs = [Run.open(over.runs / f"hard-uw-s{s}").read_json("scores.json") for s in (0, 1)]
    mean = sum(run["test"]["color"]["accuracy"] for run in runs) / 2
    assert row.tasks["color"].score == pytest.approx(mean)
    d = row.tasks["color"].difference
    assert d is not None and d.spread.seed_count == 2 and d.spread.example_count == 27
    assert d.mean == pytest.approx(row.tasks["color"].score - row.tasks["color"].base)
    assert found.row("hard + constant").seeds == [] and found.row("hard + constant").gain is None
    assert headline(found).startswith("Cannot tell")


def test_the_page_has_everything_and_escapes_names(over: Study, tmp_path: Path) -> None:
    text = write_study_page(over, tmp_path / "page.html").read_text()
    for said in ("Cannot tell", "hard + uw", "hard-constant"[:4], "Holm", "widths", "finite"):
        assert said in text
    assert (tmp_path / "page/tasks.png").exists() and (tmp_path / "page/cost.png").exists()


@needs_browser
def test_a_newcomer_can_read_the_page(over: Study, tmp_path: Path) -> None:
    """The verdict is on the first screen, and no label is cut, covered, or too small."""
    text = study_page(over).render()
    for width in (1200, 390):
        seen = opened(text, tmp_path, width=width)
        assert seen["wrong"] == [] and seen["wide"] <= seen["screen"]
        assert seen["verdict"].startswith("Cannot tell whether sharing helps color or shape")
        assert seen["at"] < 300 and seen["size"] > 250
        assert len(seen["figures"]) == 4 and len(seen["tables"]) >= 5
        for figure in seen["figures"]:
            assert figure["overlaps"] == [] and figure["cut"] == [], figure["label"]
            assert figure["width"] > 300 and figure["letters"] > 8, figure["label"]


def test_a_study_that_has_not_begun_has_a_page_too(over: Study, tmp_path: Path) -> None:
    study = Study.create(over.config, tmp_path / "s", [], 1)
    text = write_study_page(study).read_text()
    assert "Nothing can be said yet" in text
    with pytest.raises(RunError, match="holds a study already"):
        Study.create(over.config, tmp_path / "s", [], 1)


def test_a_look_at_a_study_under_way_neither_chooses_nor_judges(
    over: Study, tmp_path: Path
) -> None:
    """While weights are searched, the best of the other ways is not the best there is."""
    shutil.copytree(over.path, tmp_path / "s")
    study = Study.open(tmp_path / "s")
    (study.path / "choice.json").unlink()
    searched = study.plan.trials()[0]
    record = study.runs / study.plan.folder(searched, 0) / RECORD
    kept = record.read_text()
    record.unlink()
    assert "Nothing can be said yet: " in study_page(study).lead
    assert not (study.path / "choice.json").exists()
    record.write_text(kept)
    untested = study.runs / "hard-uw-s0" / TESTED
    untested.unlink()
    lead = study_page(study).lead
    assert lead.startswith("Nothing can be said yet: ") and "test scores" in lead


def test_seeds_can_be_added_and_nothing_is_done_again(over: Study, tmp_path: Path) -> None:
    shutil.copytree(over.path, tmp_path / "s")
    study = Study.open(tmp_path / "s")
    before = {p: p.read_bytes() for p in study.runs.glob("*/*.json")}
    chosen = study.choose()
    frozen = [c.changes["balancer"] for c in study.frozen()]
    more = extended(study, 1)
    assert more.compare.seeds == (0, 1, 2) and more.first_seeds == [0, 1] and more.looks == 2
    assert "Nothing can be said yet: " in headline(Judge(more).verdicts())
    with pytest.raises(RunError, match="is not over yet"):
        extended(more, 1)
    assert labour(more.path)
    assert {p: p.read_bytes() for p in before} == before
    assert more.choose() == chosen and [c.changes["balancer"] for c in more.frozen()] == frozen
    found = Judge(more).verdicts()
    assert found.looks == 2 and not found.left
    d = found.row("hard + uw").tasks["color"].difference
    assert d is not None and d.spread.seed_count == 3
    assert len(more.trainings()) == len(study.trainings()) + len(more.candidates())
    assert "1 seed (2)" in study_page(more).render()


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("study.json", "{}", r"study\.json' lacks polytask, created, .* begin the comparison anew"),
        ("study.json", "[]", r"study\.json' lacks polytask"),
        ("study.json", "{", r"study\.json' cannot be read.* begin the comparison anew"),
        ("choice.json", "x", r"choice\.json' is not what a study writes.*the choice is made again"),
        ("runs/hard-uw-s0/scores.json", "{", r"scores\.json' cannot be read.*Remove it"),
        ("runs/hard-uw-s0/scores.json", '{"train": 1}', r"scores\.json' cannot be read.*Remove it"),
    ],
)
def test_a_broken_file_is_named_with_its_remedy(
    over: Study, tmp_path: Path, file: str, content: str, said: str
) -> None:
    shutil.copytree(over.path, tmp_path / "s")
    (tmp_path / "s" / file).write_text(content)
    with pytest.raises(RunError, match=said):
        study_page(Study.open(tmp_path / "s"))


def test_what_was_removed_because_it_was_broken_comes_again(over: Study, tmp_path: Path) -> None:
    shutil.copytree(over.path, tmp_path / "s")
    study = Study.open(tmp_path / "s")
    record, choice = study.runs / "hard-uw-s0" / "scores.json", study.path / "choice.json"
    before = json.loads(record.read_text())["test"], study.choose()["chosen"]
    record.unlink()
    choice.unlink()
    assert not standing(study).over
    assert labour(study.path) and standing(study).over
    assert (json.loads(record.read_text())["test"], study.choose()["chosen"]) == before


def test_a_process_that_breaks_says_why(over: Study, tmp_path: Path) -> None:
    """It had looked like a key that somebody pressed."""
    study = Study.create(over.config, tmp_path / "s", [], 1)
    (study.runs / ".locks").write_text("a file where a folder should be")
    now = run_study(study, 1, lambda _: None)
    assert not now.over and len(now.broke) == 1
    assert ".locks' cannot be written" in now.broke[0]
    console = Console(width=200, file=StringIO())
    print_stop(study, now, console)
    assert "error: " in console.file.getvalue()  # type: ignore[attr-defined]


def test_what_is_no_study_says_so(tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(TINY)
    for path in (tmp_path / "tiny.yaml", tmp_path / "nowhere"):
        with pytest.raises(RunError, match="is no study"):
            Study.open(path)


def test_who_names_a_study_for_a_run_is_told_its_runs(over: Study) -> None:
    with pytest.raises(RunError, match=r"There are runs in it, [0-9]+ of them: name one, such as"):
        Run.open(over.path)


def test_tasks_alone_are_one_row_of_the_tables(over: Study) -> None:
    rows = {row.candidate.name: row for row in Judge(over).verdicts().rows}
    alone = [rows["color alone"], rows["shape alone"]]
    (section,) = [s for s in study_page(over).sections if s.heading == "All ways that were tried"]
    (scores,) = [t for t in section.tables if t.columns[1] == "color accuracy"]
    (costs,) = [t for t in section.tables if t.columns[1] == "parameters"]
    assert scores.rows[-1][0] == "every task alone" and len(scores.rows) == len(costs.rows)
    assert list(scores.rows[-1][1:3]) == [
        alone[0].tasks["color"].score,
        alone[1].tasks["shape"].score,
    ]
    assert scores.rows[-1][3] == alone[0].rank is not None
    assert costs.rows[-1][:2] == [
        "every task alone (2 networks)",
        alone[0].parameters + alone[1].parameters,
    ]
    console = Console(file=StringIO(), width=200)
    print_verdicts(over, Judge(over).verdicts(), console)
    said = console.file.getvalue()  # type: ignore[attr-defined]
    assert "every task alone" in said and "color alone" not in said


@pytest.mark.parametrize("width", [80, 60])
def test_tables_of_a_verdict_keep_numbers_whole(over: Study, width: int) -> None:
    console = Console(width=width, file=StringIO(), emoji=False, highlight=False)
    found = Judge(over).verdicts()
    print_verdicts(over, found, console)
    out = console.file.getvalue()  # type: ignore[attr-defined]
    for row in found.rows:
        for result in row.tasks.values():
            assert number(result.score) in out
        if row.gain is not None:
            assert percent(row.gain) in out
    assert "…" not in out


def test_the_test_part_stays_closed_while_a_training_is_left(over: Study, tmp_path: Path) -> None:
    study = Study.create(over.config, tmp_path / "s", [], 1)
    first = study.trainings()[0]
    assert work(study.plan.job(first.candidate, first.seed), study.runs).status == "finished"
    assert not standing(study).over and not list(study.runs.glob(f"*/{TESTED}"))
    assert not (study.path / "choice.json").exists()


def test_processes_share_a_study_and_one_may_be_killed(over: Study, tmp_path: Path) -> None:
    study = Study.create(over.config, tmp_path / "s", [], 2)
    left = ("hard-uw-s1", "shape-alone-s0", "hard-equal-s0")
    shutil.copytree(
        over.runs,
        study.runs,
        dirs_exist_ok=True,
        ignore=shutil.ignore_patterns(".locks", TESTED, *left),
    )
    before = standing(study).finished
    command = [sys.executable, "-m", "polytask.study.worker", str(study.path)]
    crew = [subprocess.Popen(command) for _ in range(2)]
    for _ in range(600):
        if standing(study).finished > before or (study.runs / left[0] / "facts.json").exists():
            break
        time.sleep(0.1)
    crew[0].send_signal(signal.SIGKILL)
    assert crew[1].wait(timeout=240) == 0
    now = standing(study)
    assert now.over and len(now.failed) == 2
    for path in study.runs.glob("*/history.jsonl"):
        assert [line["epoch"] for line in Run.open(path.parent).history()] == [1]
    same = [Run.open(s.runs / "hard-uw-s1").fingerprint() for s in (study, over)]
    assert same[0] == same[1]

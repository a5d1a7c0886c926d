"""Workers on a Ray cluster; the tests that start one skip where Ray is not installed."""

import sys
from pathlib import Path

import pytest

from polytask.config import load_config
from polytask.errors import MissingDependency, RunError
from polytask.study import ray_crew
from polytask.study.crew import Standing
from polytask.study.folder import Study
from tests.study.conftest import TINY

SECTION = """\
compare:
  balancing: [{kind: equal}]
  seeds: [0]
  trials: 1
"""


@pytest.fixture
def study(tmp_path: Path) -> Study:
    """Three trainings and one trial, none done."""
    (tmp_path / "tiny.yaml").write_text(TINY + SECTION)
    return Study.create(load_config(tmp_path / "tiny.yaml"), tmp_path / "study", [], 1)


def test_ray_is_asked_for_by_the_extra_that_brings_it(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingDependency, match=r"polytask\[ray\]"):
        ray_crew.run_on_ray(study, 1, lambda _: None, address="local")


def test_what_no_node_has_is_not_waited_for() -> None:
    ray_crew._fits({"CPU": 2.0, "GPU": 1.0}, 2, 1)
    with pytest.raises(RunError, match="asks for 1 GPU, and the cluster has 0"):
        ray_crew._fits({"CPU": 2.0}, 1, 1)


def test_a_node_without_the_folder_says_so(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="folder that all nodes share"):
        ray_crew._labour(str(tmp_path / "elsewhere"))


def test_a_study_comes_to_its_end_on_ray(study: Study) -> None:
    pytest.importorskip("ray", reason="ray is an extra of its own")
    looks: list[Standing] = []
    now = ray_crew.run_on_ray(study, 1, looks.append, address="local")
    assert now.over and not now.failed and not now.broke and looks[-1].over
    assert now.finished == now.planned
    again = ray_crew.run_on_ray(Study.open(study.path), 1, looks.append, address="local")
    assert again.over and again.finished == now.finished


def test_a_cluster_that_is_not_there_is_told(study: Study) -> None:
    pytest.importorskip("ray", reason="ray is an extra of its own")
    with pytest.raises(RunError, match="no Ray cluster at 'auto'"):
        ray_crew.run_on_ray(study, 1, lambda _: None, address="auto")

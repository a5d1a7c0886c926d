"""Configurations made from another."""

from pathlib import Path

import pytest

from polytask.config.build import build_model
from polytask.config.variants import varied, with_seed, with_tasks
from polytask.errors import ConfigError
from polytask.workflow import prepare_data
from tests.config.conftest import RIGHT, Load

TWO_SOURCES = """\
sources:
  one: {kind: shapes, count: 40, size: 16, split: {validation: 0.2}}
  two: {kind: shapes, count: 40, size: 16, seed: 1, split: {validation: 0.2}}
inputs:
  picture: {kind: image, columns: {one: image, two: image}, size: 16, pool: mean}
tasks:
  color: {kind: multiclass, input: picture, target: one.color}
  shape: {kind: multiclass, input: picture, target: two.shape}
batches: {mixing: {kind: counts, counts: {one: 3, two: 4}}}
training: {monitor: shape.accuracy, freeze: [heads.shape], unfreeze: {heads.color: 1, trunk: 1}}
"""


def test_changes_are_validated_like_a_file(load: Load) -> None:
    config = load(RIGHT)
    changed = varied(config, {"training.epochs": 3, "balancer": {"kind": "uw"}})
    assert changed.training.model_dump()["epochs"] == 3 and changed.balancer.chosen == "uw"
    assert config.balancer.chosen == "equal"
    assert varied(config, {}) == config
    with pytest.raises(ConfigError, match=r"training\.epoch: unknown key.*epochs"):
        varied(config, {"training.epoch": 3})
    with pytest.raises(ConfigError, match=r"no 'nothing'"):
        varied(config, {"nothing.here": 3})


def test_tasks_take_their_inputs_and_sources_along(load: Load) -> None:
    only = with_tasks(load(RIGHT), ["species"])
    assert list(only.tasks) == ["species"]
    assert list(only.inputs) == ["picture"] and list(only.sources) == ["photos"]
    with pytest.raises(ConfigError, match="no task 'specie'"):
        with_tasks(load(RIGHT), ["specie"])


def test_what_is_said_of_absent_parts_goes_with_them(load: Load) -> None:
    only = with_tasks(load(TWO_SOURCES), ["color"])
    raw = only.resolved()
    assert raw["inputs"]["picture"]["columns"] == {"one": "image"}
    assert raw["batches"]["mixing"]["counts"] == {"one": 3}
    assert raw["training"]["monitor"] == "mean" and raw["training"]["freeze"] == []
    assert raw["training"]["unfreeze"] == {"heads.color": 1, "trunk": 1}
    assert with_tasks(load(TWO_SOURCES), ["color", "shape"]) == load(TWO_SOURCES)


def test_where_a_task_leaves_the_trunk_goes_with_it(load: Load) -> None:
    trunk = "trunk: {kind: hierarchy, leaves: {color: 1, shape: 2}, backbone: {kind: residual}}\n"
    config = load(TWO_SOURCES.replace(", pool: mean", "") + trunk)
    only = with_tasks(config, ["shape"])
    assert only.resolved()["trunk"]["leaves"] == {"shape": 2}
    prepared = prepare_data(only, None)
    build_model(only, prepared.inputs, prepared.tasks)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("{kind: auto-lambda, primary: [shape]}", {"primary": ["shape"]}),
        ("{kind: auto-lambda, primary: [1, color]}", {"primary": ["shape"]}),
        ("{kind: auto-lambda, primary: [color]}", {"primary": None}),
        ("{kind: metabalance, primary: 1}", {"primary": "shape"}),
        ("{kind: metabalance, primary: color}", {"primary": None}),
        ("{kind: uw, classification: [0]}", {"classification": []}),
        ("{kind: uw, classification: [0, shape]}", {"classification": ["shape"]}),
        ("{kind: constant, weights: [1, 3]}", {"weights": [3.0]}),
        ("{kind: constant, weights: [1, 0]}", {"weights": None}),
        ("{kind: tchebycheff, preference: [0.2, 0.8], ideal: [0, 1]}", {"preference": [0.8]}),
    ],
)
def test_a_balancer_goes_on_knowing_the_tasks_that_stay(
    load: Load, given: str, kept: dict[str, object]
) -> None:
    config = load(f"{TWO_SOURCES}balancer: {given}\ncompare: {{balancing: [{given}]}}\n")
    only = with_tasks(config, ["shape"]).resolved()
    for balancer in (only["balancer"], only["compare"]["balancing"][0]):
        assert kept.items() <= balancer.items()


def test_a_task_alone_does_not_read_the_labels_of_the_others(load: Load, tmp_path: Path) -> None:
    lines = [f"{k},{k % 7},{k % 2},{k % 3},{k % 5}" for k in range(40)]
    (tmp_path / "t.csv").write_text("\n".join(["x,y,a,b,note", *lines]))
    text = f"""\
sources: {{t: {{kind: table, path: {tmp_path / "t.csv"}}}}}
inputs: {{row: {{kind: table, columns: ["*"], without: {{t: [note]}}}}}}
tasks: {{a: {{kind: binary, target: a}}, b: {{kind: regression, target: b}}}}
"""
    for tasks in (["a", "b"], ["a"], ["b"]):
        config = with_tasks(load(text), tasks)
        assert prepare_data(config, None).inputs["row"].columns == {"t": ["x", "y"]}, tasks
    again = with_tasks(with_tasks(load(text), ["a"]), ["a"]).resolved()
    assert again["inputs"]["row"]["without"] == {"t": ["note", "b"]}


def test_a_metric_of_all_tasks_is_monitored_by_those_that_have_it(load: Load) -> None:
    said = TWO_SOURCES.replace("shape.accuracy", "mean.auroc").replace(
        "shape: {kind: multiclass", "shape: {kind: binary, classes: [disc, square]"
    )
    config = load(said)
    assert with_tasks(config, ["shape"]).training.model_dump()["monitor"] == "mean.auroc"
    assert with_tasks(config, ["color"]).training.model_dump()["monitor"] == "mean"
    lossy = varied(config, {"training.monitor": "mean.loss"})
    assert with_tasks(lossy, ["color"]).training.model_dump()["monitor"] == "mean.loss"


def test_classes_to_even_out_go_with_their_task(load: Load) -> None:
    lines = "batches: {resample: {kind: over, task: shape}, mixing:"
    config = load(TWO_SOURCES.replace("batches: {mixing:", lines))
    assert with_tasks(config, ["color"]).batches.resample is None
    assert with_tasks(config, ["shape"]).batches.resample is not None


def test_seeds_share_the_rows_of_their_parts(load: Load) -> None:
    config = load(TWO_SOURCES)
    parts = [prepare_data(c, None).parts for c in (config, with_seed(config, 7))]
    assert parts[0]["train"]["one"].tolist() == parts[1]["train"]["one"].tolist()
    other = prepare_data(varied(config, {"seed": 7}), None).parts
    assert parts[0]["train"]["one"].tolist() != other["train"]["one"].tolist()

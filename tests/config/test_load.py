# ruff: noqa: E501 (a line for each mistake reads as a table)
"""Reading, overriding, writing; short forms; warnings."""

import os
import warnings
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from polytask.config import Config, ConfigWarning, dump_config, load_config
from polytask.config.document import write
from polytask.errors import ConfigError

from .conftest import FILES, RIGHT, SHIPPED, Complain, Load

RECIPES = [*sorted(FILES.glob("*.yaml")), *sorted(SHIPPED.glob("*.yaml"))]


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_recipes_load_and_come_back_as_they_were_written(path: Path, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        config = load_config(path)
    dump_config(config, tmp_path / "config.yaml")
    assert load_config(tmp_path / "config.yaml") == config


def test_the_name_is_the_files_where_none_is_given(load: Load, tmp_path: Path) -> None:
    assert load(RIGHT).name == "mine"
    assert load("name: 7\n" + RIGHT).name == "7"
    (tmp_path / "my run (2).yaml").write_text(RIGHT)
    assert load_config(tmp_path / "my run (2).yaml").name == "my-run-2-"


def test_everything_is_explicit_in_what_is_resolved(load: Load) -> None:
    resolved = load(RIGHT).resolved()
    assert resolved["trunk"] == {
        "kind": "hard",
        "backbone": {
            "kind": "perceptron",
            "widths": [256, 256],
            "activation": "gelu",
            "dropout": 0.0,
            "normalize": True,
        },
    }
    assert resolved["inputs"]["picture"]["encoder"] == {
        "kind": "pixels",
        "standardize": True,
        "mirror": False,
    }
    assert list(resolved["inputs"]["picture"])[:2] == ["kind", "columns"]
    assert resolved["training"]["clip"] is None


def test_relative_paths_start_at_the_files_folder(load: Load, tmp_path: Path) -> None:
    assert load(RIGHT).resolved()["sources"]["photos"]["path"] == str(tmp_path / "photos.csv")
    text = RIGHT.replace("photos.csv", "[/data/a.csv, sub/b.csv, ~/c.csv]")
    assert load(text).resolved()["sources"]["photos"]["path"] == [
        "/data/a.csv",
        str(tmp_path / "sub/b.csv"),
        os.path.expanduser("~/c.csv"),
    ]


ONE = """\
sources: {mine: {kind: table, path: a.csv, media: {photo: image}}}
inputs: {INPUT}
tasks: {t: {kind: multiclass, target: TARGET}}
"""


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("species", {"mine": "species"}),
        ("mine.species", {"mine": "species"}),
        ("other.species", {"mine": "other.species"}),
        ("2020", {"mine": "2020"}),
        ("[a, mine.b]", {"mine": ["a", "b"]}),
        ("{mine: species}", {"mine": "species"}),
        ("{mine: [a, b]}", {"mine": ["a", "b"]}),
    ],
)
def test_short_targets(load: Load, written: str, meant: dict[str, Any]) -> None:
    text = ONE.replace("INPUT", "p: {kind: image, column: photo, pool: mean}")
    task = load(text.replace("TARGET", written)).resolved()["tasks"]["t"]
    assert (task["target"], task["input"]) == (meant, "p")


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("p: {kind: image, column: photo, pool: mean}", {"mine": "photo"}),
        ("p: {kind: image, columns: photo, pool: mean}", {"mine": "photo"}),
        ("p: {kind: image, columns: {mine: photo}, pool: mean}", {"mine": "photo"}),
        ("p: {kind: table, column: age}", {"mine": ["age"]}),
        ("p: {kind: table, columns: [age, height]}", {"mine": ["age", "height"]}),
        ("p: {kind: table, columns: {mine: [age]}}", {"mine": ["age"]}),
    ],
)
def test_short_columns(load: Load, written: str, meant: dict[str, Any]) -> None:
    text = ONE.replace("INPUT", written).replace("TARGET", "a")
    assert load(text).resolved()["inputs"]["p"]["columns"] == meant


def test_a_bare_target_is_of_the_inputs_only_source(load: Load) -> None:
    assert load(RIGHT.replace("digits.digit", "digit")) == load(RIGHT)


def test_merge_keys_and_aliases(load: Load) -> None:
    text = RIGHT.replace("picture: {", "picture: &p {").replace(
        "sound: {kind: sound, columns: {digits: audio}, pool: mean, width: 32}",
        "sound: {<<: *p, kind: sound, columns: {digits: audio}}",
    )
    assert load(text) == load(RIGHT)


def test_overrides(load: Load) -> None:
    config = load(
        RIGHT.replace("width: 32}\n  sound", "width: 32, augment: [{kind: crop}]}\n  sound"),
        "training.epochs=5",
        "trunk.backbone.widths=[64, 64]",
        "optimizer={kind: adam, lr: 1e-4}",
        "inputs.picture.augment.0.padding=2",
        "balancer.kind=uw",
    )
    resolved = config.resolved()
    assert resolved["training"]["epochs"] == 5
    assert resolved["trunk"]["backbone"]["widths"] == [64, 64]
    assert resolved["optimizer"]["lr"] == 1e-4
    assert resolved["inputs"]["picture"]["augment"][0]["padding"] == 2
    assert resolved["balancer"]["kind"] == "uw"


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("training.epoch=5", "--set training.epoch: training.epoch: unknown key. Did you mean 'epochs'?"),
        ("trunk={kind: gru}", "--set trunk: trunk.kind: unknown kind 'gru' for trunk. Valid: hard, independent, "),
        ("training.epochs", "--set training.epochs: expected KEY=VALUE, such as training.epochs=5."),
        ("training..epochs=3", "--set training..epochs=3: expected KEY=VALUE, such as training.epochs=5."),
        ("tasks.digit.target.fsdd=x", "--set tasks.digit.target.fsdd: tasks.digit.target has no key 'fsdd'."),
        ("training.epochs=[1", "--set training.epochs:1:3: this is not YAML: "),
    ],
)  # fmt: skip
def test_mistakes_in_overrides(complaints: Complain, override: str, told: str) -> None:
    assert complaints(RIGHT, override)[0].startswith(told)


def test_a_file_that_is_no_text_says_so(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_bytes(b"seed: 1 # \xe4")
    with pytest.raises(ConfigError, match=r"UTF-8: found the byte 0xe4. Save it anew") as error:
        load_config(tmp_path / "mine.yaml")
    assert "codec" not in str(error.value)


def test_what_has_no_effect_warns(load: Load) -> None:
    single = ONE.replace("INPUT", "p: {kind: table, columns: [a], pool: max}")
    text = single.replace("TARGET", "b, pool: max") + "balancer: {kind: mgda}\n"
    text += "batches: {mixing: {kind: uniform}}\n"
    with pytest.warns(ConfigWarning) as caught:
        load(text)
    told = " ".join(str(warning.message) for warning in caught)
    for key in ("tasks.t.pool", "inputs.p.pool", "batches.mixing", "balancer"):
        assert f"{key} has no effect" in told
    tokens = text + "trunk: {backbone: {kind: transformer}}\n"
    tokens = tokens.replace("pool: max}", "body: {kind: transformer, width: 8}, pool: max}", 1)
    with pytest.warns(ConfigWarning) as caught:
        load(tokens)
    assert not any(".pool has no effect" in str(warning.message) for warning in caught)
    two = single.replace("TARGET", "b}, u: {kind: regression, target: c")
    with pytest.warns(ConfigWarning, match=r"trunk\.adversarial has no effect: all tasks read one"):
        load(two + "trunk: {kind: shared-private}\n")
    still = two + "balancer: {kind: mgda}\ntraining: {freeze: [trunk, encoders]}\n"
    with pytest.warns(ConfigWarning, match=r"balancer has no effect: no part .* that learns"):
        load(still)
    with pytest.warns(ConfigWarning, match=r"tasks\.r\.delta has no effect with criterion: mse"):
        load(RIGHT + "  r: {kind: regression, input: sound, target: digits.x, delta: 2.0}\n")
    with pytest.warns(ConfigWarning, match=r"silence_below has no effect with silence: keep"):
        load(RIGHT.replace("kind: sound,", "kind: sound, silence_below: 30.0,", 1))


TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
FLOAT = st.floats(allow_nan=False, min_value=0)
DRAWN = st.fixed_dictionaries(
    {
        "column": TEXT,
        "classes": st.lists(TEXT, max_size=3),
        "lr": FLOAT,
        "milestones": st.lists(FLOAT, max_size=3),
        "factors": st.dictionaries(TEXT, FLOAT, max_size=3),
        "stratify": st.none() | TEXT,
        "ema": st.none() | FLOAT,
        "size": st.integers(1, 64) | st.tuples(st.integers(1, 64), st.integers(1, 64)).map(list),
        "seed": st.integers(0, 2**40),
    }
)


def drawn_config(drawn: dict[str, Any]) -> dict[str, Any]:
    """A configuration with unusual texts and numbers in it."""
    source = {"kind": "table", "path": "/x.csv", "split": {"stratify": drawn["stratify"]}}
    photo = {"kind": "image", "columns": {"s": drawn["column"]}, "size": drawn["size"]}
    target = {"s": [drawn["column"], "b"]}
    return {
        "seed": drawn["seed"],
        "sources": {"s": source},
        "inputs": {"p": {**photo, "pool": "max"}},
        "tasks": {"t": {"kind": "multiclass", "target": target, "classes": drawn["classes"]}},
        "optimizer": {"kind": "adam", "lr": drawn["lr"], "factors": drawn["factors"]},
        "schedule": {"kind": "step", "milestones": drawn["milestones"]},
        "training": {"ema": drawn["ema"]},
    }


@pytest.mark.parametrize("mark", ["\x85", "\u2028", "\u2029"])
def test_unusual_line_breaks_stay_in_names(load: Load, tmp_path: Path, mark: str) -> None:
    plain = {"column": f"a{mark}b", "classes": [], "lr": 0.1, "milestones": [], "factors": {}}
    config = load(
        write(drawn_config({**plain, "stratify": None, "ema": None, "size": 8, "seed": 0}))
    )
    assert config.resolved()["tasks"]["t"]["target"] == {"s": [f"a{mark}b", "b"]}


@settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(DRAWN)
def test_load_of_dump_is_the_same(load: Load, tmp_path: Path, drawn: dict[str, Any]) -> None:
    try:
        config: Config = load(write(drawn_config(drawn)))
    except ConfigError as error:  # a constructor may refuse a drawn number
        assert "needed" not in str(error) and "unknown" not in str(error)
        return
    dump_config(config, tmp_path / "again.yaml")
    again = load_config(tmp_path / "again.yaml")
    assert again == config
    assert again.resolved() == config.resolved()
    assert config.resolved()["tasks"]["t"]["target"] == {"s": [drawn["column"], "b"]}

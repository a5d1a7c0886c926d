"""What a search may try, and what is said where a key is wrong."""

from pathlib import Path
from typing import Any

import pytest

from polytask.config import Config, load_config
from polytask.config.schema import Range
from polytask.errors import ConfigError
from polytask.study.space import Space, with_kind
from tests.study.conftest import TINY


def spaced(folder: Path, tune: str) -> Space:
    (folder / "tiny.yaml").write_text(TINY + f"tune: {tune}\n")
    return Space(load_config(folder / "tiny.yaml"))


def choosing(**values: Any) -> Any:
    """Chooses what is given, and notes what was asked for."""
    asked: list[str] = []

    def suggest(key: str, range_: Range) -> Any:
        asked.append(key)
        return values[key.replace(".", "_")]

    return suggest, asked


def test_values_go_where_their_keys_say(tmp_path: Path) -> None:
    space = spaced(
        tmp_path,
        "{optimizer.lr: {low: 0.001, high: 0.1, log: true},"
        " tasks.color.weight: {low: 0.5, high: 2.0},"
        " trunk.backbone.widths: {choices: [[8], [16, 8]]}}",
    )
    suggest, asked = choosing(
        optimizer_lr=0.05, tasks_color_weight=1.5, trunk_backbone_widths=[16, 8]
    )
    raw = space.chosen(suggest).resolved()
    assert raw["optimizer"]["lr"] == 0.05 and raw["tasks"]["color"]["weight"] == 1.5
    assert raw["trunk"]["backbone"]["widths"] == [16, 8] and len(asked) == 3
    assert "tune" not in raw


def test_a_kind_brings_its_own_settings_and_keeps_common_ones(tmp_path: Path) -> None:
    space = spaced(
        tmp_path,
        "{balancer.kind: {choices: [equal, cagrad]}, balancer.c: {low: 0.1, high: 0.9},"
        " optimizer.kind: {choices: [sgd, adamw]}, trunk.kind: {choices: [hard, cross-stitch]}}",
    )
    given = dict(optimizer_kind="sgd", trunk_kind="cross-stitch", balancer_c=0.3)
    suggest, asked = choosing(balancer_kind="cagrad", **given)
    raw = space.chosen(suggest).resolved()
    assert raw["balancer"]["kind"] == "cagrad" and raw["balancer"]["c"] == 0.3
    assert raw["optimizer"]["kind"] == "sgd" and raw["optimizer"]["lr"] == 0.01
    assert raw["trunk"]["backbone"]["widths"] == [8]
    suggest, asked = choosing(balancer_kind="equal", **given)
    assert space.chosen(suggest).balancer.chosen == "equal" and "balancer.c" not in asked


@pytest.mark.parametrize(
    ("tune", "told"),
    [
        ("{optimizer.lrr: {low: 0.1, high: 1.0}}", r"tune\.optimizer\.lrr.*Did you mean 'lr'"),
        ("{optimiser.lr: {low: 0.1, high: 1.0}}", "Did you mean 'optimizer'"),
        ("{tasks.colour.weight: {low: 0.1, high: 1.0}}", "Did you mean 'color'"),
        ("{trunk.kind: {choices: [hard, crosstitch]}}", "Did you mean 'cross-stitch'"),
        ("{trunk.kind: {low: 1, high: 2}}", "choices"),
        ("{training.kind: {choices: [a]}}", "no choice of kinds"),
        ("{training.epochs: {low: 1.5, high: 2.5}}", "whole number"),
        ("{balancer.c: {low: 0.1, high: 0.9}}", "unknown key 'c'"),
        (
            "{balancer.kind: {choices: [equal, cagrad]}, balancer.cc: {low: 0.1, high: 0.9}}",
            "unknown key 'cc'",
        ),
        ("{training.monitor: {choices: [mean, color.accuracy]}}", "cannot be compared"),
        ("{sources.shapes.split.test: {low: 0.1, high: 0.3}}", "cannot be compared"),
        ("{}", "no 'tune:'"),
        ("{optimizer.lr: {low: 0.1}}", "needs 'low' and 'high'"),
        ("{optimizer.lr: {low: 0.0, high: 0.1, log: true}}", "above 0"),
        ("{optimizer.lr: {low: 2.0, high: 1.0}}", "below 'high'"),
        ("{optimizer.lr: {choices: [0.1], low: 0.1}}", "stands alone"),
        ("{optimizer.lr: {lo: 0.1, high: 1.0}}", "Did you mean 'low'"),
    ],
)
def test_mistakes_name_the_key_and_the_nearest_name(tmp_path: Path, tune: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        spaced(tmp_path, tune)


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        spaced(
            tmp_path, "{optimizer.lrr: {low: 0.1, high: 1.0}, training.epoch: {low: 1, high: 3}}"
        )
    assert "'lr'" in str(caught.value) and "'epochs'" in str(caught.value)


def test_a_kind_that_there_is_not_says_so(tiny: Config) -> None:
    assert with_kind(tiny, "optimizer", "adamw") is tiny
    with pytest.raises(ConfigError, match="Did you mean 'cagrad'"):
        with_kind(tiny, "balancer", "cagrat")

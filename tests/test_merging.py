"""Merging weights: properties, a computed example, and runs that become one run."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor, nn
from typer.testing import CliRunner

from polytask.assembly import merge_runs
from polytask.cli import app
from polytask.errors import RunError
from polytask.merging import average, largest, task_arithmetic, ties
from polytask.origin import Origin
from polytask.run import Run
from polytask.workflow import evaluate_run, predict_run
from tests.test_transfer import COLOR, CONFIG, LETTER, trained

Merge = Callable[..., dict[str, Tensor]]
METHODS: dict[str, Merge] = {
    "average": average,
    "task-arithmetic": task_arithmetic,
    "ties": lambda *given, **more: ties(*given, keep=1.0, **more),
}
every_method = pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)


def state(seed: int) -> dict[str, Tensor]:
    torch.manual_seed(seed)
    return {"a.w": torch.randn(2, 3), "b": torch.randn(()), "n": torch.tensor(seed)}


@every_method
@given(seed=st.integers(1, 99))
@settings(max_examples=10, deadline=None)
def test_one_model_is_itself_and_no_change_is_the_start(method: Merge, seed: int) -> None:
    start, model = state(0), state(seed)
    torch.testing.assert_close(method(start, [model], scale=1.0), model, rtol=0, atol=0)
    torch.testing.assert_close(method(start, [start, start], scale=1.0), start, rtol=0, atol=0)
    kept = {name: value for name, value in start.items() if name != "n"}
    still = method(start, [model, state(3)], scale=0.0)
    torch.testing.assert_close({k: still[k] for k in kept}, kept, rtol=0, atol=0)


@every_method
def test_the_order_of_models_does_not_matter(method: Merge) -> None:
    start, models = state(0), [state(n) for n in (1, 2, 3)]
    torch.testing.assert_close(method(start, models), method(start, models[::-1]))


@pytest.mark.parametrize("method", [average, METHODS["ties"]])
def test_equal_models_are_each_of_them(method: Merge) -> None:
    torch.testing.assert_close(method(state(0), [state(5)] * 3), state(5))


def test_average_and_sum_are_what_they_say() -> None:
    start, models = state(0), [state(1), state(2)]
    mean = (models[0]["a.w"] + models[1]["a.w"]) / 2
    torch.testing.assert_close(average(start, models)["a.w"], mean)
    summed = start["a.w"] + 0.3 * 2 * (mean - start["a.w"])
    torch.testing.assert_close(task_arithmetic(start, models, scale=0.3)["a.w"], summed)
    assert average(start, models)["n"] == 2


def test_ties_by_hand() -> None:
    start = {"w": torch.tensor([1.0, 1.0]), "v": torch.tensor([1.0, 1.0])}
    changes = [([4.0, -3.0], [0.1, 2.0]), ([-1.0, -5.0], [0.2, -2.0]), ([2.0, 0.3], [3.0, 0.1])]
    models = [{"w": 1 + torch.tensor(w), "v": 1 + torch.tensor(v)} for w, v in changes]
    # Kept at 1/2: (4, -3, 0, 0), (0, -5, 0, -2), (2, 0, 3, 0). Number 1 of the second is trimmed.
    found = ties(start, models, keep=0.5)
    torch.testing.assert_close(found["w"], torch.tensor([1 + 3.0, 1 - 4.0]))
    torch.testing.assert_close(found["v"], torch.tensor([1 + 3.0, 1 - 2.0]))
    # Kept whole: signs of (5, -7.7, 3.3, 0.1); the mean is over those of that sign alone.
    found = ties(start, models, keep=1.0, scale=2.0)
    torch.testing.assert_close(found["w"], torch.tensor([1 + 2 * 3.0, 1 - 2 * 4.0]))
    torch.testing.assert_close(found["v"], torch.tensor([1 + 2 * 1.1, 1 + 2 * 1.05]))


@given(count=st.integers(1, 40), keep=st.floats(0.01, 1.0))
@settings(max_examples=30, deadline=None)
def test_trimming_keeps_the_largest_share(count: int, keep: float) -> None:
    change = torch.linspace(-1.0, 0.77, count, dtype=torch.float64) + 0.01
    kept = largest(change, keep)
    stays = kept != 0
    assert stays.sum() == -(-keep * count // 1)
    assert torch.equal(kept[stays], change[stays])
    assert not (~stays).any() or change[stays].abs().min() > change[~stays].abs().max()


@every_method
def test_models_that_are_built_otherwise_are_refused(method: Merge) -> None:
    start = state(0)
    less = {"b": start["b"], "n": start["n"]}
    with pytest.raises(RunError, match=r"model 2 .*a\.w: only in the start"):
        method(start, [start, less])
    with pytest.raises(RunError, match=r"a\.w: not in the start"):
        method(less, [start])
    with pytest.raises(RunError, match=r"a\.w: \[2, 3\] in the start, \[3, 2\] here"):
        method(start, [{**start, "a.w": start["a.w"].T}])
    with pytest.raises(RunError, match="nothing to merge"):
        method(start, [])
    with pytest.raises(RunError, match=r"share above 0.*Found 1\.5"):
        ties(start, [start], keep=1.5)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("POLYTASK_CACHE", str(folder / "cache"))
        yield folder


@pytest.fixture(scope="module")
def runs(home: Path) -> list[Run]:
    """A start, and two runs from it with one task each."""
    base = trained(home, tasks=COLOR + LETTER)
    return [base, *(trained(home, Origin(base), tasks=task) for task in (COLOR, LETTER))]


def test_runs_of_one_start_become_one_run(runs: list[Run], home: Path) -> None:
    base, *parts = runs
    merged = merge_runs(parts, base, home / "average", [], method="average")
    assert list(merged.config.tasks) == ["color", "letter"]
    found, (color, letter) = merged.weights(), [run.weights() for run in parts]
    for name, value in found.items():
        if name.startswith("heads."):
            expected = color[name] if "color" in name else letter[name]
        elif value.is_floating_point():
            expected = (color[name] + letter[name]) / 2
        else:
            expected = torch.maximum(color[name], letter[name])
        torch.testing.assert_close(value, expected, msg=name)
    opened = Run.open(merged.path)
    scores = evaluate_run(opened, "test")
    assert scores["color"]["count"] == scores["letter"]["count"] == 12
    said = opened.read_json("merge.json")
    assert [run["weights"] for run in said["runs"]] == [run.fingerprint() for run in parts]
    assert any(name.endswith("running_var") for name in said["averaged"])
    pixels = np.zeros((16, 16, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(home / "black.png")
    (line,) = predict_run(opened, home / "black.png")
    assert {"color", "letter"} <= line.keys()
    with pytest.raises(RunError, match="there already"):
        merge_runs(parts, base, merged.path, [])


def test_statistics_are_averaged_whatever_the_method(runs: list[Run], home: Path) -> None:
    base, *parts = runs
    found = merge_runs(parts, base, home / "sum", [], method="task-arithmetic", scale=3.0).weights()
    (name, *_) = [name for name in found if name.endswith("running_var")]
    both = [run.weights()[name] for run in parts]
    torch.testing.assert_close(found[name], (both[0] + both[1]) / 2)


def test_the_command_line_merges(runs: list[Run], home: Path) -> None:
    base, *parts = [str(run.path) for run in runs]
    given = ["merge", *parts, "--base", base, "--keep", "0.5", "--output", str(home / "ties")]
    result = CliRunner().invoke(app, given)
    assert result.exit_code == 0, result.output
    assert "color, letter: merged by ties" in result.output and "averaged" in result.output
    assert Run.open(home / "ties").read_json("merge.json")["keep"] == 0.5
    resumed = CliRunner().invoke(app, ["train", "--resume", str(home / "ties")])
    assert resumed.exit_code == 1 and "was merged, not trained" in resumed.output
    wrong = CliRunner().invoke(app, [*given[:-1], str(home / "none"), "--method", "mean"])
    assert wrong.exit_code == 1 and not (home / "none").exists()


def test_runs_that_do_not_go_together_are_refused(runs: list[Run], home: Path) -> None:
    base, color, letter = runs

    def refused(match: str, *some: Run, start: Run = base, **options: Any) -> None:
        with pytest.raises(RunError, match=match):
            merge_runs(some, start, home / "refused", [], **options)
        assert not (home / "refused").exists()

    refused("started from no run", base)
    refused("not from", color, letter, start=letter)
    refused("two have: color", color, color)
    refused("TIES keeps", color, letter, method="average", keep=0.5)
    seeded = trained(home, Origin(base), tasks=LETTER, seed=1)
    refused("other rows", color, seeded)
    fresh = trained(home, Origin(base, ("trunk",)), tasks=LETTER)
    refused(r"begin anew.*trunk\.", color, fresh)
    backbone = letter.config.trunk.backbone.model_copy(update={"widths": (8,)})
    trunk = letter.config.trunk.model_copy(update={"backbone": backbone})
    other = Run(letter.path, letter.config.model_copy(update={"trunk": trunk}))
    refused(r"same trunk.*trunk\.backbone\.widths is \[4\] and \[8\]", color, other)


def test_a_trunk_with_parts_of_single_tasks_is_refused(home: Path) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(
            "tests.test_transfer.CONFIG", CONFIG.replace("kind: hard", "kind: independent")
        )
        base = trained(home, tasks=COLOR + LETTER)
        parts = [trained(home, Origin(base), tasks=task) for task in (COLOR, LETTER)]
    with pytest.raises(RunError, match=r"trunk: independent.*single tasks.*: only in"):
        merge_runs(parts, base, home / "refused", [])


@every_method
def test_what_is_merged_are_states(method: Merge) -> None:
    """Modules, one state instead of several and generators are told what to be."""
    start, model = nn.Linear(2, 2), nn.Linear(2, 2)
    wrong: Any
    for wrong in (model.state_dict(), (m.state_dict() for m in [model]), [model]):
        with pytest.raises(RunError, match=r"`state_dict\(\)` of the start and a list"):
            method(start.state_dict(), wrong)
    wrong = start
    with pytest.raises(RunError, match="Found Linear"):
        method(wrong, [model.state_dict()])
    merged = method(dict(start.named_parameters()), [dict(model.named_parameters())])
    assert not any(value.requires_grad for value in merged.values())

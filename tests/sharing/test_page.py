"""The page about sharing: every topology is there, and its example runs."""

import re
from pathlib import Path

import pytest
import torch

from polytask.config.catalogue import TRUNKS

PAGE = (Path(__file__).parents[2] / "docs" / "sharing.md").read_text(encoding="utf-8")


def test_every_topology_is_in_the_table() -> None:
    first_cells = re.findall(r"^\| (`[^|]*`) \|", PAGE, flags=re.MULTILINE)
    assert set(re.findall(r"`([^`]+)`", " ".join(first_cells))) == set(TRUNKS)


def test_the_examples_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rows = torch.randn(8, 20)
    names: dict[str, object] = {"rows": rows}
    for example in re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL):
        exec(example, names)
    features = names["features"]
    assert isinstance(features, dict)
    assert {task: tuple(f.values.shape) for task, f in features.items()} == {
        task: (8, 32) for task in ("age", "income", "health")
    }
    outputs = names["outputs"]
    assert isinstance(outputs, dict)
    assert {tuple(found.shape) for found in outputs.values()} == {(8, 1)}
    loaded = torch.export.load("network.pt2").module()(rows)
    for task, output in outputs.items():
        torch.testing.assert_close(loaded[task], output)

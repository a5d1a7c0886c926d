"""The page about sharing: every topology is there, and its example runs."""

import re
from pathlib import Path

import torch

from polytask.config.catalogue import TRUNKS

PAGE = (Path(__file__).parents[2] / "docs" / "sharing.md").read_text(encoding="utf-8")


def test_every_topology_is_in_the_table() -> None:
    first_cells = re.findall(r"^\| (`[^|]*`) \|", PAGE, flags=re.MULTILINE)
    assert set(re.findall(r"`([^`]+)`", " ".join(first_cells))) == set(TRUNKS)


def test_the_example_runs() -> None:
    (example,) = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    names: dict[str, object] = {"rows": torch.randn(8, 20)}
    exec(example, names)
    features = names["features"]
    assert isinstance(features, dict)
    assert {task: tuple(f.values.shape) for task, f in features.items()} == {
        task: (8, 32) for task in ("age", "income", "health")
    }
    outputs = names["outputs"]
    assert isinstance(outputs, dict)
    assert {tuple(found.shape) for found in outputs.values()} == {(8, 1)}

"""What joins the floors."""

from pathlib import Path

import numpy as np
import pandas as pd
import torch

from polytask.config import load_config
from polytask.workflow import SAMPLE, prepare_data, sample, train
from polytask.workflow.watching import Silent

MANY = """\
sources:
  shapes: {kind: shapes, count: 2600, size: 16, missing: 0.0, split: {test: 0.1, validation: 0.1}}
inputs:
  picture: {kind: image, column: image, size: 16}
tasks:
  color: {kind: multiclass, target: color}
trunk: {kind: hard, backbone: {kind: residual, widths: [4]}}
"""


def test_parts_that_start_from_data_see_rows_from_the_whole_training_part(tmp_path: Path) -> None:
    (tmp_path / "many.yaml").write_text(MANY)
    prepared = prepare_data(load_config(tmp_path / "many.yaml"), None)
    rows = prepared.parts["train"]["shapes"]
    assert len(rows) > 2 * SAMPLE
    seen = sample(prepared)["picture"].values
    assert SAMPLE // 2 < len(seen) <= SAMPLE
    everything = prepared.datasets["shapes"].gather(rows).inputs["picture"].values
    assert torch.equal(seen[0], everything[0])
    place = (everything == seen[-1]).flatten(1).all(1).nonzero()[-1].item()
    assert place >= len(rows) - 3


class Heard(Silent):
    """Remembers warnings."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warn(self, message: str) -> None:
        self.warnings.append(message)


def test_who_balances_many_tasks_by_their_gradients_is_told_what_costs_less(
    tmp_path: Path,
) -> None:
    rng = np.random.default_rng(0)
    names = [f"t{k}" for k in range(40)]
    table = pd.DataFrame(rng.normal(size=(60, 42)), columns=["x", "y", *names])
    table.to_csv(tmp_path / "many.csv", index=False)
    tasks = "".join(f"  {name}: {{kind: regression, target: {name}}}\n" for name in names)
    (tmp_path / "many.yaml").write_text(
        "sources:\n  rows: {kind: table, path: many.csv}\n"
        "inputs:\n  cells: {kind: table, columns: [x, y]}\n"
        f"tasks:\n{tasks}"
        "trunk: {kind: hard, backbone: {kind: perceptron, widths: [4]}}\n"
        "training: {epochs: 1, threads: 1, accelerator: cpu}\n"
    )
    told = {}
    for balancer in ("{kind: cagrad}", "{kind: cagrad, at: features}", "{kind: uw}"):
        watcher = Heard()
        config = load_config(tmp_path / "many.yaml", [f"balancer={balancer}"])
        assert train(config, tmp_path / "runs", watcher, [])
        told[balancer] = watcher.warnings
    (said,) = told.pop("{kind: cagrad}")
    assert "each of 40 tasks" in said and "balancer.at: features" in said
    assert told == {"{kind: cagrad, at: features}": [], "{kind: uw}": []}

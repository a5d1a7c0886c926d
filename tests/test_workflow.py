"""What joins the floors."""

from pathlib import Path

import torch

from polytask.config import load_config
from polytask.workflow import SAMPLE, prepare_data, sample

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

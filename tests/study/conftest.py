"""A training that takes a second: two tasks, few rows, one layer."""

from pathlib import Path

import pytest

from polytask.config import Config, load_config

TINY = """\
sources:
  shapes: {kind: shapes, count: 90, size: 16, missing: 0.0, split: {test: 0.3, validation: 0.2}}
inputs:
  picture: {kind: image, column: image, size: 16, pool: mean}
tasks:
  color: {kind: multiclass, target: color}
  shape: {kind: multiclass, target: shape}
trunk: {kind: hard, backbone: {kind: perceptron, widths: [8]}}
batches: {size: 32}
optimizer: {kind: adamw, lr: 0.01}
training: {epochs: 2, threads: 1, precision: fp32}
"""


@pytest.fixture
def tiny(tmp_path: Path) -> Config:
    """The training."""
    (tmp_path / "tiny.yaml").write_text(TINY)
    return load_config(tmp_path / "tiny.yaml")

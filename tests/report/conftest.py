"""A finished run of a minute network, shared by the tests of pages."""

from pathlib import Path

import pytest

from polytask.config.load import load_config
from polytask.run import Run
from polytask.workflow import Silent, train

TINY = """\
name: tiny
sources:
  shapes: {kind: shapes, count: 160, missing: 0.3, split: {test: 0.2, validation: 0.3}}
inputs:
  picture: {kind: image, column: image, size: 16}
tasks:
  color: {kind: multiclass, target: color}
  shape: {kind: multiclass, target: shape}
trunk: {kind: hard, backbone: {kind: residual, widths: [4, 6]}}
balancer: {kind: uw}
batches: {size: 32}
training: {epochs: 2, threads: 1}
"""


def made(folder: Path, *sets: str, text: str = TINY) -> Run:
    """Train what `text` says, with keys changed."""
    (folder / "tiny.yaml").write_text(text)
    train(load_config(folder / "tiny.yaml", list(sets)), folder / "runs", Silent(), ["test"])
    return Run.newest(folder / "runs")


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of two tasks that read pictures."""
    return made(tmp_path_factory.mktemp("run"))

"""A probe: what it notes, and that a training does not notice it."""

from pathlib import Path

import pytest
import torch

from polytask.affinity.measures import first_order, lookahead
from polytask.training.optim import OPTIMIZERS
from polytask.training.probing import AffinityProbe
from tests.networks import TASKS, batch, network
from tests.training.loops import Memory, trainer


def probed(folder: Path, **given: object) -> tuple[AffinityProbe, dict[str, torch.Tensor]]:
    probe = AffinityProbe(folder / "affinity.safetensors", notes=6)
    made = trainer(folder, **given)  # type: ignore[arg-type]
    made.probe = probe
    made.fit()
    return probe, made.bare.state_dict()


def test_a_training_does_not_notice_it(tmp_path: Path) -> None:
    given = {"optimizer": OPTIMIZERS["adamw"](lr=0.01), "ema": 0.9}
    plain = trainer(tmp_path / "plain", model=network(dropout=0.3), **given)  # type: ignore[arg-type]
    plain.fit()
    probe, weights = probed(tmp_path / "probed", model=network(dropout=0.3), **given)
    assert len(probe.steps) == 6
    for name, value in plain.bare.state_dict().items():
        assert value.equal(weights[name]), name


def test_small_steps_ahead_are_what_gramians_foretell(tmp_path: Path) -> None:
    sgd = OPTIMIZERS["sgd"](lr=1e-4, momentum=0.0)
    probe, _ = probed(tmp_path, optimizer=sgd)
    found = probe.history()
    near = first_order(found["gramians"].sum(1), found["losses"], found["rates"])
    exact = lookahead(found["losses"], found["after"])
    there = near.isfinite() & (near.abs() > 1e-6)
    assert int(there.sum()) > 10
    assert torch.allclose(near[there], exact[there], rtol=0.1, atol=2e-6)
    assert "encoders" in probe.groups and "stage 1" in probe.groups


def test_absent_tasks_are_gaps(tmp_path: Path) -> None:
    stream = Memory(change=lambda step, _: batch(step, absent=("values",)))
    probe, _ = probed(tmp_path, stream=stream)
    missing = [task.name for task in TASKS].index("values")
    for key in ("gramians", "after"):
        found = probe.history()[key]
        assert bool(found[..., missing, :].isnan().all() & found[..., missing].isnan().all())
        assert not bool(found[..., 0, 0].isnan().any())


def test_notes_survive_a_stop(tmp_path: Path) -> None:
    probe, _ = probed(tmp_path)
    again = AffinityProbe(tmp_path / "affinity.safetensors", notes=6)
    assert again.groups == probe.groups
    for key, value in probe.history().items():
        assert torch.equal(value.nan_to_num(), again.history()[key].nan_to_num())
    resumed = trainer(tmp_path / "second")
    resumed.probe = again
    resumed.progress.step = 4
    resumed._step()
    assert again.steps == [0, 2, 4]


@pytest.mark.parametrize("trunk", ["cross-stitch", "independent"])
def test_other_topologies(tmp_path: Path, trunk: str) -> None:
    probe, _ = probed(tmp_path, model=network(trunk=trunk))
    assert probe.history()["after"].shape == (6, len(TASKS), len(TASKS))

"""Parts that do not learn, for good or for a while."""

from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from polytask.balancing import BALANCERS, Balancer, EqualWeighting, PCGrad
from polytask.errors import ConfigError
from polytask.training.checkpoint import load_state
from polytask.training.freezing import Freezing
from polytask.training.optim import SGD
from tests.networks import network, parameters
from tests.training.loops import trainer


def moved(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    return {name for name, value in after.items() if not torch.equal(value, before[name])}


@pytest.mark.parametrize("frozen", ["trunk", "heads.type_", "encoders"])
def test_a_frozen_part_stays_and_all_else_moves(tmp_path: Path, frozen: str) -> None:
    model = network()
    before = parameters(model)
    trainer(tmp_path, model=model, freeze=(frozen,), epochs=1).fit()
    still = set(before) - moved(before, parameters(model))
    assert still == {name for name in before if name.startswith(frozen + ".")}


@pytest.mark.parametrize("balancer", [EqualWeighting(4), PCGrad(4)])
def test_parts_are_unfrozen_in_their_epoch_and_resuming_repeats_it(
    tmp_path: Path, balancer: Balancer
) -> None:
    unfreeze = {"trunk": 2, "trunk.backbone.stages.1": 1}
    states: list[dict[str, Tensor]] = []

    def run(epochs: int, folder: str, resumed: bool = False) -> dict[str, Tensor]:
        model = network(dropout=0.2)
        made = trainer(
            tmp_path / folder,
            model=model,
            balancer=type(balancer)(4),
            optimizer=SGD(lr=0.05, momentum=0.9),
            unfreeze=unfreeze,
            epochs=epochs,
        )
        made.directory.mkdir(exist_ok=True)
        if resumed:
            made.load_state_dict(load_state(made.checkpoint))
        made.fit()
        return parameters(model)

    states = [parameters(network()), *(run(n, str(n)) for n in (1, 2, 3))]
    stages = [
        {name for name in moved(a, b) if name.startswith("trunk")} for a, b in pairwise(states)
    ]
    assert not stages[0]
    assert stages[1] and all(".stages.1." in name for name in stages[1])
    assert any(".stages.0." in name for name in stages[2])
    again = run(3, "2", resumed=True)
    assert not moved(states[3], again)


@pytest.mark.parametrize("trunk", ["hard", "independent"])
@pytest.mark.parametrize("name", ["uw", "famo", "mgda", "modo", "graddrop"])
def test_where_nothing_shared_learns_tasks_get_their_own_gradients(
    tmp_path: Path, name: str, trunk: str
) -> None:
    """As under equal weighting: with encoders that serve several tasks and the trunk frozen, or no
    trunk in common."""
    found = []
    for balancer in (BALANCERS[name](4), EqualWeighting(4)):
        model = network(trunk=trunk)
        freeze = ("encoders", "trunk") if trunk == "hard" else ("encoders",)
        made = trainer(tmp_path, model=model, balancer=balancer, freeze=freeze, epochs=1)
        made.fit()
        found.append(parameters(model))
    assert not moved(*found)
    assert moved(found[0], parameters(network(trunk=trunk)))


def test_a_balancer_acts_from_the_epoch_in_which_something_shared_wakes(tmp_path: Path) -> None:
    weights = []
    made = trainer(
        tmp_path,
        model=network(),
        balancer=BALANCERS["mgda"](4),
        freeze=("encoders",),
        unfreeze={"trunk": 1},
        measured="last_stage",
        epochs=2,
    )
    tell = made.progress.add
    made.progress.add = lambda record: (weights.append(record.weights), tell(record))[1]  # type: ignore[method-assign]
    made.fit()
    half = len(weights) // 2
    assert all(set(w.tolist()) <= {0.0, 1.0} for w in weights[:half])
    assert all(not set(w.tolist()) <= {0.0, 1.0} for w in weights[half:])


def test_frozen_normalisations_keep_their_statistics_and_drop_nothing() -> None:
    model = nn.Sequential(nn.BatchNorm1d(3), nn.Dropout(0.5), nn.Linear(3, 2))
    freezing = Freezing(model, ["0"])
    model.train()
    assert freezing.apply(0) and not freezing.apply(0)
    before = parameters(model)
    model(torch.randn(5, 3))
    assert not moved(before, parameters(model))


def test_names_that_fit_nothing_and_nothing_to_learn_are_errors() -> None:
    with pytest.raises(ConfigError, match=r"'trnk'.*trunk\.backbone"):
        Freezing(network(), ["trnk"])
    with pytest.raises(ConfigError, match="nothing to learn"):
        Freezing(network(), ["trunk", "heads", "encoders"])


def test_stages_learn_the_slower_the_deeper() -> None:
    model = network()
    groups = SGD(lr=1.0, layer_decay=0.5, factors={"trunk": 0.1}).groups(model, [])
    rates = {id(p): group["lr"] for group in groups for p in group["params"]}  # type: ignore[attr-defined]
    for name, parameter in model.named_parameters():
        expected = 0.05 if ".stages.0." in name else 0.1 if ".stages.1." in name else 1.0
        assert rates[id(parameter)] == pytest.approx(expected), name

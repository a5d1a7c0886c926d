"""Weights of tasks' own best epochs, in a run beside those that are the best of all.

own_best.json               the epoch of each task that has weights of its own
own_best/EPOCH.safetensors  all weights after that epoch
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from torch import Tensor, nn

from polytask.config.build import build_settings
from polytask.errors import RunError
from polytask.model import MultiTaskModel
from polytask.run import Run, readable, written
from polytask.training.checkpoint import write_whole
from polytask.types import Features

INDEX, FOLDER = "own_best.json", "own_best"


def save_own(
    run: Run,
    state: Mapping[str, Tensor],
    epoch: int,
    tasks: Iterable[str],
    before: Mapping[str, int],
) -> None:
    """Keep weights as the best of some tasks.

    Those that are the best of no task any more stay until the next time: a training that is killed
    between this and its checkpoint goes on from there.

    Args:
        run: The run.
        state: The weights.
        epoch: Their epoch.
        tasks: The tasks.
        before: The epoch of each task's best weights until now.

    Raises:
        OSError: If the disk is full or not writable. What was kept before is whole.
    """
    from safetensors.torch import save

    remove_unused(run, before)
    (run.path / FOLDER).mkdir(exist_ok=True)
    content = save(dict(state))
    write_whole(_file(run, epoch), lambda file: file.write(content))
    _write(run, {**before, **dict.fromkeys(tasks, epoch)})


def remove_unused(run: Run, epochs: Mapping[str, int]) -> None:
    """Remove weights of other epochs than those of tasks' best weights."""
    used = {_file(run, epoch) for epoch in epochs.values()}
    for file in (run.path / FOLDER).glob("*.safetensors"):
        if file not in used:
            file.unlink()


def own_epochs(run: Run) -> dict[str, int]:
    """The epochs of tasks that have weights of their own.

    Raises:
        RunError: If the run keeps such weights, and does not say of which epochs.
    """
    if build_settings(run.config).keep == "one":
        return {}
    return _index(run)


def answers(run: Run, tasks: Sequence[str]) -> Iterator[tuple[dict[str, Tensor], list[str]]]:
    """The weights with which a run answers, and for which of some tasks.

    Raises:
        RunError: If some are gone or broken.
    """
    epochs = own_epochs(run)
    groups: dict[int, list[str]] = {}
    for task in tasks:
        groups.setdefault(epochs.get(task, 0), []).append(task)
    for epoch, some in sorted(groups.items()):
        yield (_own_weights(run, epoch) if epoch else run.weights()), some


def _own_weights(run: Run, epoch: int) -> dict[str, Tensor]:
    """All weights after an epoch that is some task's best.

    Raises:
        RunError: If the file is gone or broken.
    """
    from safetensors.torch import load_file

    with readable(_file(run, epoch)):
        return load_file(_file(run, epoch))


def lost_of(run: Run, epochs: Mapping[str, int]) -> list[str]:
    """Those of some tasks with their best epochs whose weights are gone or broken."""
    lost = []
    for epoch in dict.fromkeys(epochs.values()):
        try:
            _own_weights(run, epoch)
        except RunError:
            lost += [task for task in epochs if epochs[task] == epoch]
    return lost


def write_epochs(run: Run, epochs: Mapping[str, int]) -> None:
    """Say of which epochs the tasks' own best weights are.

    Raises:
        CannotWrite: If the disk is full or not writable.
    """
    with written(run.path / INDEX):
        _write(run, epochs)


def _write(run: Run, epochs: Mapping[str, int]) -> None:
    index = json.dumps(dict(epochs), indent=2).encode()
    write_whole(run.path / INDEX, lambda file: file.write(index))


def _index(run: Run) -> dict[str, int]:
    if not (run.path / INDEX).exists():
        raise RunError(
            f"The run '{run.path}' has no {INDEX}, which says with which weights tasks answer "
            f"(training.keep). Bring it and the folder '{FOLDER}' back from a copy, or train anew."
        )
    found = run.read_json(INDEX)
    if not (isinstance(found, dict) and all(isinstance(e, int) for e in found.values())):
        raise RunError(f"'{run.path / INDEX}' should say an epoch for each task: it was changed.")
    return found


def _file(run: Run, epoch: int) -> Path:
    return run.path / FOLDER / f"{epoch}.safetensors"


class EachAtItsBest(nn.Module):
    """Networks of one training after different epochs, of which each answers for its tasks.

    Args:
        networks: The networks.
        tasks: Those that each answers for.
    """

    def __init__(self, networks: Sequence[MultiTaskModel], tasks: Iterable[Iterable[str]]) -> None:
        super().__init__()
        self.models = networks
        self.networks = nn.ModuleList(networks)
        self.answers = [frozenset(some) for some in tasks]

    def forward(
        self,
        inputs: Mapping[str, Features],
        tasks: Iterable[str],
        guides: Mapping[str, Tensor] | None = None,
        rows: Mapping[str, Tensor] | None = None,
    ) -> dict[str, Tensor]:
        """As of `MultiTaskModel`, without a boundary."""
        tasks = list(tasks)
        found: dict[str, Tensor] = {}
        for network, some in zip(self.models, self.answers, strict=True):
            asked = [task for task in tasks if task in some]
            if asked:
                found |= network(inputs, asked, guides=guides, rows=rows)
        return found

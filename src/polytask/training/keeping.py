"""Which epochs' weights are kept: the best of all tasks together, and of each."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from lightning_fabric import Fabric
from torch import Tensor

from polytask.tasks.base import Task
from polytask.training.history import improves, monitored, overflowing, own_scores
from polytask.training.progress import Progress
from polytask.training.sharding import whole
from polytask.types import Scores

Keep = Callable[[Mapping[str, Tensor]], None]
KeepOwn = Callable[[Mapping[str, Tensor], int, Iterable[str], Mapping[str, int]], None]


@dataclass(frozen=True)
class Kept:
    """What was kept of an epoch.

    Attributes:
        value: The monitored score; None if nothing was measured, NaN if the network is broken.
        best: Whether its weights are the best so far.
        best_of: The tasks whose own best they are; None where tasks keep none of their own.
    """

    value: float | None
    best: bool
    best_of: list[str] | None


class Keeper:
    """Judges each epoch, and has the best weights saved.

    Args:
        fabric: The processes.
        tasks: The tasks.
        monitor: What decides.
        keep: Called in the first process with weights that are the best so far.
        keep_own: Called in the first process with weights that are the best so far of some tasks,
            their epoch, these tasks, and the epochs of tasks' own best weights until then; None if
            tasks keep none.
        warn: Told what went wrong.
    """

    def __init__(
        self,
        fabric: Fabric,
        tasks: Sequence[Task],
        monitor: str,
        *,
        keep: Keep,
        keep_own: KeepOwn | None,
        warn: Callable[[str], None],
    ) -> None:
        self.fabric, self.tasks, self.monitor = fabric, tasks, monitor
        self.keep, self.keep_own, self.warn = keep, keep_own, warn

    def end_epoch(
        self, progress: Progress, epoch: int, state: Mapping[str, Tensor], scores: Scores
    ) -> Kept:
        """Keep an epoch's weights for whom they are the best so far, and note that in `progress`.

        All processes take part.

        Args:
            progress: Where the training is.
            epoch: Counted from 1.
            state: The weights.
            scores: Of the validation part; empty if there is none.
        """
        value = monitored(scores, self.monitor, self.tasks) if scores else None
        # Where nothing can be measured, the latest weights are the best known.
        better = progress.best is None if value is None else improves(value, progress.best)
        strange = overflowing(scores, self.tasks)
        own: dict[str, float] = {}
        if self.keep_own is not None and not strange:
            found = own_scores(scores, self.monitor, self.tasks)
            own = {t: v for t, v in found.items() if improves(v, progress.own_best.get(t))}
        if better or own:
            state = whole(state, self.fabric.is_global_zero)
        if better and self._saved(lambda: self.keep(_plain(state)), of=progress.best_epoch):
            progress.best, progress.best_epoch = value, epoch
        else:
            better = False
        keep_own, before = self.keep_own, dict(progress.own_epoch)
        if own and keep_own and self._saved(lambda: keep_own(_plain(state), epoch, own, before)):
            progress.own_best.update(own)
            progress.own_epoch.update(dict.fromkeys(own, epoch))
        else:
            own = {}
        if strange:
            self.warn(
                f"Epoch {epoch}: the network's answers for {', '.join(map(repr, strange))} are no "
                "finite numbers on validation rows, so its weights are not kept. Lower "
                "optimizer.lr, or set training.clip."
            )
        return Kept(value, better, None if self.keep_own is None else list(own))

    def _saved(self, save: Callable[[], None], *, of: int | None = None) -> bool:
        """Save in the first process; whether that worked. A full disk loses none of the training.

        Args:
            save: Saves.
            of: The epoch of the weights that are there if it doesn't work, 0 if none are; None
                where each task has another.
        """
        worked = True
        if self.fabric.is_global_zero:
            try:
                save()
            except OSError as error:
                worked = False
                there = f"Those of epoch {of} are whole" if of else "There are none yet"
                there = "Earlier ones are whole" if of is None else there
                self.warn(
                    f"Could not save the best weights ({error}). {there}. Free some space. "
                    "Training goes on."
                )
        return bool(self.fabric.broadcast(worked))


def _plain(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights on the CPU, as they are saved."""
    return {name: value.detach().cpu().contiguous() for name, value in state.items()}

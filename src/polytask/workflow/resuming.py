"""What has to be there for a run to go on, and what a run has to have when it ends."""

from typing import TYPE_CHECKING

from polytask.errors import RunError
from polytask.run import Run

if TYPE_CHECKING:
    from polytask.training.trainer import Trainer


def require_resumable(run: Run) -> None:
    """Make sure that going on does not begin anew, over what was trained already.

    A run that was killed before its first checkpoint does begin anew: it has lost an epoch at most.

    Raises:
        RunError: If there is no checkpoint, and more to lose.
    """
    if (run.path / "checkpoint.pt").exists():
        return
    if (ended := len(run.history())) > 1:
        raise RunError(
            f"The run '{run.path}' has no checkpoint.pt, from which it could go on, though {ended} "
            "epochs have ended: it would begin anew, and replace what they gave. Bring it back "
            f"from a copy, or train anew: polytask train {run.path / 'config.yaml'}"
        )


def require_best_weights(run: Run, trainer: "Trainer") -> str | None:
    """What to say where the best weights so far are gone; later ones are kept in their place.

    Raises:
        RunError: If none will be, since the training has ended.
    """
    progress = trainer.progress
    if not progress.best_epoch or (run.path / "model.safetensors").exists():
        return None
    if progress.step >= trainer.steps:
        run.weights()  # Says what is the matter.
    lost, progress.best, progress.best_epoch = progress.best_epoch, None, 0
    return (
        f"The best weights so far (epoch {lost}) are gone: '{run.path}' has no model.safetensors. "
        "Those of the next epoch are kept in their place."
    )


def require_kept(run: Run) -> None:
    """Make sure that a training that reached its end leaves weights.

    Raises:
        RunError: If not.
    """
    if not (run.path / "model.safetensors").exists():
        raise RunError(
            f"The training reached its end, and '{run.path}' has no weights: those of no epoch "
            "could be kept, as the warnings above say. Mend what they name, and train anew: "
            f"polytask train {run.path / 'config.yaml'}"
        )

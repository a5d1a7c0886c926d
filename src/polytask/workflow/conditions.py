"""What has to be so for a training to begin and for a run to go on, and what it has to leave."""

from typing import TYPE_CHECKING

from polytask.config.build import build_balancer, build_settings
from polytask.config.schema import Config
from polytask.data.dataset import Prepared
from polytask.errors import RunError
from polytask.model import MultiTaskModel
from polytask.own_best import FOLDER, lost_of
from polytask.run import Run
from polytask.training.settings import MEASURED, Settings
from polytask.tuning import require_validation
from polytask.workflow.teachers import make_teaching

if TYPE_CHECKING:
    from polytask.training.trainer import Trainer


def require_trainable(config: Config, model: MultiTaskModel, prepared: Prepared) -> list[str]:
    """Make sure that a training would begin, without one; what it would warn of.

    Args:
        config: The configuration.
        model: Its network.
        prepared: Its data.

    Raises:
        PolytaskError: As the training would.
    """
    settings, usual = build_settings(config), Settings()
    require_validation(prepared)
    # What knows the rest takes seconds to import.
    if settings.monitor != usual.monitor and prepared.parts.get("validation"):
        from polytask.training.history import check_monitor

        check_monitor(settings.monitor, prepared.tasks)
    if any(getattr(settings, k) != getattr(usual, k) for k in (*MEASURED, "at_once")):
        from polytask.training.acting import measurement

        measurement(settings, build_balancer(config, len(prepared.tasks)), model)
    make_teaching(config, model, prepared)
    return unguided(settings, prepared)


def unguided(settings: Settings, prepared: Prepared) -> list[str]:
    """What to say where settings choose by validation rows that there aren't."""
    usual, rows = Settings(), prepared.parts.get("validation", {})
    choosing = ("monitor", "keep", "patience")
    asked = [k for k in choosing if getattr(settings, k) != getattr(usual, k)]
    if not asked or any(len(some) for some in rows.values()):
        return []
    return [
        f"training.{' and training.'.join(asked)}: there are no validation rows to go by. All "
        "epochs are trained, and the weights of the last are kept. Give a source a validation "
        "part, or leave it out."
    ]


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


def require_nothing_to_lose(run: Run) -> None:
    """Make sure that a run without facts never trained, so that it may begin anew.

    Raises:
        RunError: If it did: they were written before the first step.
    """
    if (run.path / "checkpoint.pt").exists() or len(run.history()):
        raise RunError(
            f"The run '{run.path}' has no facts.json, without which it cannot go on, though it has "
            "trained: it would begin anew, and replace what it gave. Bring it back from a copy, or "
            f"train anew: polytask train {run.path / 'config.yaml'}"
        )


def require_best_weights(run: Run, trainer: "Trainer") -> list[str]:
    """What to say where the best weights so far are gone or broken; later ones are kept in their
    place.

    Args:
        run: The run.
        trainer: Its trainer, which is where the training stopped.

    Raises:
        RunError: If none will be, since the training has ended.
    """
    said = _require_own(run, trainer)
    progress = trainer.progress
    if not progress.best_epoch:
        return said
    try:
        run.weights()
    except RunError:
        if progress.step >= trainer.steps:
            raise
    else:
        return said
    there = (run.path / "model.safetensors").exists()
    lost, progress.best, progress.best_epoch = progress.best_epoch, None, 0
    return [
        *said,
        f"The best weights so far (epoch {lost}) are gone: '{run.path}' has "
        f"{'a broken' if there else 'no'} model.safetensors. Those of the next epoch are kept in "
        "their place.",
    ]


def _require_own(run: Run, trainer: "Trainer") -> list[str]:
    """The same of the weights of tasks' own best epochs."""
    progress = trainer.progress
    lost = lost_of(run, progress.own_epoch)
    if not lost:
        return []
    text = (
        f"The weights of the best epoch so far of {', '.join(lost)} are gone: '{run.path}' lacks a "
        f"whole file in '{FOLDER}'."
    )
    if progress.step >= trainer.steps:
        raise RunError(f"{text} Bring it back from a copy, or train anew.")
    for task in lost:
        del progress.own_best[task], progress.own_epoch[task]
    return [f"{text} Those of the next epoch are kept in their place."]


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

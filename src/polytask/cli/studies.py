"""Commands that train many runs to answer one question."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from polytask.cli.options import AGAIN, Sets, mendable
from polytask.errors import ConfigError


def compare(
    config: Annotated[Path | None, typer.Argument(help="A YAML file.")] = None,
    resume: Annotated[Path | None, typer.Option(help="A study's folder, to go on with.")] = None,
    study: Annotated[
        Path | None, typer.Option(help="The study's folder; default: studies/NAME-TIME.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes that train side by side.")] = 1,
    more_seeds: Annotated[
        int, typer.Option(min=0, help="With --resume: seeds to add to a study that is over.")
    ] = 0,
    ray: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Start the workers on a Ray cluster: auto, local or ray://HOST:PORT.",
        ),
    ] = None,
    ray_cpus: Annotated[float, typer.Option(help="Processors of a worker on Ray.")] = 1.0,
    ray_gpus: Annotated[float, typer.Option(help="GPUs of a worker on Ray.")] = 0.0,
    set_: Sets = None,
) -> None:
    """Does sharing help? Train every task alone and every way to share, and say whom it helps."""
    with mendable():
        from polytask.config.load import load_config
        from polytask.study.crew import run_study
        from polytask.study.extending import extended
        from polytask.study.folder import Study, fresh_folder
        from polytask.study.judge import Judge
        from polytask.study_terminal import (
            StudyTerminal,
            print_next,
            print_plan,
            print_stop,
            print_verdicts,
        )

        if (config is None) == (resume is None):
            raise ConfigError("Give either a YAML file, or --resume with a study's folder.")
        if resume is not None and (set_ or study):
            raise ConfigError("A study keeps its settings: --set, --study go with a YAML file.")
        if more_seeds and resume is None:
            raise ConfigError("--more-seeds goes with --resume; a new study has compare.seeds.")
        if resume is not None:
            found = Study.open(resume)
            found = extended(found, more_seeds) if more_seeds else found
        else:
            loaded = load_config(config or Path(), set_ or ())
            typer.echo("Looking at the data, and timing a few steps of each candidate ...")
            found = Study.create(loaded, study or fresh_folder(loaded), sys.argv, workers)
        print_plan(found, workers)
        with StudyTerminal() as terminal:
            if ray is None:
                now = run_study(found, workers, terminal.look)
            else:
                from polytask.study.ray_crew import run_on_ray

                now = run_on_ray(
                    found, workers, terminal.look, address=ray, cpus=ray_cpus, gpus=ray_gpus
                )
        if now.over:
            verdicts = Judge(found).verdicts()
            print_verdicts(found, verdicts)
            print_next(found, verdicts)
    if not now.over:
        print_stop(found, now)
        raise typer.Exit(1 if now.broke else 130)


def group(
    config: Annotated[Path, typer.Argument(help="A YAML file.")],
    measure: Annotated[
        str, typer.Option(help="cka, labels, subsets, sets, lookahead, first-order or cosine.")
    ] = "cka",
    models: Annotated[
        int | None, typer.Option(help="The most models; default: half as many as tasks.")
    ] = None,
    overlapping: Annotated[
        bool, typer.Option(help="Let a task help in a model that does not predict it.")
    ] = False,
    epochs: Annotated[
        int | None,
        typer.Option(
            help="Epochs of trainings that explore; default: the file's, for sets a fifth of them."
        ),
    ] = None,
    notes: Annotated[int, typer.Option(help="How often gradients are looked at, at most.")] = 50,
    size: Annotated[
        int | None, typer.Option(help="For subsets: tasks of a set; default: half of them.")
    ] = None,
    rounds: Annotated[
        int, typer.Option(help="For subsets: how often all tasks are dealt into sets.")
    ] = 4,
    tries: Annotated[
        int | None,
        typer.Option(
            help="Likely groupings to train, so that validation scores choose; default 3."
        ),
    ] = None,
    verify: Annotated[
        bool, typer.Option(help="Train the groups beside all together and each alone.")
    ] = False,
    study: Annotated[
        Path | None, typer.Option(help="The study's folder; default: group-NAME.")
    ] = None,
    set_: Sets = None,
) -> None:
    """Find out which tasks belong together; writes group.json and group.html."""
    with mendable(AGAIN):
        from polytask.config.load import load_config
        from polytask.report.groups import print_groups, write_page
        from polytask.study.grouping import Plan
        from polytask.study.grouping import group as find
        from polytask.terminal import Terminal

        loaded = load_config(config, set_ or ())
        root = study or Path(f"group-{loaded.name}")
        plan = Plan(
            measure=measure,  # type: ignore[arg-type]  # the plan refuses others
            models=models,
            overlapping=overlapping,
            epochs=epochs,
            notes=notes,
            size=size,
            rounds=rounds,
            tries=tries,
            verify=verify,
        )
        with Terminal() as terminal:
            found = find(loaded, root, plan, terminal)
        print_groups(found, terminal.console)
        page = write_page(found, root / "group.html")
    typer.echo(f"{root / 'group.json'} and {page}")


def tune(
    config: Annotated[Path, typer.Argument(help="A YAML file with a 'tune:' section.")],
    trials: Annotated[int, typer.Option(help="Trials in the end, earlier ones included.")] = 20,
    objective: Annotated[
        list[str] | None,
        typer.Option(help="A task.metric; several: their Pareto front. Default: the monitor's."),
    ] = None,
    pruner: Annotated[str, typer.Option(help="median, hyperband or none.")] = "median",
    workers: Annotated[int, typer.Option(help="Processes side by side.")] = 1,
    journal: Annotated[
        bool, typer.Option(help="Keep trials in a journal file rather than in SQLite.")
    ] = False,
    study: Annotated[
        Path | None, typer.Option(help="The study's folder; default: tune-NAME.")
    ] = None,
    set_: Sets = None,
) -> None:
    """Search for better settings; the same command goes on with a search that was stopped."""
    with mendable(AGAIN):
        from polytask.config.load import load_config
        from polytask.study.trials import Search
        from polytask.study.tuning import tune as find
        from polytask.terminal import print_trials

        loaded = load_config(config, set_ or ())
        root = study or Path(f"tune-{loaded.name}")
        search = Search(
            trials=trials,
            objectives=tuple(objective or ()),
            pruner=pruner,  # type: ignore[arg-type]  # the search refuses others
            workers=workers,
            journal=journal,
        )
        found = find(loaded, root, search, typer.echo)
        print_trials(found)

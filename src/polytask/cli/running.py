"""Commands that make a run and use it."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer

from polytask.cli.options import RunPath, Runs, Sets, mendable
from polytask.cli.writing import write_table
from polytask.errors import ConfigError, DataError, NothingToPredict

Bad = Literal["error", "skip"]


def train(
    config: Annotated[Path | None, typer.Argument(help="A YAML file.")] = None,
    resume: Annotated[Path | None, typer.Option(help="A stopped run's folder.")] = None,
    from_: Annotated[
        Path | None,
        typer.Option("--from", help="A run whose weights to start from: what fits is taken."),
    ] = None,
    fresh: Annotated[
        list[str] | None,
        typer.Option(help="With --from: a part that starts anew all the same, as heads.color."),
    ] = None,
    set_: Sets = None,
    runs: Runs = Path("runs"),
) -> None:
    """Train a model, or go on with a stopped training."""
    with mendable():
        from polytask.config.load import load_config
        from polytask.origin import Origin
        from polytask.run import Run
        from polytask.terminal import Terminal
        from polytask.workflow import train as train_run

        if (config is None) == (resume is None):
            raise ConfigError("Give either a YAML file, or --resume with a run's folder.")
        if resume is not None and (set_ or from_):
            raise ConfigError(
                "A resumed run keeps its settings: --set, --from go with a YAML file."
            )
        if resume is not None and (resume / "merge.json").exists():
            raise ConfigError(
                f"'{resume}' was merged, not trained: there is nothing to go on with. "
                f"Start from its weights with a YAML file and --from {resume}."
            )
        if fresh and from_ is None:
            raise ConfigError("--fresh goes with --from: without it everything starts anew.")
        origin = Origin(Run.open(from_), tuple(fresh or ())) if from_ else None
        start = Run.open(resume) if resume else load_config(config or Path(), set_ or ())
        with Terminal() as terminal:
            finished = train_run(start, runs, terminal, sys.argv, origin)
    if not finished:
        raise typer.Exit(130)


def evaluate(
    run: RunPath = None,
    part: Annotated[str, typer.Option(help="train, validation or test.")] = "test",
    runs: Runs = Path("runs"),
) -> None:
    """Score a run's best weights on its test part; writes scores.json."""
    with mendable():
        from polytask.config.build import build_tasks
        from polytask.run import Run
        from polytask.terminal import Terminal, print_scores
        from polytask.training.history import overflowing
        from polytask.tuning import said
        from polytask.workflow import evaluate_run

        if part not in ("train", "validation", "test"):
            raise ConfigError(f"--part: found '{part}'. Use train, validation or test.")
        chosen = Run.open(run) if run is not None else Run.newest(runs)
        with Terminal() as terminal:
            scores = evaluate_run(chosen, part, terminal.on_decoding)  # type: ignore[arg-type]
        print_scores(scores, f"{part} part of {chosen.path}")
        tasks = build_tasks(chosen.config)
        if strange := overflowing(scores, tasks):
            message = f"warning: the answers for {', '.join(strange)} are no finite numbers. "
            typer.echo(message + "The network's weights are of no use for them.", err=True)
        for line in said(chosen.read_json("facts.json"), tasks):
            typer.echo(line)


def predict(
    run: RunPath = None,
    input_: Annotated[
        Path | None,
        typer.Option(
            "--input", help="A picture, a sound, a folder of them, a table, a .txt or a .conllu."
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="A .csv, .jsonl or .parquet file; default: standard output.")
    ] = None,
    column: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLUMN=NAME",
            help="What a column of training is called in the table, as path=audio.",
        ),
    ] = None,
    on_bad: Annotated[
        Bad | None,
        typer.Option(help="What to do with what cannot be decoded; default: as in training."),
    ] = None,
    runs: Runs = Path("runs"),
) -> None:
    """Predict labels, with probabilities, for new examples.

    Predictions that are pictures or sounds go into folders beside the output file.
    """
    with mendable():
        from polytask.run import Run, written
        from polytask.workflow import predict_run

        if output is not None and output.suffix.lower() not in (".csv", ".jsonl", ".parquet"):
            raise ConfigError(f"--output: '{output}' should end in .csv, .jsonl or .parquet.")
        if input_ is None:
            raise ConfigError("--input is missing: a picture, a sound, a folder, or a table.")
        if output is not None and output.is_dir():
            raise ConfigError(f"--output: '{output}' is a folder. Name a file.")
        if output is not None and output.exists() and input_.exists() and output.samefile(input_):
            raise ConfigError(
                f"--output: '{output}' is what is to be predicted, and would be lost. Name another "
                "file."
            )
        if output is not None:
            with written(output.parent, "Name another file under --output."):
                output.parent.mkdir(parents=True, exist_ok=True)
        chosen = Run.open(run) if run is not None else Run.newest(runs)
        if run is None:
            typer.echo(f"run: {chosen.path}", err=True)
        beside = (
            {}
            if output is None
            else {
                kind: output.with_name(f"{output.stem}-{kind}") for kind in ("pictures", "sounds")
            }
        )
        called = _called(column or ())
        try:
            lines = list(predict_run(chosen, input_, on_bad=on_bad, called=called, **beside))
        except NothingToPredict as error:
            # A program that reads the output finds its columns, and the exit status says the rest.
            # Predictions of before are not given for that.
            if output is not None and output.exists():
                raise DataError(f"{error} {output} is left as it was.") from error
            with written(output or Path("standard output"), "Name another file under --output."):
                write_table([], output, error.columns)
            raise
        with written(output or Path("standard output"), "Name another file under --output."):
            write_table(lines, output)
    if output is not None:
        typer.echo(f"{len(lines)} predictions in {output}")


def _called(columns: Sequence[str]) -> dict[str, str]:
    """What columns are called, of COLUMN=NAME.

    Raises:
        ConfigError: If one is written otherwise, or is there twice.
    """
    pairs = [text.partition("=") for text in columns]
    wrong = next(("".join(pair) for pair in pairs if not (pair[0] and pair[2])), None)
    if wrong is not None:
        raise ConfigError(f"--column {wrong}: expected COLUMN=NAME, such as path=audio.")
    found = {column: name for column, _, name in pairs}
    if len(found) < len(pairs):
        twice = next(c for c in found if sum(c == column for column, *_ in pairs) > 1)
        raise ConfigError(f"--column {twice} is there twice: it can be called one name only.")
    return found


def merge(
    trained: Annotated[list[Path], typer.Argument(metavar="RUN RUN ...", help="Runs to merge.")],
    base: Annotated[Path, typer.Option(help="The run that all were trained from, with --from.")],
    output: Annotated[Path, typer.Option(help="The merged run's folder.")],
    method: Annotated[str, typer.Option(help="average, task-arithmetic or ties.")] = "ties",
    scale: Annotated[
        float | None,
        typer.Option(help="Factor of the merged change; default: 0.4 for task-arithmetic, else 1."),
    ] = None,
    keep: Annotated[
        float | None,
        typer.Option(help="For ties: share of each run's changes that stays; default: 0.2."),
    ] = None,
) -> None:
    """Merge runs of one start, each with other tasks, into one run with all tasks."""
    with mendable():
        from polytask.assembly import METHODS, RECORD, merge_runs
        from polytask.run import Run
        from polytask.terminal import next_command

        if method not in METHODS:
            raise ConfigError(f"--method: found '{method}'. Use {', '.join(METHODS)}.")
        given = {"scale": scale, "keep": keep}
        merged = merge_runs(
            [Run.open(path) for path in trained],
            Run.open(base),
            output,
            sys.argv,
            method=method,  # type: ignore[arg-type]
            **{key: value for key, value in given.items() if value is not None},
        )
        averaged = merged.read_json(RECORD)["averaged"]
    typer.echo(f"{', '.join(merged.config.tasks)}: merged by {method} in {output}")
    if averaged:
        typer.echo(
            f"Statistics of normalisations (and other buffers) were averaged: {len(averaged)}. "
            "They were gathered with each run's own weights, so scores may fall short."
        )
        then = next_command(merged)
    typer.echo(then)

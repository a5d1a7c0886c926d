"""The command line: load, build, one library call, one table."""

import csv
import json
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from polytask.errors import ConfigError, PolytaskError, require

app = typer.Typer(
    help="One model for many tasks: train, judge and use multi-task networks.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Sets = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a key, such as training.epochs=5."),
]
Runs = Annotated[Path, typer.Option("--runs", help="The folder in which runs are kept.")]
Bad = Literal["error", "skip"]
RunPath = Annotated[Path | None, typer.Argument(help="A run's folder; default: the newest run.")]


def main() -> None:
    """Entry point; sets what has to be set before PyTorch is loaded."""
    # Threads that spin while they wait slow each other down many times over on busy cores.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    app()


@contextmanager
def _mendable() -> Iterator[None]:
    """Print what a person can mend, and warnings, without tracebacks and lines of our code."""
    from rich.console import Console
    from rich.markup import escape

    console = Console(stderr=True, emoji=False)
    rank = int(os.environ.get("RANK") or os.environ.get("LOCAL_RANK") or 0)
    error_in = "error:" if rank == 0 else f"error in process {rank}:"

    def show(message: Warning | str, *_: object, **__: object) -> None:
        if rank == 0:  # the others warn of the same
            console.print(f"[bold yellow]warning:[/] {escape(str(message))}", soft_wrap=True)

    with warnings.catch_warnings():
        warnings.showwarning = show
        try:
            yield
        except PolytaskError as error:
            console.print(f"[bold red]{error_in}[/] {escape(str(error))}", soft_wrap=True)
            raise typer.Exit(1) from error
        except KeyboardInterrupt:
            if rank == 0:
                console.print("Stopped.")
            raise typer.Exit(130) from None


@app.command()
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
    with _mendable():
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


@app.command()
def evaluate(
    run: RunPath = None,
    part: Annotated[str, typer.Option(help="train, validation or test.")] = "test",
    runs: Runs = Path("runs"),
) -> None:
    """Score a run's best weights on its test part; writes scores.json."""
    with _mendable():
        from polytask.config.build import build_tasks
        from polytask.run import Run
        from polytask.terminal import Terminal, print_scores
        from polytask.tuning import said
        from polytask.workflow import evaluate_run

        if part not in ("train", "validation", "test"):
            raise ConfigError(f"--part: found '{part}'. Use train, validation or test.")
        chosen = Run.open(run) if run is not None else Run.newest(runs)
        with Terminal() as terminal:
            scores = evaluate_run(chosen, part, terminal.on_decoding)  # type: ignore[arg-type]
        print_scores(scores, f"{part} part of {chosen.path}")
        for line in said(chosen.read_json("facts.json"), build_tasks(chosen.config)):
            typer.echo(line)


@app.command()
def predict(
    run: RunPath = None,
    input_: Annotated[
        Path | None,
        typer.Option("--input", help="A picture, a sound, a folder of them, a table, or a .txt."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="A .csv, .jsonl or .parquet file; default: standard output.")
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
    with _mendable():
        from polytask.run import Run, written
        from polytask.workflow import predict_run

        if output is not None and output.suffix.lower() not in (".csv", ".jsonl", ".parquet"):
            raise ConfigError(f"--output: '{output}' should end in .csv, .jsonl or .parquet.")
        if input_ is None:
            raise ConfigError("--input is missing: a picture, a sound, a folder, or a table.")
        if output is not None:
            with written(output.parent, "Name another file under --output."):
                output.parent.mkdir(parents=True, exist_ok=True)
        chosen = Run.open(run) if run is not None else Run.newest(runs)
        beside = (
            {}
            if output is None
            else {
                kind: output.with_name(f"{output.stem}-{kind}") for kind in ("pictures", "sounds")
            }
        )
        lines = list(predict_run(chosen, input_, on_bad=on_bad, **beside))
        with written(output or Path("standard output"), "Name another file under --output."):
            write_table(lines, output)
    if output is not None:
        typer.echo(f"{len(lines)} predictions in {output}")


def write_table(lines: list[dict[str, Any]], output: Path | None) -> None:
    """Write lines as CSV, JSON lines or Parquet, by the file's ending; CSV to standard output."""
    columns = list(dict.fromkeys(key for line in lines for key in line))
    kind = ".csv" if output is None else output.suffix.lower()
    if kind == ".parquet":
        require("pyarrow", "train")
        import pyarrow as pa
        import pyarrow.parquet as pq

        full = [{column: line.get(column) for column in columns} for line in lines]
        pq.write_table(pa.Table.from_pylist(full), output)
    else:
        with output.open("w", newline="") if output else _standard_output() as file:
            if kind == ".jsonl":
                file.writelines(json.dumps(line) + "\n" for line in lines)
            else:
                writer = csv.DictWriter(file, columns)
                writer.writeheader()
                writer.writerows(lines)


@contextmanager
def _standard_output() -> Iterator[Any]:
    yield sys.stdout


@app.command()
def check(config: Annotated[Path, typer.Argument(help="A YAML file.")], set_: Sets = None) -> None:
    """Look at a configuration and its data without training: files, columns, labels per task."""
    with _mendable():
        from polytask.config.build import build_model
        from polytask.config.load import load_config
        from polytask.data_terminal import print_leaks, print_summary
        from polytask.survey.profile import leaks
        from polytask.terminal import Terminal
        from polytask.workflow import make_stream, prepare_data

        loaded = load_config(config, set_ or ())
        with Terminal() as terminal:
            prepared = prepare_data(loaded, terminal.on_decoding)
        model = build_model(loaded, prepared.inputs, prepared.tasks)
        print_summary(prepared.summary())
        print_leaks(leaks(prepared), told=prepared.summary()["texts"])
        typer.echo(make_stream(loaded, prepared, 0, 1).describe_epoch())
        typer.echo(f"{sum(p.numel() for p in model.parameters()):,} parameters")


@app.command()
def init(
    data: Annotated[
        Path, typer.Argument(help="A table, a treebank (.conllu), or a folder of class folders.")
    ],
    targets: Annotated[
        str, typer.Option(help="The columns to predict, with commas between them.")
    ] = "",
    output: Annotated[Path | None, typer.Option(help="The YAML file to write.")] = None,
) -> None:
    """Write a configuration for your data: guesses of columns and tasks, with the reasons."""
    with _mendable():
        from polytask.config.load import load_config
        from polytask.run import written
        from polytask.survey.drafting import draft
        from polytask.survey.treebanks import draft_treebank, treebank_files

        file = output or Path(f"{data.name.split('.')[0]}.yaml")
        if file.exists():
            raise ConfigError(f"'{file}' is there already. Name another file with --output.")
        wanted = [name.strip() for name in targets.split(",") if name.strip()]
        treebank = treebank_files(data)
        if treebank:
            text = draft_treebank(treebank, wanted, file.parent)
        else:
            text = draft(data, wanted, file)
        with written(file, "Name another file with --output."):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        load_config(file)
    typer.echo(f"{file} is written; the reasons are in its comments. Look at it, then:")
    typer.echo(f"  polytask check {file}\n  polytask train {file}")


@app.command()
def profile(
    data: Annotated[Path, typer.Argument(help="A YAML file, or a table.")],
    output: Annotated[
        Path | None, typer.Option(help="The folder for numbers, heat maps and a page.")
    ] = None,
    set_: Sets = None,
) -> None:
    """What data is like: labels and their overlap, balance, blanks, outliers, leaks."""
    with _mendable():
        from polytask.config.load import load_config
        from polytask.survey.profile import profile_prepared, profile_table
        from polytask.survey.showing import tables, verdict, write
        from polytask.terminal import Terminal, print_table
        from polytask.workflow import prepare_data

        if data.suffix.lower() in (".yaml", ".yml"):
            loaded = load_config(data, set_ or ())
            with Terminal() as terminal:
                facts = profile_prepared(prepare_data(loaded, terminal.on_decoding))
        else:
            facts = profile_table(data)
        folder = output or Path(f"{data.name.split('.')[0]}-profile")
        page = write(facts, folder, f"Profile of {data.name}")
        for heading, table in tables(facts):
            print_table(heading, table.columns, [[table.shown(c) for c in r] for r in table.rows])
    typer.echo(
        f"{verdict(facts)}\nA page with heat maps: {page}; the numbers: {folder}/profile.json"
    )


@app.command()
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
    with _mendable():
        from polytask.assembly import METHODS, RECORD, merge_runs
        from polytask.run import Run

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
    typer.echo(f"Score the test part with: polytask evaluate {output}")


@app.command()
def compare(
    config: Annotated[Path | None, typer.Argument(help="A YAML file.")] = None,
    resume: Annotated[Path | None, typer.Option(help="A study's folder, to go on with.")] = None,
    study: Annotated[
        Path | None, typer.Option(help="The study's folder; default: studies/NAME-TIME.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes that train side by side.")] = 1,
    set_: Sets = None,
) -> None:
    """Does sharing help? Train every task alone and every way to share, and say whom it helps."""
    with _mendable():
        from polytask.config.load import load_config
        from polytask.study.crew import run_study
        from polytask.study.folder import Study, fresh_folder
        from polytask.study.judge import Judge
        from polytask.study_terminal import StudyTerminal, print_plan, print_verdicts

        if (config is None) == (resume is None):
            raise ConfigError("Give either a YAML file, or --resume with a study's folder.")
        if resume is not None and (set_ or study):
            raise ConfigError("A study keeps its settings: --set, --study go with a YAML file.")
        if resume is not None:
            found = Study.open(resume)
        else:
            loaded = load_config(config or Path(), set_ or ())
            typer.echo("Looking at the data, and timing a few steps of each candidate ...")
            found = Study.create(loaded, study or fresh_folder(loaded), sys.argv, workers)
        print_plan(found, workers)
        with StudyTerminal() as terminal:
            now = run_study(found, workers, terminal.look)
        if now.over:
            print_verdicts(found, Judge(found).verdicts())
            typer.echo(f"A page with figures: polytask report {found.path}")
    if not now.over:
        typer.echo(f"Stopped; nothing is lost. Go on with: polytask compare --resume {found.path}")
        raise typer.Exit(130)


@app.command()
def group(
    config: Annotated[Path, typer.Argument(help="A YAML file.")],
    measure: Annotated[
        str, typer.Option(help="cka, labels, subsets, lookahead, first-order or cosine.")
    ] = "cka",
    models: Annotated[
        int | None, typer.Option(help="The most models; default: half as many as tasks.")
    ] = None,
    overlapping: Annotated[
        bool, typer.Option(help="Let a task help in a model that does not predict it.")
    ] = False,
    epochs: Annotated[
        int | None, typer.Option(help="Epochs of trainings that explore; default: the file's.")
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
    with _mendable():
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


@app.command()
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
    with _mendable():
        from polytask.config.load import load_config
        from polytask.study.tuning import Search
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


@app.command()
def report(run: RunPath = None, runs: Runs = Path("runs")) -> None:
    """Write report.html into a run's or a comparison's folder: the verdict, what it rests on."""
    with _mendable():
        from polytask.report.study import study_page
        from polytask.report.training import report_run
        from polytask.run import Run
        from polytask.study.folder import Study
        from polytask.terminal import Terminal

        if run is not None and (run / "study.json").exists():
            page, folder = study_page(Study.open(run)), run
        else:
            chosen = Run.open(run) if run is not None else Run.newest(runs)
            with Terminal() as terminal:
                page, folder = report_run(chosen, terminal.on_decoding), chosen.path
        path = page.write(folder / "report.html")
    typer.echo(page.said)
    typer.echo(str(path))


@app.command()
def inspect(run: RunPath = None, runs: Runs = Path("runs")) -> None:
    """Look inside of a run: who shares what, who is like whom, who looks where."""
    with _mendable():
        from polytask.inspection.page import inspect_run
        from polytask.run import Run
        from polytask.terminal import Terminal

        chosen = Run.open(run) if run is not None else Run.newest(runs)
        with Terminal() as terminal:
            page, numbers = inspect_run(chosen, terminal.on_decoding)
        chosen.write_json("inspection.json", numbers)
        path = page.write(chosen.path / "inspection.html")
    typer.echo(page.lead)
    typer.echo(str(path))


@app.command()
def schema() -> None:
    """Print the JSON schema of the YAML file, for editors."""
    from polytask.config.schema import json_schema

    typer.echo(json.dumps(json_schema(), indent=2))


if __name__ == "__main__":
    main()

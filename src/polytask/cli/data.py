"""Commands that look at data and configuration, before anything is trained."""

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from polytask.cli.options import Sets, mendable
from polytask.errors import ConfigError


def check(config: Annotated[Path, typer.Argument(help="A YAML file.")], set_: Sets = None) -> None:
    """Look at a configuration and its data without training: files, columns, labels per task."""
    with mendable():
        from polytask.config.build import build_model
        from polytask.config.load import load_config
        from polytask.data_terminal import print_leaks, print_summary
        from polytask.survey.profile import leaks
        from polytask.terminal import Terminal
        from polytask.workflow import make_stream, prepare_data
        from polytask.workflow.conditions import require_trainable

        loaded = load_config(config, set_ or ())
        with Terminal() as terminal:
            prepared = prepare_data(loaded, terminal.on_decoding)
        model = build_model(loaded, prepared.inputs, prepared.tasks)
        print_summary(prepared.summary())
        print_leaks(leaks(prepared), told=prepared.summary()["texts"])
        typer.echo(make_stream(loaded, prepared, 0, 1).describe_epoch())
        typer.echo(f"{sum(p.numel() for p in model.parameters()):,} parameters")
        for said in require_trainable(loaded, model, prepared):
            typer.echo(f"warning: {said}")
        if loaded.compare is not None:
            from polytask.study.measuring import require_planned

            require_planned(loaded, prepared)
        if loaded.tune:
            from polytask.study.space import Space

            Space(loaded)


def init(
    data: Annotated[
        Path,
        typer.Argument(
            help="A table or a folder with its files, a treebank (.conllu), files with a word and "
            "its labels on each line (CoNLL), or a folder of pictures or sounds."
        ),
    ],
    targets: Annotated[
        str,
        typer.Option(
            help="The columns to predict, with commas between them. A * stands for any letters, "
            "first..last for columns in a row, and a - before a column leaves it out: '*,-id'."
        ),
    ] = "",
    columns: Annotated[
        str,
        typer.Option(
            help="The names of all columns, where the first line of a table is a row, or each line "
            "is a word; or of the parts of files' names, where these say labels, which marks "
            "divide, or runs of letters and digits, or so many letters each: speaker:2. _ leaves "
            "one out."
        ),
    ] = "",
    output: Annotated[Path | None, typer.Option(help="The YAML file to write.")] = None,
) -> None:
    """Write a configuration for your data: guesses of columns and tasks, with the reasons."""
    with mendable():
        from polytask.config.load import load_config
        from polytask.data.disguises import require_openable
        from polytask.run import written
        from polytask.survey.drafting import draft
        from polytask.survey.treebanks import draft_treebank, treebank_files
        from polytask.survey.word_columns import draft_words, word_files

        file = output or Path(f"{_stem(data)}.yaml")
        if file.exists():
            raise ConfigError(f"'{file}' is there already. Name another file with --output.")
        require_openable(data)
        wanted, names = _names(targets), _names(columns)
        treebank = treebank_files(data, names)
        words = {} if treebank else word_files(data)
        if treebank:
            text = draft_treebank(treebank, wanted, file.parent)
        elif words:
            text = draft_words(words, wanted, names, file.parent)
        else:
            text = draft(data, wanted, file, names)
        with written(file, "Name another file with --output."):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        load_config(file)
    typer.echo(f"{file} is written; the reasons are in its comments. Look at it, then:")
    typer.echo(f"  polytask check {file}\n  polytask train {file}")


def _stem(data: Path) -> str:
    """What data is called, without endings; `.` by the folder's own name."""
    return Path(os.path.abspath(data)).name.split(".")[0] or "data"


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def profile(
    data: Annotated[
        Path,
        typer.Argument(
            help="A YAML file, a table or a folder with its files, a treebank, files with a word "
            "on each line (CoNLL)."
        ),
    ],
    columns: Annotated[
        str,
        typer.Option(help="The names of all columns, where the first line of a table is a row."),
    ] = "",
    output: Annotated[
        Path | None, typer.Option(help="The folder for numbers, heat maps and a page.")
    ] = None,
    set_: Sets = None,
) -> None:
    """What data is like: labels and their overlap, balance, blanks, outliers, leaks."""
    with mendable():
        from polytask.config.load import load_config
        from polytask.data.disguises import require_openable
        from polytask.survey.profile import profile_data, profile_prepared
        from polytask.survey.showing import tables, verdict, write
        from polytask.terminal import Terminal, print_table
        from polytask.workflow import prepare_data

        require_openable(data)
        if data.suffix.lower() in (".yaml", ".yml"):
            if columns:
                raise ConfigError("--columns goes with a table; a YAML file names columns itself.")
            loaded = load_config(data, set_ or ())
            with Terminal() as terminal:
                facts = profile_prepared(prepare_data(loaded, terminal.on_decoding))
        else:
            facts = profile_data(data, _names(columns))
        folder = output or Path(f"{_stem(data)}-profile")
        page = write(facts, folder, f"Profile of {data.name}")
        for heading, table in tables(facts):
            print_table(heading, table.columns, [[table.shown(c) for c in r] for r in table.rows])
    typer.echo(
        f"{verdict(facts)}\nA page with heat maps: {page}; the numbers: {folder}/profile.json"
    )


def schema() -> None:
    """Print the JSON schema of the YAML file, for editors."""
    from polytask.config.schema import json_schema

    typer.echo(json.dumps(json_schema(), indent=2))

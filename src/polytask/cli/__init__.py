"""The command line: load, build, one library call, one table."""

import os

import typer

from polytask.cli.data import check, init, profile, schema
from polytask.cli.looking import inspect, report
from polytask.cli.running import evaluate, merge, predict, train
from polytask.cli.studies import compare, group, tune

app = typer.Typer(
    help="One model for many tasks: train, judge and use multi-task networks.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for command in (
    *(train, evaluate, predict, check, init, profile, merge),
    *(compare, group, tune, report, inspect, schema),
):
    app.command()(command)


def main() -> None:
    """Entry point; sets what has to be set before PyTorch is loaded."""
    # Threads that spin while they wait slow each other down many times over on busy cores.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    app()

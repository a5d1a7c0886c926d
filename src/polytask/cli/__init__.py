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
    # How often a waiting thread looks for work before it sleeps. Awake for long, threads take busy
    # cores from each other; asleep at once, waking them took a quarter of a step.
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    app()

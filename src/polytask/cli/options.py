"""What commands have in common: options, and what becomes of errors and warnings."""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from polytask.errors import PolytaskError

Config = Annotated[Path, typer.Argument(help="A YAML file.")]
Sets = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a key, such as training.epochs=5."),
]
Runs = Annotated[Path, typer.Option("--runs", help="The folder in which runs are kept.")]
# Of commands that keep what they have done, and look for it when they begin.
AGAIN = "Stopped; nothing that was finished is lost. The same command goes on."
RunPath = Annotated[Path | None, typer.Argument(help="A run's folder; default: the newest run.")]


@contextmanager
def mendable(stopped: str = "Stopped.") -> Iterator[None]:
    """Print what a person can mend, and warnings, without tracebacks and lines of our code.

    Args:
        stopped: What is said to who pressed Ctrl-C.
    """
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
        # Pillow's of pictures that are large and read all the same; of larger ones it's an error.
        warnings.filterwarnings("ignore", message=r"Image size \(\d+ pixels\) exceeds limit")
        try:
            yield
        except PolytaskError as error:
            console.print(f"[bold red]{error_in}[/] {escape(str(error))}", soft_wrap=True)
            raise typer.Exit(1) from error
        except PermissionError as error:  # of a file or folder beside the one that was named
            said = (
                f"{error.filename} cannot be opened: {error.strerror}. Allow it, or name another."
            )
            console.print(f"[bold red]{error_in}[/] {escape(said)}", soft_wrap=True)
            raise typer.Exit(1) from error
        except KeyboardInterrupt:
            if rank == 0:
                console.print(stopped, soft_wrap=True)
            raise typer.Exit(130) from None

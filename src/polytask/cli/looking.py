"""Commands that make a page of what was trained."""

from pathlib import Path

import typer

from polytask.cli.options import RunPath, Runs, mendable


def report(run: RunPath = None, runs: Runs = Path("runs")) -> None:
    """Write report.html into a run's or a comparison's folder: the verdict, what it rests on."""
    with mendable():
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


def inspect(run: RunPath = None, runs: Runs = Path("runs")) -> None:
    """Look inside of a run: who shares what, who is like whom, who looks where."""
    with mendable():
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

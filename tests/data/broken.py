"""A person's way in: what `polytask check` says of a folder, and whether a first step works."""

import io
import re
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from rich.console import Console

from polytask.config.build import build_model
from polytask.config.load import load_config
from polytask.data_terminal import print_leaks, print_summary
from polytask.errors import PolytaskError
from polytask.survey.profile import leaks
from polytask.tuning import require_validation
from polytask.workflow import make_stream, prepare_data, sample

# What other libraries say; a person should never read it.
FOREIGN = re.compile(r"Traceback|C error|codec can't|\[Errno|KeyError|pickle|thrift")

Breaks = Callable[[Path], str]


def check(folder: Path) -> tuple[bool, str]:
    """Whether training can begin with `folder/c.yaml`, and everything that is said."""
    said = io.StringIO()
    console = Console(file=said, width=10_000, emoji=False, highlight=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            config = load_config(folder / "c.yaml")
            prepared = prepare_data(config, None)
            require_validation(prepared)
        except PolytaskError as error:
            return False, str(error)
        print_summary(prepared.summary(), console)
        print_leaks(leaks(prepared), told=prepared.summary()["texts"], console=console)
        torch.manual_seed(0)
        model = build_model(config, prepared.inputs, prepared.tasks)
        model.fit_to(sample(prepared))
        batch = make_stream(config, prepared, 0, 1).batch(0)
        outputs = model(batch.inputs, [task.name for task in prepared.tasks])
    for task in prepared.tasks:
        losses = task.loss(outputs[task.name], batch.targets[task.name])
        assert losses[batch.present[task.name]].isfinite().all()
    return True, said.getvalue()


def put(folder: Path, name: str, content: str | bytes) -> None:
    """Write a file."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


def refused(folder: Path, breaks: Breaks, told: Sequence[str]) -> None:
    """Assert that broken data is refused, in our own words."""
    put(folder, "c.yaml", breaks(folder))
    begins, said = check(folder)
    assert not begins, said
    assert not FOREIGN.search(said), said
    for part in told:
        assert re.search(part, said), (part, said)


def let_in(folder: Path, breaks: Breaks, told: Sequence[str]) -> None:
    """Assert that training can begin, and that a person is told."""
    put(folder, "c.yaml", breaks(folder))
    begins, said = check(folder)
    assert begins, said
    for part in told:
        assert re.search(part, said), (part, said)


def cases(
    found: dict[str, tuple[Breaks, tuple[str, ...]]],
) -> pytest.MarkDecorator:
    """A parameter for each case, under its name."""
    return pytest.mark.parametrize(
        ("breaks", "told"), [pytest.param(*case, id=name) for name, case in found.items()]
    )

"""What a topology is made of, looked at first: names of tasks, and backbones that are new."""

from collections.abc import Callable, Sequence

from torch import nn

from polytask.backbones.base import Backbone

MakeBackbone = Callable[[], Backbone]


def task_names(tasks: Sequence[str]) -> tuple[str, ...]:
    """The names of the tasks.

    Raises:
        TypeError: If they are not a list of names.
        ValueError: If there is none, or one twice, or one with a dot, which stands for a step down
            in the names of weights.
    """
    names = tuple(tasks)
    if isinstance(tasks, str) or not all(isinstance(name, str) for name in names):
        raise TypeError(f"`tasks` should be a list of names, such as ['a', 'b']. Found {tasks!r}.")
    if not names or len(set(names)) < len(names):
        raise ValueError(f"`tasks` should be names, each of them once. Found {list(names)}.")
    wrong = [name for name in names if not name or "." in name]
    if wrong:
        raise ValueError(f"Names of tasks should not be empty and have no dot. Found {wrong}.")
    return names


def one(make: MakeBackbone) -> Backbone:
    """A backbone.

    Raises:
        TypeError: If `make` does not make backbones.
    """
    if isinstance(make, nn.Module):
        raise TypeError(
            "`make` should make a new backbone whenever it is called, such as "
            f"`lambda: SequentialBackbone(...)`. Found a {type(make).__name__}, made already."
        )
    made = make()
    if not isinstance(made, Backbone):
        raise TypeError(
            f"`make` should make backbones. Found a {type(made).__name__}. Stages of your own are "
            "one as `SequentialBackbone(stages, widths=(...))`, with their features' widths."
        )
    return made


def several(make: MakeBackbone, count: int) -> list[Backbone]:
    """Several backbones, none of which is another one again.

    Raises:
        TypeError: If `make` does not make backbones.
        ValueError: If it gives the same layers each time.
    """
    found: list[Backbone] = []
    known: set[int] = set()
    for _ in range(count):
        made = one(make)
        here = {id(p) for p in made.parameters()}
        if here and here <= known:
            raise ValueError(
                "`make` gives the same layers each time, so what should be apart would be one. "
                "Make the layers anew inside it."
            )
        known |= here
        found.append(made)
    return found


def by_task(make: MakeBackbone, tasks: Sequence[str]) -> dict[str, Backbone]:
    """A backbone for each task."""
    return dict(zip(tasks, several(make, len(tasks)), strict=True))

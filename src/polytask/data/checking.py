"""Do the names of sources, inputs, tasks and columns fit together?"""

from collections.abc import Mapping, Sequence

from polytask.data.inputs import Input
from polytask.data.labels import columns_of
from polytask.data.sources import Source, Table
from polytask.data.splits import Split
from polytask.data.tabular import TableInput
from polytask.errors import ConfigError, DataError, nearest
from polytask.tasks.base import Task


def check_names(
    sources: Mapping[str, Source], inputs: Mapping[str, Input], tasks: Sequence[Task]
) -> None:
    """Makes sure that inputs and tasks name sources and inputs that exist.

    Raises:
        ConfigError: If one does not, or a task has labels in a source that its input never reads.
    """
    for name, some in inputs.items():
        for source in some.columns:
            if source not in sources:
                raise ConfigError(
                    f"Input '{name}' reads source '{source}', which is not declared. "
                    f"{nearest(source, sources)}"
                )
    for task in tasks:
        if not task.target:
            raise ConfigError(
                f"Task '{task.name}' should name the column of its label under 'target'."
            )
        if task.input not in inputs:
            raise ConfigError(
                f"Task '{task.name}' reads input '{task.input}', which is not declared. "
                f"{nearest(task.input, inputs)}"
            )
        for source in task.target:
            if source not in inputs[task.input].columns:
                raise ConfigError(
                    f"Task '{task.name}' has its label in source '{source}', but its input "
                    f"'{task.input}' does not read that source. "
                    f"{nearest(source, inputs[task.input].columns)}"
                )
    unused = [s for s in sources if not any(s in i.columns for i in inputs.values())]
    if unused:
        raise ConfigError(f"No input reads source '{unused[0]}'. Remove it, or give it an input.")


def check_columns(table: Table, inputs: Mapping[str, Input], tasks: Sequence[Task]) -> None:
    """Makes sure that a source has the columns that inputs and tasks read from it.

    Raises:
        DataError: If it lacks one, or the column holds something else.
    """
    for name, some in inputs.items():
        named = some.columns.get(table.name, ())
        for column in (named,) if isinstance(named, str) else named:
            table.check_column(column, f"Input '{name}'", kind=some.media)
    for task in tasks:
        named = columns_of(task, table.name)
        if task.media is not None and len(named) > 1:
            raise ConfigError(
                f"Task '{task.name}' has one column of {task.media}s as its target. Found "
                f"{', '.join(named)}."
            )
        for column in named:
            table.check_column(column, f"Task '{task.name}'", kind=task.media)
            read = inputs[task.input]
            if isinstance(read, TableInput) and column in read.columns.get(table.name, ()):
                raise DataError(
                    f"Input '{task.input}' reads column '{column}' of {table.name}, which is what "
                    f"task '{task.name}' predicts from it. Take it out of the input's `columns`."
                )


def kept_from(
    source: str, name: str, tasks: Sequence[Task], splits: Split | Mapping[str, Split] | None
) -> set[str]:
    """The columns of a source that a `*` of an input should not stand for.

    Args:
        source: The source.
        name: The input.
        tasks: The tasks; the targets of those that read the input are kept from it.
        splits: The splits, whose columns of parts and groups are.
    """
    targets = {c for task in tasks if task.input == name for c in columns_of(task, source)}
    split = splits.get(source) if isinstance(splits, Mapping) else splits
    named = () if split is None else (split.column, split.group)
    return targets | {column for column in named if column is not None}

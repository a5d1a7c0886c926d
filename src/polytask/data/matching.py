"""Which columns of a table to predict each input of a run reads."""

import shlex
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

from polytask.data.inputs import Input
from polytask.data.parquet import nested
from polytask.data.table_rows import known_format
from polytask.data.tabular import TableInput
from polytask.data.text import TextInput
from polytask.errors import DataError, nearest

TEXT = "text"  # what the column of text is called where training had lists of words


def read_columns(inputs: Mapping[str, Input]) -> set[str]:
    """All columns that inputs read, of whatever source."""
    return {c for some in inputs.values() for of in _options(some) for c in of}


def matched(
    path: Path,
    names: Sequence[str],
    inputs: Mapping[str, Input],
    called: Mapping[str, str],
    *,
    keys: Collection[str] = (),
    lacking: Mapping[str, str] | None = None,
) -> dict[str, str | list[str]]:
    """The column, or columns, of a table that each input reads, for those that find theirs.

    Args:
        path: The table.
        names: Its columns.
        inputs: The inputs of a run.
        called: What columns of training are called in this table, where it is something else.
        keys: Columns by which others are joined.
        lacking: Of columns that training joined and that are not there, where they came from.

    Raises:
        DataError: If no input finds its columns, one finds some of them only, or `called` names a
            column that is not there or that nothing reads.
    """
    _require_called(path, names, {*read_columns(inputs), *keys}, called)
    lacking = lacking or {}
    columns: dict[str, str | list[str]] = {}
    for name, some in inputs.items():
        options = [[called.get(c, c) for c in of] for of in _options(some)]
        whole = next((o for o in options if all(c in names for c in o)), None)
        partly = next((o for o in options if any(c in names for c in o)), None)
        if whole is None and partly is not None:
            missing = next(c for c in partly if c not in names)
            raise DataError(
                f"Input '{name}' reads column '{missing}', which {path.name} does not have. "
                f"{lacking.get(missing) or nearest(missing, names)} If it is there under another "
                f"name: --column {shlex.quote(f'{missing}=NAME')}."
            )
        if whole is not None:
            columns[name] = whole if isinstance(some, TableInput) else whole[0]
    if not columns:
        wanted = "; ".join(
            f"{n}: {', '.join(str(c) for c in some.columns.values())}" for n, some in inputs.items()
        )
        more = f", ... ({len(names)} in all)" if len(names) > 20 else ""
        raise DataError(
            f"{path.name} has none of the columns that this run reads ({wanted}). Its columns: "
            f"{', '.join(names[:20])}{more}. {' '.join(_suggested(path, names, inputs))}"
            + "".join(f" Of '{name}': {why}" for name, why in islice(lacking.items(), 1))
        )
    return columns


def _require_called(
    path: Path, names: Sequence[str], read: Collection[str], called: Mapping[str, str]
) -> None:
    for column, name in called.items():
        if column not in read:
            raise DataError(
                f"--column {column}={name}: no input reads a column '{column}'. "
                f"{nearest(column, read)}"
            )
        if name not in names:
            raise DataError(
                f"--column {column}={name}: {path.name} has no column '{name}'. "
                f"{nearest(name, names)}"
            )


def _suggested(path: Path, names: Sequence[str], inputs: Mapping[str, Input]) -> Iterator[str]:
    """What to write where columns have other names."""
    encoded = nested(path, ()) if known_format(path) == "parquet" else {}
    media = [some for some in inputs.values() if some.media is not None]
    for some in media:
        (column,) = _options(some)[0]
        for name in encoded:
            yield f"If '{name}' holds the {some.media}s: --column {column}={name}."
    if not (media and encoded):
        column = _options(next(iter(inputs.values())))[0][0]
        yield f"If one is there under another name: --column {column}=NAME."


def _options(some: Input) -> list[list[str]]:
    """The columns of each source that an input was trained on, and what else may stand for them."""
    found = [[of] if isinstance(of, str) else list(of) for of in some.columns.values()]
    return found + ([[TEXT]] if isinstance(some, TextInput) else [])

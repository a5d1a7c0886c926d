"""Lines of predictions as a file."""

import csv
import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from polytask.errors import require


def write_table(
    lines: list[dict[str, Any]], output: Path | None, columns: Sequence[str] = ()
) -> None:
    """Write lines as CSV, JSON lines or Parquet, by the file's ending; CSV to standard output.

    A file is written whole or not at all: what was there before stays if the disk is full.

    Args:
        lines: What is written.
        output: The file; None for standard output.
        columns: Columns that are there in any case.
    """
    columns = list(dict.fromkeys([*columns, *(key for line in lines for key in line)]))
    if output is None:
        _write(lines, None, columns)
        return
    output = output.resolve()  # What a link leads to.
    scratch = output.with_name(f".{output.stem}.{os.getpid()}{output.suffix}")
    try:
        _write(lines, scratch, columns)
        os.replace(scratch, output)
    finally:
        scratch.unlink(missing_ok=True)


def _write(lines: list[dict[str, Any]], output: Path | None, columns: Sequence[str]) -> None:
    kind = ".csv" if output is None else output.suffix.lower()
    if kind == ".parquet":
        require("pyarrow", "train")
        import pyarrow as pa
        import pyarrow.parquet as pq

        full = [{column: line.get(column) for column in columns} for line in lines]
        found = pa.Table.from_pylist(full) if full else pa.table({c: pa.nulls(0) for c in columns})
        pq.write_table(found, output)
    else:
        with _opened(output) if output else _standard_output() as file:
            if kind == ".jsonl":
                file.writelines(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
            else:
                writer = csv.DictWriter(file, columns)
                writer.writeheader()
                writer.writerows(lines)


def _opened(output: Path) -> Any:
    """A file for text in UTF-8, whatever the machine's habit; halves of letters are written out."""
    return output.open("w", newline="", encoding="utf-8", errors="backslashreplace")


@contextmanager
def _standard_output() -> Iterator[Any]:
    """Standard output; ends the program, without a word, once its reader has enough (`| head`)."""
    try:
        yield sys.stdout
        sys.stdout.flush()
    except BrokenPipeError:
        # What is left in the buffer would be written once more at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None

"""Tables as WEKA and Mulan write them: ARFF, alone or in a zip."""

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from polytask.data.disguises import require_different, require_file
from polytask.data.places import content_key, file_key
from polytask.data.sources import Source, Table
from polytask.errors import ConfigError, DataError, nearest, require

if TYPE_CHECKING:
    import pandas

_ENDINGS = {"-train": "train", "-test": "test"}


class ArffFile(Source):
    """Rows of an ARFF file with numbers and named values; `?` is blank.

    Names that end in `-train` and `-test` are the publisher's split, for `split: {fixed: true}`.
    Sparse files and texts are not read.

    Args:
        path: The file or files, or one zip.
        members: Which files of the zip.
    """

    def __init__(self, *, path: Path | list[Path], members: list[str] | None = None) -> None:
        self.paths = [Path(p).expanduser() for p in (path if isinstance(path, list) else [path])]
        self.members = list(members or [])
        if self.members and len(self.paths) != 1:
            raise ConfigError("`members` are files of one zip: `path` should name that alone.")
        require_different(self.paths)
        if not self.paths:
            raise ConfigError("`path` should name at least one file.")

    def load(self) -> Table:
        """Reads all rows."""
        made = require("pandas", "train")
        frames: list[pandas.DataFrame] = []
        parts: list[str | None] = []
        places: list[str] = []
        for name, text in self._texts():
            frame = _frame(name, text)
            if frames and list(frame.columns) != list(frames[0].columns):
                raise DataError(f"{name} has other attributes than the file before it.")
            frames.append(frame)
            ending = next((e for e in _ENDINGS if Path(name).stem.endswith(e)), "")
            parts += [_ENDINGS.get(ending)] * len(frame)
            places += [f"{name} row {k + 1} of its data" for k in range(len(frame))]
        split = made.Series(parts, dtype=object) if all(parts) else None
        key = content_key(["arff", *map(file_key, self.paths), self.members])
        whole = made.concat(frames, ignore_index=True)
        return Table(self.paths[0].name, whole, {}, key, places.__getitem__, split)

    def _texts(self) -> Iterator[tuple[str, str]]:
        """The names and the texts of the files."""
        for path in self.paths:
            require_file(path)
        if not self.members:
            for path in self.paths:
                yield path.name, _decoded(path.name, path.read_bytes())
            return
        try:
            with zipfile.ZipFile(self.paths[0]) as archive:
                for member in self.members:
                    if member not in archive.namelist():
                        raise DataError(
                            f"{self.paths[0].name} has no file '{member}'. "
                            + nearest(member, archive.namelist())
                        )
                    yield member, _decoded(member, archive.read(member))
        except zipfile.BadZipFile as error:
            raise DataError(f"{self.paths[0]} is not a whole zip archive ({error}).") from error


def _decoded(name: str, content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{name} is not text in UTF-8 ({error}).") from error


def _frame(name: str, text: str) -> "pandas.DataFrame":
    made = require("pandas", "train")
    arff = require("scipy.io.arff", "tables")
    try:
        rows, meta = arff.loadarff(io.StringIO(text))
    except (arff.ArffError, NotImplementedError, ValueError, StopIteration) as error:
        raise DataError(
            f"{name} cannot be read as ARFF: {error}. Sparse rows and attributes of type string "
            "are not read: write it as CSV."
        ) from error
    frame: pandas.DataFrame = made.DataFrame(rows)
    for column, kind in zip(meta.names(), meta.types(), strict=True):
        if kind == "nominal":
            cells = [cell.decode() for cell in frame[column]]
            frame[column] = made.Series([None if c == "?" else c for c in cells], dtype=object)
    return frame

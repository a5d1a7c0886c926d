"""Pictures or sounds in folders that bear the names of their classes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from polytask.data.disguises import require_folder
from polytask.data.files import list_media
from polytask.data.media import FileMedia
from polytask.data.places import content_key, files_key
from polytask.data.sources import MediaKind, Source, Table
from polytask.data.splits import part_named
from polytask.errors import DataError, require

_COLUMN: dict[MediaKind, str] = {"image": "image", "sound": "audio"}


class ClassFolders(Source):
    """Files whose folder is their label: `cat/1.png`, or `train/cat/1.png` with parts above.

    Columns: `image` or `audio`, `label` (the folder's name), `path`. Where all folders at the top
    are parts (train, val, test or a synonym), they are the publisher's split.

    Args:
        path: The folder.
        media: Whether pictures or sounds are meant, where there are both.
    """

    def __init__(self, *, path: Path, media: Literal["image", "sound"] | None = None) -> None:
        self.path = Path(path).expanduser()
        self.media = media

    def load(self) -> Table:
        """Lists the files, by name.

        Raises:
            DataError: If there are none, both pictures and sounds, files outside of folders, or
                classes without a file.
        """
        pandas = require("pandas", "train")
        require_folder(self.path)
        found = list_media(self.path)
        kinds = [kind for kind in found if found[kind] and self.media in (None, kind)]
        if len(kinds) != 1:
            raise DataError(
                f"{self.path} holds pictures and sounds: say which under `media`."
                if kinds
                else f"{self.path} holds no {self.media or 'picture or sound'} that can be read."
            )
        paths = found[kinds[0]]
        names = [p.relative_to(self.path) for p in paths]
        parts = [part_named(name.parts[0]) if len(name.parts) > 2 else None for name in names]
        self._require_parts(names, parts)
        inside = all(part is not None for part in parts)
        depth = 1 if inside else 0
        stray = next((n for n in names if len(n.parts) < depth + 2), None)
        if stray is not None:
            raise DataError(
                f"{self.path}: {stray} should be in a folder that bears its label's name."
            )
        labels = [name.parts[depth] for name in names]
        self._require_files(depth, set(labels))
        frame = pandas.DataFrame({"label": labels, "path": [n.as_posix() for n in names]})
        media = FileMedia(kinds[0], paths)
        key = content_key(["folders", [n.as_posix() for n in names], files_key(paths)])
        split = pandas.Series(parts, dtype=object) if inside else None
        return Table(self.path.name, frame, {_COLUMN[kinds[0]]: media}, key, media.where, split)

    def _require_parts(self, names: Sequence[Path], parts: Sequence[str | None]) -> None:
        """Make sure that folders at the top are all parts or all classes.

        Raises:
            DataError: If some are parts with classes in them and some are not.
        """
        tops = {name.parts[0]: part for name, part in zip(names, parts, strict=True)}
        others = [top for top, part in tops.items() if part is None]
        if len(others) < len(tops) and others:
            known = ", ".join(top for top in tops if top not in others)
            raise DataError(
                f"{self.path / others[0]} should be named for a part (train, validation, test), as "
                f"{known} beside it. Rename it; if all are classes, put no folders in them."
            )

    def _require_files(self, depth: int, labels: set[str]) -> None:
        """Make sure that no class's folder is empty; hidden folders do not count."""
        pattern = "/".join(["*"] * (depth + 1))
        for folder in sorted(self.path.glob(pattern)):
            shown = folder.is_dir() and not folder.name.startswith((".", "__"))
            if shown and folder.name not in labels:
                raise DataError(
                    f"{folder} holds no file that can be read. Fill it, or remove the folder."
                )

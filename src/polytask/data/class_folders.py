"""Pictures, sounds or texts whose folders, or whose names, are their labels."""

import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from polytask.data.disguises import require_encoding, require_folder
from polytask.data.file_texts import FileTexts
from polytask.data.files import (
    files_in,
    files_inside,
    list_media,
    list_texts,
    read_text_file,
    warn_of_unread,
)
from polytask.data.media import FileMedia
from polytask.data.part_lists import called, parts_listed, require_one_part
from polytask.data.places import content_key, files_key
from polytask.data.sources import Media, MediaKind, Source, Table
from polytask.data.splits import part_begun, part_named
from polytask.errors import ConfigError, DataError, nearest, require

_COLUMN: dict[MediaKind, str] = {"image": "image", "sound": "audio"}


class ClassFolders(Source):
    """Files whose folder is their label: `cat/1.png`, or `train/cat/1.png` with parts above.

    Columns: `image`, `audio` or `text` (of files .txt, where there is neither picture nor sound),
    `label` (the folder's name), `path`. Where all folders at the top
    are parts (train, val, test or a synonym), they are the publisher's split. With `texts`,
    pictures and sounds have a `text` each, in folders of any depth that are no labels, and names of
    parts' folders may go on: `train-clean-100`.

    Args:
        path: The folder.
        media: Whether pictures, sounds or texts are meant, where there are several. Texts in no
            class's folder are left out.
        without: Folders that are no labels, and are left out, such as one of files without.
        encoding: How letters of texts are stored.
        pattern: Where the names of files say the labels: a regular expression that all of a
            file's path fits, from the folder on and without the ending; folders of parts come
            before it. Each named group is a column, in place of `label`, blank where it takes no
            part. `(?P<digit>[0-9])_(?P<speaker>[a-z]+)_.*` reads `7_jackson_32.wav`; where files
            are in folders, `[^/]+/` or a group of it goes before. Files that do not fit are left
            out and counted with `on_bad: skip`, if they are fewer than half.
        texts: Which files hold what is said in sounds, or written about pictures: `*.txt`, each
            that of the file whose name the `*` stands for, of several in the nearest folder; with
            `separator`, `*.trans.txt` or `prompts.txt`, with a line for each file. Names may be cut
            at the last `_`, as `p225_001` of `p225_001_mic1`, if no file is called so. Files
            without one have no text; texts of files that are not there are left out and counted.
        separator: What stands between a file's name and its text, where these have a line for
            each: a blank in `19-198-0000 NORTHANGER ABBEY`.
        lists: Where the files of each part are listed, a file on each line, from the folder on:
            `{part}_list.txt`. Those in no list are left out and counted; if none lists files to
            train on, they are these.
    """

    def __init__(
        self,
        *,
        path: Path,
        media: Literal["image", "sound", "text"] | None = None,
        without: list[str] | None = None,
        encoding: str = "utf-8",
        pattern: str | None = None,
        texts: str | None = None,
        separator: str | None = None,
        lists: str | None = None,
    ) -> None:
        self.lists = None if lists is None else require_one_part(lists)
        self.path = Path(path).expanduser()
        self.media = media
        self.without = list(without or ())
        self.encoding = require_encoding(encoding)
        self.pattern = None if pattern is None else _compiled(pattern)
        if texts is None and separator is not None:
            raise ConfigError("`separator` is about `texts`. Set both, or leave it out.")
        self.texts = None if texts is None else FileTexts(texts, separator, encoding)

    def load(self) -> Table:
        """Lists the files, by name.

        Raises:
            DataError: If there are none, both pictures and sounds, files outside of folders,
                classes without a file, or half of the names do not fit the pattern.
        """
        pandas = require("pandas", "train")
        require_folder(self.path)
        kind, paths = self._listed()
        names = [p.relative_to(self.path) for p in paths]
        parts = self.parts(names)
        if self.pattern is None or self.texts is not None:
            self._require_parts(names, parts)
        inside = all(part is not None for part in parts)
        if self.lists is not None:
            names, parts = self._parts_of_lists(self.lists, names, inside=inside)
            paths, inside = [self.path / name for name in names], False
        fields, unfit = self._columns(names, 1 if inside else 0)
        kept = [k for k in range(len(names)) if k not in unfit]
        paths, names = [paths[k] for k in kept], [names[k] for k in kept]
        parts = [parts[k] for k in kept]
        shown = [n.as_posix() for n in names]
        columns = {**fields, "path": shown}
        reading = [self.pattern.pattern] if self.pattern else []
        media: dict[str, Media] = {}
        if "text" in fields and (kind == "text" or self.texts):
            raise ConfigError(
                "`pattern` names a group 'text', which is what files hold. Name it otherwise."
            )
        if kind == "text":
            columns["text"] = [read_text_file(path, self.encoding) for path in paths]
            reading += [self.encoding]
        else:
            media = {_COLUMN[kind]: FileMedia(kind, paths)}
        if self.texts is not None:
            columns["text"], files = self.texts.read(self.path, names)
            reading += ["texts", files_key(files), str(self.texts.separator), self.encoding]
        if self.lists is not None:
            reading += ["lists", *map(str, parts)]
        key = content_key(["folders", shown, files_key(paths), *reading])
        split = pandas.Series(parts, dtype=object) if inside or self.lists else None
        frame = pandas.DataFrame(columns)
        warn_of_unread(self.path)
        return Table(
            self.path.name,
            frame,
            media,
            key,
            lambda row: str(paths[row]),
            split,
            unfit=[(str(self.path / name), why) for name, why in unfit.values()],
        )

    def parts(self, names: Sequence[Path]) -> list[str | None]:
        """The part that each file is in by its folder at the top, None if by none.

        Args:
            names: The files, from the folder on.
        """
        if self.texts is not None:  # a folder alone that names another part is no split
            found = [part_begun(name.parts[0]) if len(name.parts) > 1 else None for name in names]
            return found if "train" in found else [None] * len(names)
        least = 2 if self.pattern else 3  # a part's folder, a class's, and the file
        return [part_named(name.parts[0]) if len(name.parts) >= least else None for name in names]

    def _parts_of_lists(
        self, lists: str, names: Sequence[Path], *, inside: bool
    ) -> tuple[list[Path], list[str | None]]:
        """The files that are in a part by a list, and their parts.

        Raises:
            DataError: If folders are parts as well, there is no list, or a file is in two.
        """
        if inside:
            raise DataError(
                f"{self.path}: folders at the top are parts, and so are `lists`. Leave these out, "
                "or name a folder without parts."
            )
        texts = [name.as_posix() for name in names]
        found = parts_listed(self.path, lists, called(texts))
        kept = [name for name, text in zip(names, texts, strict=True) if text in found]
        left = len(names) - len(kept)
        if left:
            warnings.warn(
                f"left out {left:,} of {len(names):,} files of {self.path} that are in no list.",
                stacklevel=2,
            )
        return kept, [found[name.as_posix()] for name in kept]

    def _listed(self) -> tuple[MediaKind | Literal["text"], list[Path]]:
        """What the files are, and which are in folders that are labels.

        Raises:
            DataError: If there are none, or pictures and sounds.
        """
        found: dict[MediaKind | Literal["text"], list[Path]] = {}
        found |= dict(list_media(self.path).items())
        if self.texts is not None and (self.media == "text" or not any(found.values())):
            raise DataError(
                f"`texts` says what is in pictures or sounds, of which {self.path} has none. "
                f"{files_inside(self.path)}"
            )
        if self.media == "text" or not any(found.values()):
            found["text"] = _in_folders(self.path, list_texts(self.path))
        kinds = [kind for kind in found if found[kind] and self.media in (None, kind)]
        if len(kinds) != 1:
            raise DataError(
                f"{self.path} holds pictures and sounds: say which under `media`."
                if kinds
                else f"{self.path} holds no {self.media or 'picture or sound'} that can be read. "
                f"{files_inside(self.path)}"
            )
        left = [p for p in found[kinds[0]] if not self._is_without(p)]
        self._require_without(found[kinds[0]])
        if not left:
            raise DataError(f"`without` leaves nothing of {self.path}.")
        return kinds[0], left

    def _is_without(self, path: Path) -> bool:
        return not set(self.without).isdisjoint(path.relative_to(self.path).parts[:-1])

    def _require_without(self, paths: Sequence[Path]) -> None:
        """Make sure that folders that are to be left out are there."""
        folders = {part for p in paths for part in p.relative_to(self.path).parts[:-1]}
        wrong = next((name for name in self.without if name not in folders), None)
        if wrong is not None:
            raise DataError(
                f"`without` names a folder '{wrong}', which {self.path} does not have. "
                f"{nearest(wrong, sorted(folders))}"
            )

    def _columns(
        self, names: Sequence[Path], depth: int
    ) -> tuple[dict[str, Sequence[str | None]], dict[int, tuple[Path, str]]]:
        """What folders or names say, by column, and which names do not fit the pattern, and why.

        Args:
            names: The files.
            depth: How many folders above are parts.
        """
        if self.pattern is not None:
            return self._fields(self.pattern, names, depth)
        if self.texts is not None:
            return {}, {}
        stray = next((n for n in names if len(n.parts) < depth + 2), None)
        if stray is not None:
            raise DataError(
                f"{self.path}: {stray} should be in a folder that bears its label's name. If names "
                "of files say the labels, say how under `pattern`."
            )
        labels = [name.parts[depth] for name in names]
        self._require_files(depth, set(labels))
        return {"label": labels}, {}

    def _fields(
        self, pattern: re.Pattern[str], names: Sequence[Path], depth: int
    ) -> tuple[dict[str, Sequence[str | None]], dict[int, tuple[Path, str]]]:
        """What files' paths say; those that do not fit the pattern are told apart.

        Raises:
            DataError: If half of them do not fit it.
        """
        fitting: list[dict[str, str | None]] = []
        unfit: dict[int, tuple[Path, str]] = {}
        for k, name in enumerate(names):
            below = Path(*name.parts[depth:]).with_suffix("").as_posix()
            match = pattern.fullmatch(below)
            if match is not None:
                fitting.append(match.groupdict())
                continue
            unfit[k] = (name, f"all of '{below}' should match the pattern '{pattern.pattern}'")
        if 2 * len(unfit) >= len(names):
            name, why = next(iter(unfit.values()))
            raise DataError(
                f"{self.path / name} does not fit `pattern`: {why}. So it is with {len(unfit):,} "
                f"of {len(names):,} names: change the pattern."
            )
        return {key: [fields[key] for fields in fitting] for key in pattern.groupindex}, unfit

    def _require_parts(self, names: Sequence[Path], parts: Sequence[str | None]) -> None:
        """Make sure that folders at the top are all parts or all classes.

        Raises:
            DataError: If some are parts with classes in them and some are not.
        """
        tops = {name.parts[0]: part for name, part in zip(names, parts, strict=True)}
        others = [top for top, part in tops.items() if part is None]
        if len(others) < len(tops) and others:
            known = ", ".join(top for top in tops if top not in others)
            classes = "" if self.texts else "; if all are classes, put no folders in them"
            raise DataError(
                f"{self.path / others[0]} should be named for a part (train, validation, test), as "
                f"{known} beside it. Rename it{classes}."
            )

    def _require_files(self, depth: int, labels: set[str]) -> None:
        """Make sure that no class's folder is empty; hidden folders do not count."""
        pattern = "/".join(["*"] * (depth + 1))
        for folder in sorted(self.path.glob(pattern)):
            shown = folder.is_dir() and not folder.name.startswith((".", "__"))
            shown = shown and folder.name not in self.without
            if shown and folder.name not in labels:
                inside = next(files_in(folder), None)
                raise DataError(
                    f"{folder} holds no file that can be read. Fill it, or remove the folder."
                    if inside is None
                    else f"{folder} holds no file that can be read, as folders that are labels do, "
                    f"but {inside.name}. Fill it, or move it elsewhere; if it says what the others "
                    "show, write a table with a line for each of these: its path, and its labels."
                )


def _in_folders(folder: Path, texts: Sequence[Path]) -> list[Path]:
    """Texts that are in folders of classes, below those of parts; not what is said about all."""
    names = [text.relative_to(folder) for text in texts]
    deep = [name for name in names if len(name.parts) > 2]
    least = 3 if deep and all(part_named(name.parts[0]) for name in deep) else 2
    return [text for text, name in zip(texts, names, strict=True) if len(name.parts) >= least]


def _compiled(pattern: str) -> re.Pattern[str]:
    """A pattern whose named groups can be columns.

    Raises:
        ConfigError: If it is no regular expression, or has no named group or one of a name that
            another column has.
    """
    try:
        found = re.compile(pattern)
    except re.error as error:
        raise ConfigError(
            f"`pattern` should be a regular expression: {error}. Found '{pattern}'."
        ) from error
    if not found.groupindex:
        raise ConfigError(
            "`pattern` should have a named group for each column, as '(?P<label>[a-z]+)_[0-9]+' "
            f"has. Found '{pattern}'."
        )
    taken = next((name for name in found.groupindex if name in ("path", *_COLUMN.values())), None)
    if taken is not None:
        raise ConfigError(
            f"`pattern` names a group '{taken}', which is a column of its own. Name it otherwise."
        )
    return found

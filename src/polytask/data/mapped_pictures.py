"""Pictures in one place and, under the same names in another, a map of each one's pixels.

Letters: N rows.
"""

import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

from polytask.data.disguises import require_folder
from polytask.data.files import files_in, is_text, warn_of_unread
from polytask.data.media import PICTURE_SUFFIXES, FileMedia
from polytask.data.part_lists import parts_listed, require_one_part
from polytask.data.places import content_key, files_key
from polytask.data.sources import Source, Table
from polytask.data.splits import part_named
from polytask.errors import ConfigError, DataError, require

_ARRAYS = (".npy", ".npz")
_SHOWN = 3
# What names a row: its part (empty if names say none), and its name.
Key = tuple[str, str]


class MappedPictures(Source):
    """Pictures of one place, and maps of their pixels that bear the same names in another.

    Columns: `image`, those of `maps`, `path` (of the picture) and `name`. Pictures without any map,
    and maps without a picture, are left out and counted.

    Places are written from the folder on and without a file's ending. `{name}` stands for what a
    picture and its maps have in common, and `{part}` for a folder of a part (train, val, test or a
    synonym), which is then the publisher's split: `{part}/{name}` and `{part}annot/{name}` read
    `train/1.png` and `trainannot/1.png`. Any other word in braces stands for a folder, or a part of
    a name, that is a column too, such as `building` of `rgb/{building}/{name}_rgb`; it has to be in
    all places.

    Args:
        path: The folder.
        pictures: Where pictures are, such as `images/{name}`.
        maps: Where maps are, by the name that their column gets: `{mask: "masks/{name}_mask"}`.
            They are pictures of numbers, `.npy` or `.npz`.
        lists: Where the names of each part are listed, a name on each line:
            `ImageSets/Segmentation/{part}.txt`. Pictures that are in no list are left out; if none
            lists those to train on, they are these.
    """

    def __init__(
        self, *, path: Path, pictures: str, maps: dict[str, str], lists: str | None = None
    ) -> None:
        self.path = Path(path).expanduser()
        self.pictures = _compiled("pictures", pictures)
        self.maps = {column: _compiled(f"maps.{column}", at) for column, at in maps.items()}
        self.fields = _fields(self.pictures)
        for column, at in self.maps.items():
            if _fields(at) != self.fields:
                raise ConfigError(
                    f"`pictures` and `maps.{column}` should have the same words in braces. Found "
                    f"'{pictures}' and '{maps[column]}'."
                )
        taken = next((c for c in [*maps, *self.fields] if c in ("image", "path")), None)
        taken = next((c for c in maps if c in ("name", *self.fields)), taken)
        if taken is not None or not maps:
            raise ConfigError(
                "`maps` should name at least one column, and none 'image', 'path', 'name' or what "
                f"is in braces. Found {', '.join([*maps, *self.fields]) or 'nothing'}."
            )
        if lists is not None and "{part}" in pictures:
            raise ConfigError(
                "Lists and folders both say which part a picture is in: leave `lists` out, or "
                f"'{{part}}' of `pictures`. Found '{lists}' and '{pictures}'."
            )
        self.lists = None if lists is None else require_one_part(lists)

    def load(self) -> Table:
        """Lists the files, by name.

        Raises:
            DataError: If no picture has a map, two files have one name, or two lists one picture.
        """
        pandas = require("pandas", "train")
        require_folder(self.path)
        files = sorted(f for f in files_in(self.path) if not f.name.startswith("."))
        shown = [f for f in files if f.suffix.lower() in PICTURE_SUFFIXES and is_text(f)]
        pictures = self._placed(self.pictures, shown)
        arrays = [f for f in files if f.suffix.lower() in _ARRAYS and is_text(f)]
        maps = {c: self._placed(at, [*shown, *arrays]) for c, at in self.maps.items()}
        # Where masks are beside their pictures, `{name}` of pictures fits masks, too.
        masks = {of[key] for of in maps.values() for key in of if key in pictures}
        pictures = {key: file for key, file in pictures.items() if file not in masks}
        keys = [key for key in sorted(pictures) if any(key in of for of in maps.values())]
        self._require_pairs(keys, pictures, maps)
        parts = [part for part, _ in keys]
        if self.lists is not None:
            listed = self._listed({name for _, name in keys})
            keys = [key for key in keys if key[1] in listed]
            parts = [listed[name] for _, name in keys]
        named = [name for _, name in keys]
        paths = [pictures[key] for key in keys]
        columns = {c: [of.get(key) for key in keys] for c, of in maps.items()}
        media = {"image": FileMedia("image", paths)}
        media |= {column: FileMedia("map", of) for column, of in columns.items()}
        every = [*paths, *(f for of in columns.values() for f in of if f is not None)]
        texts = [p.relative_to(self.path).as_posix() for p in paths]
        split = pandas.Series(parts, dtype=object) if all(parts) else None
        key = content_key(["maps", texts, parts, sorted(maps), files_key(every)])
        frame = pandas.DataFrame({"path": texts, "name": named})
        for at, field in enumerate(self.fields):
            frame[field] = [name.split("/")[at] for name in named]
        warn_of_unread(self.path)
        return Table(self.path.name, frame, media, key, media["image"].where, split)

    def _placed(self, place: re.Pattern[str], files: Sequence[Path]) -> dict[Key, Path]:
        """The files of a place by their names.

        Raises:
            DataError: If two have the same.
        """
        found: dict[Key, Path] = {}
        for file in files:
            match = place.fullmatch(file.relative_to(self.path).with_suffix("").as_posix())
            if match is None:
                continue
            groups = match.groupdict()
            part = part_named(groups["part"]) if "part" in groups else ""
            if part is None:
                continue
            name = "/".join([*(groups[field] for field in self.fields), groups["name"]])
            other = found.setdefault((part, name), file)
            if other != file:
                raise DataError(
                    f"{other} and {file.name} have the same name, so that it is not known which is "
                    "meant. Remove one of them."
                )
        return found

    def _require_pairs(
        self,
        keys: Sequence[Key],
        pictures: Mapping[Key, Path],
        maps: Mapping[str, Mapping[Key, Path]],
    ) -> None:
        """Make sure that there are pictures with maps, and say which have none."""
        if not keys:
            counts = [f"`pictures` finds {len(pictures):,}"]
            counts += [f"`maps.{column}` {len(of):,}" for column, of in maps.items()]
            some = next(iter(pictures.values()), None)
            raise DataError(
                f"{self.path}: no picture has a map of its name: {', '.join(counts)}"
                + (f". The first picture is {some.relative_to(self.path)}" if some else "")
                + ". Correct the places; they are written from the folder on, without endings."
            )
        alone = [f for key, f in pictures.items() if not any(key in of for of in maps.values())]
        _warn(self.path, alone, "picture", "without a map")
        for column, of in maps.items():
            _warn(self.path, [f for k, f in of.items() if k not in pictures], column, "no picture")

    def _listed(self, names: set[str]) -> dict[str, str]:
        """The part of each name.

        Raises:
            DataError: If there are no lists, or a name is in two.
        """
        assert self.lists is not None
        found = parts_listed(self.path, self.lists, {name: name for name in names})
        left = len(names) - len(found)
        if left:
            warnings.warn(
                f"left out {left:,} of {len(names):,} pictures of {self.path} that are in no list.",
                stacklevel=2,
            )
        return found


def _warn(folder: Path, files: Sequence[Path], what: str, why: str) -> None:
    if files:
        some = ", ".join(f.relative_to(folder).as_posix() for f in files[:_SHOWN])
        warnings.warn(
            f"left out {len(files):,} of {folder} ({what}: {why}), such as {some}.", stacklevel=4
        )


def _fields(place: re.Pattern[str]) -> list[str]:
    """The words in braces of a place, but for `name` and `part`."""
    return sorted(set(place.groupindex) - {"name", "part"})


def _compiled(setting: str, place: str) -> re.Pattern[str]:
    """A place as a regular expression with a group `name`, and perhaps `part` and others.

    Raises:
        ConfigError: If it does not say what is in common.
    """
    words = re.findall(r"\{(.*?)\}", place)
    wrong = next((w for w in words if not w.isidentifier() or words.count(w) > 1), None)
    if wrong is not None and wrong not in ("name", "part"):
        raise ConfigError(
            f"`{setting}`: a word in braces should be a column's name of letters, and be there "
            f"once. Found '{{{wrong}}}' in '{place}'."
        )
    if place.count("{name}") != 1 or place.count("{part}") > 1:
        raise ConfigError(
            f"`{setting}` should have one '{{name}}', as 'images/{{name}}' has, and at most one "
            f"'{{part}}'. Found '{place}'."
        )
    pattern = re.escape(place).replace(r"\{name\}", "(?P<name>.+)")
    return re.compile(re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", pattern))

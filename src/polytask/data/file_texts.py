"""Texts of files: in a file of the same name each, or in lines that begin with files' names.

Letters: N files.
"""

import warnings
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from polytask.data.files import files_in, is_text, read_text_file
from polytask.data.media import PICTURE_SUFFIXES, SOUND_SUFFIXES
from polytask.errors import ConfigError, DataError

_SHOWN = 3
_ENDINGS = (*PICTURE_SUFFIXES, *SOUND_SUFFIXES)


@dataclass(frozen=True)
class Said:
    """A text, and of which file.

    Attributes:
        name: The file's name without its ending.
        folders: The folders that it is said in, from the source's on.
        text: The text; None if there is but a name.
        where: The text's own file, and its line.
    """

    name: str
    folders: tuple[str, ...]
    text: str | None
    where: str


class FileTexts:
    """Where the texts of files are, and how they are written.

    Args:
        pattern: Which files hold texts, such as `*.txt`, at any depth.
        separator: What stands between a file's name and its text, where these files have a line
            for each; None where each file is the text of the one whose name the `*` stands for.
        encoding: How their letters are stored.

    Raises:
        ConfigError: If no `*` says what a file is the text of.
    """

    def __init__(self, pattern: str, separator: str | None, encoding: str) -> None:
        last = pattern.rpartition("/")[2]
        if separator is None and last.count("*") != 1:
            raise ConfigError(
                "`texts` should have one '*' for the name of the file that a text is of, as "
                f"'*.txt' has; or set `separator`, if lines begin with these names. Found "
                f"'{pattern}'."
            )
        if separator == "":
            raise ConfigError("`separator` should be what stands between a name and its text.")
        self.pattern, self.separator, self.encoding = pattern, separator, encoding
        self._before, _, self._after = last.partition("*")

    def files(self, folder: Path) -> list[Path]:
        """The files of texts in a folder, sorted."""
        found = [f for f in files_in(folder) if is_text(f) and not f.name.startswith(".")]
        return sorted(
            f
            for f in found
            if f.suffix.lower() not in _ENDINGS and f.relative_to(folder).match(self.pattern)
        )

    def read(self, folder: Path, names: Sequence[Path]) -> tuple[list[str | None], list[Path]]:
        """The text of each file, None where it has none; and the files that hold them.

        What is said of files that are not there is told and counted.

        Args:
            folder: The folder.
            names: `[N]` the files, from the folder on.

        Raises:
            DataError: If there is no text, none is of a file, or a file has two.
        """
        files = self.files(folder)
        if not files:
            raise DataError(f"`texts` finds no file '{self.pattern}' in {folder}.")
        said = [one for file in files for one in self._said(file, folder)]
        texts = matched(names, said)
        known = set(called([name.stem for name in names], {one.name for one in said}))
        astray = [one for one in said if one.name not in known]
        if not any(text is not None for text in texts):
            some = f"{said[0].where} is of '{said[0].name}'" if said else "they are blank"
            how = "" if self.separator is None else f" with {self.separator!r} after each name"
            raise DataError(
                f"{folder}: `texts` ('{self.pattern}'{how}) is of none of {len(names):,} files, "
                f"such as {names[0].as_posix()}: {some}. Names should be those of files, with or "
                "without their endings."
            )
        if astray:
            some = ", ".join(f"{one.where} ('{one.name}')" for one in astray[:_SHOWN])
            warnings.warn(
                f"left out {len(astray):,} texts of {folder} that are of no file, such as {some}.",
                stacklevel=3,
            )
        return texts, files

    def _said(self, file: Path, folder: Path) -> Iterator[Said]:
        """What a file says."""
        shown, text = file.relative_to(folder), read_text_file(file, self.encoding)
        above = shown.parts[:-1]
        if self.separator is None:
            end = len(file.name) - len(self._after)
            name = file.name[len(self._before) : end]
            yield Said(name, above, _plain(text), shown.as_posix())
            return
        for number, line in enumerate(text.split("\n"), start=1):
            if line.strip():
                name, _, rest = line.strip().partition(self.separator)
                path = Path(name.strip().replace("\\", "/"))
                stem = path.stem if path.suffix.lower() in _ENDINGS else path.name
                where = f"{shown.as_posix()} line {number}"
                yield Said(stem, (*above, *path.parts[:-1]), _plain(rest), where)


def _plain(text: str) -> str | None:
    """A text on one line; None if it is blank."""
    return " ".join(text.split()) or None


def called(stems: Sequence[str], texts: Collection[str]) -> list[str]:
    """The name under which a text of each file would be.

    It is the file's own, or what stands before its last `_` if a text and no file is called so:
    `p225_001` is of `p225_001_mic1` and `p225_001_mic2`.

    Args:
        stems: `[N]` names of files, without endings.
        texts: Names of texts.
    """
    files, found = set(stems), []
    for stem in stems:
        begun = stem.rpartition("_")[0]
        shorter = stem not in texts and begun in texts and begun not in files
        found.append(begun if shorter else stem)
    return found


def matched(names: Sequence[Path], said: Sequence[Said]) -> list[str | None]:
    """The text of each file, of those that are called so the one in the nearest folder.

    Where several files have one name, a text is that of the nearest as well.

    Args:
        names: `[N]` the files.
        said: The texts.

    Raises:
        DataError: If a file has two different ones that are as near.
    """
    texts: dict[str, list[Said]] = defaultdict(list)
    files: dict[str, list[tuple[str, ...]]] = defaultdict(list)
    for one in said:
        texts[one.name].append(one)
    keys = called([name.stem for name in names], texts)
    for name, key in zip(names, keys, strict=True):
        files[key].append(name.parts[:-1])
    return [
        _of(name, texts.get(key, ()), files[key]) for name, key in zip(names, keys, strict=True)
    ]


def _of(name: Path, some: Sequence[Said], files: Sequence[tuple[str, ...]]) -> str | None:
    """The text of a file, of some that are called so; `files` are the folders of all such files."""
    above = name.parts[:-1]
    most = max((_near(above, one.folders) for one in some), default=0)
    best = [one for one in some if _near(above, one.folders) == most]
    best = [one for one in best if all(_near(other, one.folders) <= most for other in files)]
    other = next((one for one in best if one.text != best[0].text), None)
    if other is not None:
        raise DataError(
            f"{name.as_posix()} has two texts: {best[0].where} ('{(best[0].text or '')[:40]}') and "
            f"{other.where} ('{(other.text or '')[:40]}'). Remove one."
        )
    return best[0].text if best else None


def _near(one: Sequence[str], other: Sequence[str]) -> int:
    """How many folders two paths have in common, from their beginnings and from their ends.

    More than any two have that are not the same, if they are.
    """
    if one == other:
        return len(one) + len(other) + 1
    return _common(one, other) + _common(one[::-1], other[::-1])


def _common(one: Sequence[str], other: Sequence[str]) -> int:
    count = 0
    for a, b in zip(one, other, strict=False):
        if a != b:
            break
        count += 1
    return count

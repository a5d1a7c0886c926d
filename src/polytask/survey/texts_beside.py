"""Texts that say what is in pictures or sounds of a folder: which files hold them, and how."""

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from polytask.data.delimited import BROKEN, open_text
from polytask.data.files import files_in, is_text
from polytask.data.media import PICTURE_SUFFIXES, SOUND_SUFFIXES
from polytask.survey.samples import spread
from polytask.survey.table_reading import other_encoding

_MEDIA = (*PICTURE_SUFFIXES, *SOUND_SUFFIXES)
# Endings of files that are the text of one file, and of files with a line for each.
_ALONE = (".txt", ".lab", ".trn", ".trans", ".transcript", ".transcription", ".caption", ".text")
_LISTS = (".txt", ".tsv", ".csv", ".trn", ".trans", ".transcript", ".text", ".list", ".lst", "")
_MARKS = ("\t", "|", ":", " ")
_LOOKED = 20  # files or lines that are read
_LETTERS = 1000  # of a file that are read
_MOST = 0.9  # of these that fit
_ENOUGH = 0.5  # of pictures or sounds that have a text
_SHARED = 4  # files that may have one text
_NAME = re.compile(r"[A-Za-z][A-Za-z_]{1,30}( [A-Za-z]+)?")  # of a column
_TIMED = re.compile(r"\s*-?[\d.]+\s+-?[\d.]+(\s|$)")  # times or places, and what is there


@dataclass(frozen=True)
class TextsBeside:
    """How texts are kept.

    Attributes:
        pattern: Which files hold them, as the source's `texts` takes it.
        separator: What stands between a name and its text; None where each file is one text.
        files: These files.
        cells: Into how many cells the separator divides lines, where it is no blank.
        others: Patterns of other files that hold as many texts.
        of: The names of files that are a text each.
        several: Whether a text is of several files, as of two microphones.
    """

    pattern: str
    separator: str | None
    files: Sequence[Path]
    cells: int = 2
    others: Sequence[str] = ()
    of: Collection[str] = ()
    several: bool = False

    @property
    def names(self) -> list[str]:
        """Names of the cells of a line."""
        return ["file", "text", *(f"text{k}" for k in range(2, self.cells))]

    def header(self) -> list[str] | None:
        """The names of the cells, if the first line has a name for each; None if it is a row."""
        with open_text(self.files[0], other_encoding(self.files[0]) or "utf-8") as file:
            first = file.readline().strip().split(self.separator)
        named = [cell.strip() for cell in first]
        if len(named) != self.cells or not all(map(_NAME.fullmatch, named)):
            return None
        return named


def texts_beside(folder: Path, media: Sequence[Path]) -> TextsBeside | None:
    """The texts of pictures or sounds; None if there are none, or fewer than half have one.

    Args:
        folder: The folder.
        media: The pictures or sounds.
    """
    own = Counter(path.stem for path in media)
    begun = Counter(path.stem.rpartition("_")[0] for path in media)  # as the source takes it
    shared = {n: c for n, c in begun.items() if n and n not in own and c <= _SHARED}
    files = [f for f in files_in(folder) if f.suffix.lower() not in _MEDIA and is_text(f)]
    files = sorted(f for f in files if not f.name.startswith("."))
    found = _one_each(folder, files, {**own, **shared}, len(media))
    if found is None:  # what lines are about may be speakers, with whose names those of files begin
        return _in_lines(files, own)
    return replace(found, several=any(name in shared for name in found.of))


def _one_each(
    folder: Path, files: Sequence[Path], stems: Mapping[str, int], total: int
) -> TextsBeside | None:
    """Files that bear the names of pictures or sounds with another ending."""
    found: dict[str, list[Path]] = defaultdict(list)
    for file in files:
        if file.suffix.lower() in _ALONE:
            stem = next((s for s in _stems(file.name) if s in stems), None)
            if stem is not None:
                found[file.name[len(stem) :]].append(file)
    fitting = []
    for ending, some in found.items():
        named = {file.name[: len(file.name) - len(ending)] for file in some}
        have = sum(stems[name] for name in named)
        looked = [some[k] for k in spread(len(some), _LOOKED)]
        if have >= _ENOUGH * total and sum(map(_is_said, looked)) >= _MOST * len(looked):
            fitting.append((-have, "norm" not in ending.lower(), ending))  # numbers as words
    if not fitting:
        return None
    best, *others = (ending for _, _, ending in sorted(fitting))
    pattern = _narrowed(folder, f"*{best}", found[best], files)
    named = {file.name.removesuffix(best) for file in found[best]}
    rest = [f"*{ending}" for ending in others]
    return TextsBeside(pattern, None, found[best], others=rest, of=frozenset(named))


def _narrowed(folder: Path, pattern: str, some: Sequence[Path], files: Sequence[Path]) -> str:
    """A pattern with the folders of some files, if it else fits others that are no texts."""
    shown = [file.relative_to(folder) for file in some]
    depths = {len(name.parts) for name in shown}
    astray = any(f.relative_to(folder).match(pattern) for f in set(files) - set(some))
    if not astray or len(depths) > 1:
        return pattern
    levels = [set(of) for of in zip(*(name.parts[:-1] for name in shown), strict=True)]
    return "/".join([*(next(iter(of)) if len(of) == 1 else "*" for of in levels), pattern])


def _stems(name: str) -> Iterator[str]:
    """A name up to each of its points, the longest first: endings may have several."""
    while "." in name:
        name = name.rpartition(".")[0]
        yield name


def _is_said(file: Path) -> bool:
    """Whether a file holds a text, and no numbers, times or settings."""
    text = _begun(file)
    return _has_letters(text) and not any(map(_TIMED.match, text.splitlines()))


def _has_letters(text: str) -> bool:
    """Whether most of a text is letters."""
    shown = [c for c in text if not c.isspace()]
    return bool(shown) and sum(c.isalpha() or c == "'" for c in shown) > len(shown) / 2


def _begun(file: Path) -> str:
    """The beginning of a file; empty if it cannot be read."""
    try:
        with open(file, encoding="utf-8-sig", errors="replace") as opened:
            return opened.read(_LETTERS)
    except OSError:  # reading all of it says why
        return ""


def _in_lines(files: Sequence[Path], stems: Mapping[str, int]) -> TextsBeside | None:
    """Files whose lines begin with names of pictures or sounds."""
    found: dict[str, list[Path]] = defaultdict(list)
    for file in files:
        mark = _mark(file, stems) if file.suffix.lower() in _LISTS else None
        if mark is not None:
            found[mark].append(file)
    if not found:
        return None
    mark, some = max(found.items(), key=lambda pair: len(pair[1]))
    pattern = _pattern([file.name for file in some])
    if pattern is None:
        return None
    named: set[str] = set()
    cells: Counter[int] = Counter()
    for file in some:
        for line in _lines(file):
            named.add(_stem(line.partition(mark)[0]))
            cells[line.count(mark) + 1] += 1
    named &= set(stems)
    if sum(stems[name] for name in named) < _ENOUGH * sum(stems.values()):
        return None
    several = 2 if mark in " :" else cells.most_common(1)[0][0]
    return TextsBeside(pattern, mark, some, several)


def _mark(file: Path, stems: Collection[str]) -> str | None:
    """What stands in lines between a name and its text; None if lines do not begin with names."""
    first = list(islice(_lines(file), _LOOKED))
    for mark in _MARKS if first else ():
        pairs = [line.partition(mark) for line in first]
        fitting = sum(bool(m) and _stem(name) in stems for name, m, _ in pairs)
        said = " ".join(text for _, _, text in pairs)
        if fitting >= _MOST * len(pairs) and _has_letters(said) and _varies(pairs):
            return mark
    return None


def _varies(pairs: Sequence[tuple[str, str, str]]) -> bool:
    """Whether lines have texts, and no labels: some have several words, or letters of a script
    without blanks."""
    words = [len(text.split()) for _, _, text in pairs]
    wide = [sum(ord(c) > 0x2E80 for c in text) for _, _, text in pairs]
    return max(words) > 1 or max(wide) > 1


def _lines(file: Path) -> Iterator[str]:
    """The lines of a file that are not blank; none if it cannot be read."""
    try:
        with open_text(file) as opened:
            for line in opened:
                if line.strip():
                    yield line.strip()
    except (*BROKEN, UnicodeError):  # it is no text of these, or another encoding's
        return


def _stem(name: str) -> str:
    """A name as lines have it, without folders and an ending of pictures or sounds."""
    last = name.strip().replace("\\", "/").rpartition("/")[2]
    stem, point, ending = last.rpartition(".")
    return stem if point and f".{ending.lower()}" in _MEDIA else last


def _pattern(names: Sequence[str]) -> str | None:
    """A pattern of names: the only one, or what all of them end with from a point on."""
    if len(set(names)) == 1:
        return names[0]
    ending = names[0][names[0].find(".") :] if "." in names[0] else ""
    while ending and not all(name.endswith(ending) for name in names):
        point = ending.find(".", 1)
        ending = ending[point:] if point > 0 else ""
    return f"*{ending}" if ending else None

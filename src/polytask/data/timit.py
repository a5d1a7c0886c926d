"""TIMIT: read speech with hand-marked phones, as the LDC ships it and as NLTK samples it."""

import re
import warnings
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from polytask.data.media import EncodedMedia, FileMedia, ZipMedia
from polytask.data.phones import BROAD_CLASS_OF, FOLDED, PHONES, folded
from polytask.data.places import content_key, files_key, find
from polytask.data.sources import Source, Table, Windows
from polytask.errors import ConfigError, DataError, require

_Marks = tuple[list[int], list[int], list[int]]
RATE = 16000  # samples per second of the marks in .phn and .wrd files
_HELP = (
    "TIMIT cannot be downloaded: it is licensed by the LDC (https://catalog.ldc.upenn.edu/LDC93S1)."
    " Put its folder (with TRAIN and TEST), or NLTK's sample timit.zip "
    "(https://www.nltk.org/nltk_data/), into $POLYTASK_DATA/timit/, or name it as `path`."
)


@dataclass(frozen=True)
class _Utterance:
    name: str  # as the archive or folder has it
    wave: str
    words: str | None
    part: str | None

    @property
    def speaker(self) -> str:
        return PurePosixPath(self.name).parent.name.lower().split("-")[-1]

    @property
    def dialect(self) -> str:
        found = re.findall(r"(?:^|/)(dr\d)(?=[-/])", self.name.lower())
        return found[-1] if found else ""

    @property
    def key(self) -> str:
        return f"{self.speaker}/{PurePosixPath(self.name).stem.lower()}"


class Timit(Source):
    """TIMIT (Garofolo et al. 1993).

    One row per frame: columns `audio` (the frame and its neighbours), `phone` (one of 61 symbols,
    at the frame's centre), `broad` (one of 10 broad phonetic classes, listed in
    `polytask.data.phones`), `speaker`, `sex`, `dialect`, `utterance`, `start` (seconds). Frames
    after an utterance's last marked phone are left out. One row per utterance: `audio`, `speaker`,
    `sex`, `dialect`, `utterance`, `words`, `phones` (the 61 symbols in order, with spaces between
    them), `phones39` (folded as in Lee & Hon 1989), and both with their times, `phone_times` and
    `phone39_times`, as a tagging task with a `frame` reads them. The LDC's TRAIN and TEST folders
    are the fixed split; NLTK's sample has none.

    Args:
        path: The LDC folder, NLTK's folder or its zip. Looked for in `$POLYTASK_DATA/timit` and in
            the cache folder if None.
        unit: What a row is.
        frame_seconds: Length of a frame, and the distance between frames.
        context: How many neighbouring frames on each side belong to a frame's `audio`; silence
            stands for those outside the utterance.
    """

    def __init__(
        self,
        *,
        path: Path | None = None,
        unit: Literal["frame", "utterance"] = "frame",
        frame_seconds: float = 0.02,
        context: int = 7,
    ) -> None:
        if frame_seconds <= 0 or context < 0:
            raise ConfigError(
                "`frame_seconds` should be above 0 and `context` at least 0. Found "
                f"{frame_seconds} and {context}."
            )
        self.path = path
        self.unit = unit
        self.frame_seconds = frame_seconds
        self.context = context

    def load(self) -> Table:
        """Reads the marks of all utterances."""
        place = find("TIMIT", self.path, folders=["timit", "timit_nltk_sample"], help=_HELP)
        if place.is_dir():
            zips = sorted(place.glob("*.zip"))
            if zips and not any(p.suffix.lower() == ".phn" for p in place.rglob("*")):
                place = zips[0]
        files = _Folder(place) if place.is_dir() else _Zip(place)
        utterances = _utterances(files.names())
        if not utterances:
            raise DataError(f"{place} holds no utterances (a .wav and a .phn each). {_HELP}")
        media = files.media([u.wave for u in utterances])
        key = content_key(
            ["timit", files.key(), self.unit, self.frame_seconds, self.context, PHONES]
        )
        if self.unit == "utterance":
            return self._utterance_table(files, utterances, media, key)
        return self._frame_table(files, utterances, media, key)

    def _utterance_table(
        self, files: "_Files", utterances: list[_Utterance], media: EncodedMedia, key: str
    ) -> Table:
        pandas = require("pandas", "train")
        frame = pandas.DataFrame(_speaker_columns(utterances))
        frame["words"] = [
            " ".join(line.split()[-1] for line in files.text(u.words).splitlines() if line.strip())
            if u.words
            else None
            for u in utterances
        ]
        marks = [timed_phones(files.text(u.name), u.name) for u in utterances]
        phones = [[phone for _, _, phone in marked] for marked in marks]
        frame["phones"] = [" ".join(names) for names in phones]
        frame["phones39"] = [" ".join(folded(names)) for names in phones]
        frame["phone_times"] = [_times(marked, {}) for marked in marks]
        frame["phone39_times"] = [_times(marked, FOLDED) for marked in marks]
        split = _fixed_split(utterances, np.arange(len(utterances)))
        return Table("timit", frame, {"audio": media}, key, media.where, split)

    def _frame_table(
        self, files: "_Files", utterances: list[_Utterance], media: EncodedMedia, key: str
    ) -> Table:
        pandas = require("pandas", "train")
        marks = [_marks(files.text(u.name), u.name) for u in utterances]
        _tell_overlaps([u.name for u in utterances], marks)
        codes = [_at_centres(of, self.frame_seconds * RATE) for of in marks]
        counts = np.array([len(c) for c in codes])
        item = np.repeat(np.arange(len(utterances)), counts)
        number = np.concatenate([np.arange(n) for n in counts])
        start = number * self.frame_seconds
        phone = np.concatenate(codes)
        broad = sorted(set(BROAD_CLASS_OF.values()))
        broad_of = np.array([broad.index(BROAD_CLASS_OF[p]) for p in PHONES])
        columns: dict[str, Any] = {
            "phone": pandas.Categorical.from_codes(phone, list(PHONES)),
            "broad": pandas.Categorical.from_codes(broad_of[phone], broad),
        }
        for column, values in _speaker_columns(utterances).items():
            codes_of, unique = pandas.factorize(np.array(values, dtype=object))
            columns[column] = pandas.Categorical.from_codes(codes_of[item], list(unique))
        columns["start"] = start.astype(np.float32)
        media.windows = Windows(
            item=item.astype(np.int64),
            start=start - self.context * self.frame_seconds,
            seconds=(2 * self.context + 1) * self.frame_seconds,
            pad=self.context * self.frame_seconds,
            step=self.frame_seconds,
        )

        media.whole = True

        def locate(row: int) -> str:
            return f"{media.where(int(item[row]))} at {start[row]:.2f} s"

        split = _fixed_split(utterances, item)
        return Table("timit", pandas.DataFrame(columns), {"audio": media}, key, locate, split)


def frame_phones(
    text: str, name: str, *, frame_seconds: float, rate: int = RATE
) -> NDArray[np.int16]:
    """The phone at the centre of every whole frame, `[frames]`, as a number into `PHONES`.

    Args:
        text: A `.phn` file: `first_sample last_sample symbol` per line.
        name: The file, for messages.
        frame_seconds: Length of a frame.
        rate: Samples per second of the marks.

    Raises:
        DataError: If a line cannot be read, has a symbol that TIMIT does not have, or is out of
            order.
    """
    return _at_centres(_marks(text, name), frame_seconds * rate)


def timed_phones(text: str, name: str, *, rate: int = RATE) -> list[tuple[float, float, str]]:
    """The phones of a `.phn` file in order, each with its start and end in seconds.

    Args:
        text: As for `frame_phones`.
        name: The file, for messages.
        rate: Samples per second of the marks.

    Raises:
        DataError: If a line cannot be read, has a symbol that TIMIT does not have, or is out of
            order.
    """
    starts, ends, codes = _marks(text, name)
    marks = zip(starts, ends, codes, strict=True)
    return [(first / rate, last / rate, PHONES[code]) for first, last, code in marks]


def _times(marks: Sequence[tuple[float, float, str]], names: Mapping[str, str | None]) -> str:
    """Phones as a text of `start end name`.

    Args:
        marks: As of `timed_phones`.
        names: What phones are called, where that is another name; None for one that is left out.
    """
    named = ((start, end, names.get(phone, phone)) for start, end, phone in marks)
    return " ".join(f"{start:.6g} {end:.6g} {name}" for start, end, name in named if name)


def _marks(text: str, name: str) -> _Marks:
    """The first and the last sample of each phone, and numbers into `PHONES`."""
    index = {phone: k for k, phone in enumerate(PHONES)}
    starts: list[int] = []
    ends: list[int] = []
    codes: list[int] = []
    for number, line in enumerate(text.splitlines(), start=1):
        fields = line.split()
        if not fields:
            continue
        try:
            first, last, symbol = int(fields[0]), int(fields[1]), fields[2].lower()
            codes.append(index[symbol])
        except (ValueError, IndexError, KeyError):
            raise DataError(
                f"{name} line {number} should be `first_sample last_sample phone` with one of "
                f"TIMIT's 61 phones. Found {line!r}."
            ) from None
        if not (starts[-1] if starts else 0) <= first <= last:
            raise DataError(
                f"{name} line {number} should begin no earlier than the phone before it, and end "
                f"no earlier than it begins. Found {line!r}. Correct the file."
            )
        starts.append(first)
        ends.append(last)
    if not ends:
        raise DataError(f"{name} has no phones.")
    return starts, ends, codes


def _at_centres(marks: _Marks, length: float) -> NDArray[np.int16]:
    """The phone at the centre of every whole frame of so many samples, `[frames]`."""
    starts, ends, codes = marks
    centres = (np.arange(int(ends[-1] / length + 1e-6)) + 0.5) * length
    which = np.clip(np.searchsorted(np.array(starts), centres, side="right") - 1, 0, None)
    return np.array(codes, dtype=np.int16)[which]


def _tell_overlaps(names: Sequence[str], marks: Sequence[_Marks]) -> None:
    """Warn of phones that begin before the one before them ends, of which the later one counts."""
    found = [
        name
        for name, (starts, ends, _) in zip(names, marks, strict=True)
        if any(first < last for first, last in zip(starts[1:], ends, strict=False))
    ]
    if found:
        warnings.warn(
            f"files of phones of which some overlap: {len(found):,}, such as {found[0]}. A frame "
            "in both is of the one that begins later",
            stacklevel=2,
        )


def _speaker_columns(utterances: Sequence[_Utterance]) -> dict[str, list[str]]:
    return {
        "speaker": [u.speaker for u in utterances],
        "sex": [{"f": "female", "m": "male"}.get(u.speaker[:1], "") for u in utterances],
        "dialect": [u.dialect for u in utterances],
        "utterance": [u.key for u in utterances],
    }


def _fixed_split(utterances: Sequence[_Utterance], item: NDArray[np.int64]) -> Any:
    parts = [u.part for u in utterances]
    if None in parts:
        return None
    pandas = require("pandas", "train")
    return pandas.Series(np.array(parts, dtype=object)[item])


def _utterances(names: Sequence[str]) -> list[_Utterance]:
    """Pairs every .phn with its wave; sorted, so that rows do not depend on the file system."""
    by_lower = {name.lower(): name for name in names}
    result = []
    for lower, name in sorted(by_lower.items()):
        if not lower.endswith(".phn"):
            continue
        stem = lower.removesuffix(".phn")
        wave = by_lower.get(f"{stem}.wav") or by_lower.get(f"{stem}.wav.wav")
        if wave is None:
            raise DataError(f"{name} has no wave beside it (expected {Path(stem).name}.wav).")
        folders = PurePosixPath(lower).parts[:-1]
        part = next((p for p in reversed(folders) if p in ("train", "test")), None)
        result.append(_Utterance(name, wave, by_lower.get(f"{stem}.wrd"), part))
    return result


class _Files(ABC):
    """The files of a folder or archive."""

    @abstractmethod
    def names(self) -> list[str]:
        """Their names."""

    @abstractmethod
    def text(self, name: str) -> str:
        """The content of one."""

    @abstractmethod
    def media(self, names: Sequence[str]) -> EncodedMedia:
        """Some of them as sounds."""

    @abstractmethod
    def key(self) -> str:
        """What tells this content from other content."""


class _Folder(_Files):
    def __init__(self, root: Path) -> None:
        self.root = root
        self._paths = sorted(p for p in root.rglob("*") if p.is_file())

    def names(self) -> list[str]:
        return [p.relative_to(self.root).as_posix() for p in self._paths]

    def text(self, name: str) -> str:
        return (self.root / name).read_text(encoding="latin-1")

    def media(self, names: Sequence[str]) -> EncodedMedia:
        return FileMedia("sound", [self.root / name for name in names])

    def key(self) -> str:
        return content_key([self.names(), files_key(self._paths)])


class _Zip(_Files):
    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._archive = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, OSError) as error:
            raise DataError(f"{path} is not a whole zip archive ({error}). {_HELP}") from error

    def names(self) -> list[str]:
        return [m.filename for m in self._archive.infolist() if not m.is_dir()]

    def text(self, name: str) -> str:
        return self._archive.read(name).decode("latin-1")

    def media(self, names: Sequence[str]) -> EncodedMedia:
        return ZipMedia("sound", self.path, names)

    def key(self) -> str:
        return content_key([(m.filename, m.file_size, m.CRC) for m in self._archive.infolist()])

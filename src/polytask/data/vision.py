"""CIFAR-10, from its publisher's archive or from Parquet.

Letters: N pictures.
"""

import io
import json
import pickle
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask.data.media import ArrayMedia, ParquetMedia
from polytask.data.places import cache_folder, content_key, download, file_key, find_known
from polytask.data.sources import Media, Source, Table
from polytask.errors import DataError, require

URL = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
CHECKSUM = "md5:c58f30108f718f92721af3b95e74349a"
CLASSES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)
_ARCHIVE = "cifar-10-python.tar.gz"
_FOLDER = "cifar-10-batches-py"
_BATCHES = (*(f"data_batch_{k}" for k in range(1, 6)), "test_batch")
_HELP = (
    f"Put {_ARCHIVE} from https://www.cs.toronto.edu/~kriz/cifar.html (163 MB) into "
    "$POLYTASK_DATA/cifar10/, or name it as `path`."
)


class Cifar10(Source):
    """CIFAR-10 (Krizhevsky 2009): 60,000 pictures of 32 x 32 pixels in 10 classes.

    Columns: `image`, `label` (the class's name). Its publisher's split is 50,000 rows to train and
    10,000 to test.

    Args:
        path: The publisher's `cifar-10-python.tar.gz`, its unpacked folder, or a folder with
            `train.parquet` and `test.parquet`. Looked for in `$POLYTASK_DATA/cifar10` and in the
            cache folder if None.
        download: Whether to fetch it from its publisher if it is nowhere.
    """

    def __init__(self, *, path: Path | None = None, download: bool = True) -> None:
        self.path = path
        self.download = download

    def load(self) -> Table:
        """Reads the labels; pictures of the archive are small enough to be read with them."""
        place = self._place()
        if place.is_dir() and (place / "train.parquet").exists():
            return _from_parquet([place / "train.parquet", place / "test.parquet"])
        if place.is_dir() and (place / _FOLDER).is_dir():
            place = place / _FOLDER
        elif place.is_dir() and (place / _ARCHIVE).exists():
            place = place / _ARCHIVE
        if place.is_file():
            return _from_archive(place)
        if place.is_dir() and (place / "test_batch").exists():
            return _from_folder(place)
        raise DataError(
            f"{place} holds neither {_ARCHIVE}, nor data_batch_1 and its like, nor train.parquet "
            f"and test.parquet. {_HELP}"
        )

    def _place(self) -> Path:
        if self.path is not None:
            path = Path(self.path).expanduser()
            if not path.exists():
                raise DataError(f"CIFAR-10: there is no file or folder {path}. {_HELP}")
            return path
        found = find_known(["cifar10", "cifar-10"])
        if found is not None:
            return found
        if not self.download:
            raise DataError(f"CIFAR-10 was not found, and `download` is off. {_HELP}")
        target = cache_folder() / "cifar10" / _ARCHIVE
        return download(URL, target, checksum=CHECKSUM, help=_HELP)


def _from_parquet(paths: list[Path]) -> Table:
    parquet = require("pyarrow.parquet", "train")
    numbers, parts = [], []
    names: tuple[str, ...] = CLASSES
    for path, part in zip(paths, ("train", "test"), strict=True):
        if not path.exists():
            raise DataError(f"CIFAR-10: there is no file {path}. {_HELP}")
        file = parquet.ParquetFile(path)
        info = json.loads((file.schema_arrow.metadata or {}).get(b"info", b"{}"))
        names = tuple(info.get("label_names", names))
        labels = file.read(columns=["label"]).column(0).to_numpy()
        numbers.append(labels.astype(np.int64))
        parts += [part] * len(labels)
    sizes = [len(n) for n in numbers]

    def locate(row: int) -> str:
        file = int(row >= sizes[0])
        return f"{paths[file].name} row {row - file * sizes[0] + 1}"

    media = ParquetMedia("image", paths, "image")
    key = content_key(["cifar10", *map(file_key, paths)])
    return _table(np.concatenate(numbers), parts, names, media, key, locate)


def _from_archive(path: Path) -> Table:
    try:
        with tarfile.open(path) as archive:
            found = {Path(m.name).name: m for m in archive.getmembers() if m.isfile()}

            def read(name: str) -> bytes:
                if name not in found:
                    raise DataError(f"{path} holds no {name}. {_HELP}")
                member = archive.extractfile(found[name])
                assert member is not None
                return member.read()

            return _from_batches(path.name, read, file_key(path))
    except (tarfile.TarError, EOFError, OSError) as error:
        raise DataError(f"{path} is not a whole archive ({error}). {_HELP}") from error


def _from_folder(path: Path) -> Table:
    def read(name: str) -> bytes:
        if not (path / name).exists():
            raise DataError(f"CIFAR-10: there is no file {path / name}. {_HELP}")
        return (path / name).read_bytes()

    key = content_key([file_key(path / n) for n in _BATCHES if (path / n).exists()])
    return _from_batches(path.name, read, key)


def _from_batches(where: str, read: Callable[[str], bytes], key: str) -> Table:
    pixels, numbers, parts, names = [], [], [], []
    for name in _BATCHES:
        data, labels = _batch(name, read(name))
        pixels.append(data)
        numbers.append(labels)
        parts += ["test" if name == "test_batch" else "train"] * len(labels)
        names += [name] * len(labels)
    meta = safe_unpickle(read("batches.meta"), "batches.meta")
    classes = tuple(str(n) for n in meta.get("label_names", CLASSES))
    pictures = np.concatenate(pixels).reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    firsts = {name: names.index(name) for name in dict.fromkeys(names)}

    def locate(row: int) -> str:
        return f"{where}: {names[row]} row {row - firsts[names[row]] + 1}"

    media = ArrayMedia(len(pictures), lambda item: pictures[item])
    return _table(
        np.concatenate(numbers), parts, classes, media, content_key(["cifar10", key]), locate
    )


def _batch(name: str, content: bytes) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    batch = safe_unpickle(content, name)
    data, labels = batch.get("data"), batch.get("labels")
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.ndim != 2:
        raise DataError(f"{name} should hold `data`, [rows, 3072] of uint8.")
    if data.shape[1] != 3072 or not isinstance(labels, list) or len(labels) != len(data):
        raise DataError(
            f"{name} should hold 3,072 values and one label per picture. Found data of shape "
            f"{data.shape} and {len(labels) if isinstance(labels, list) else 'no'} labels."
        )
    return data, np.array(labels, dtype=np.int64)


def _table(
    labels: NDArray[np.int64],
    parts: list[str],
    names: tuple[str, ...],
    media: Media,
    key: str,
    locate: Callable[[int], str],
) -> Table:
    pandas = require("pandas", "train")
    if len(labels) and not 0 <= labels.min() <= labels.max() < len(names):
        raise DataError(f"CIFAR-10: labels should be 0 to {len(names) - 1}.")
    frame = pandas.DataFrame({"label": np.array(names, dtype=object)[labels]})
    return Table("cifar10", frame, {"image": media}, key, locate, pandas.Series(parts))


class _PlainUnpickler(pickle.Unpickler):
    """Reads arrays, lists, dicts, numbers and strings; refuses every other class or function."""

    def find_class(self, module: str, name: str) -> Any:
        if name == "_reconstruct" and module in (
            "numpy.core.multiarray",
            "numpy._core.multiarray",
        ):
            return _empty_array
        if module == "numpy" and name == "ndarray":
            return np.ndarray
        if module == "numpy" and name == "dtype":
            return np.dtype
        if module == "_codecs" and name == "encode":
            return _latin1
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")


def _empty_array(kind: object, shape: object, code: object) -> NDArray[Any]:
    """An empty array, which the pickle then fills."""
    return np.ndarray.__new__(np.ndarray, (0,), np.dtype(np.uint8))


def _latin1(text: str, encoding: str) -> bytes:
    return text.encode("latin-1")


def safe_unpickle(content: bytes, name: str) -> Mapping[str, Any]:
    """Reads a pickled dict of arrays and plain values without running any code in it.

    Raises:
        DataError: If it asks for anything else, or is broken.
    """
    try:
        result = _PlainUnpickler(io.BytesIO(content), encoding="latin1").load()
    except (
        pickle.UnpicklingError,
        EOFError,
        ValueError,
        TypeError,
        IndexError,
        KeyError,
        AttributeError,
    ) as error:
        raise DataError(
            f"{name} is not a batch of CIFAR-10 as published ({error}). It was not run. {_HELP}"
        ) from error
    if not isinstance(result, dict):
        raise DataError(f"{name} should hold a dict. Found {type(result).__name__}.")
    return {k.decode("latin-1") if isinstance(k, bytes) else str(k): v for k, v in result.items()}

"""Known tables of many tasks: molecules, pupils, landmines, incomes.

Letters: N rows, T tasks.
"""

import gzip
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from polytask.data.places import content_key, file_key, find
from polytask.data.sources import Source, Table
from polytask.errors import DataError, require

ADULT = (
    "age",
    "workclass",
    "fnlwgt",
    "education",
    "education-num",
    "marital-status",
    "occupation",
    "relationship",
    "race",
    "sex",
    "capital-gain",
    "capital-loss",
    "hours-per-week",
    "native-country",
    "income",
)


class Tox21(Source):
    """Twelve yes-no assays of 8,014 molecules, 17 % of the labels missing.

    Columns: the assays, `mol_id`, `smiles`, and `fp.0` to `fp.1023`: ECFP4 fingerprints (Morgan,
    radius 2). Some molecules are there more than once: `split: {group: smiles}` keeps them
    together. Molecules whose SMILES could not be read have a fingerprint of zeros.

    Args:
        path: A folder with `tox21.csv.gz` and `tox21_ecfp4_1024.npz`. Looked for in
            `$POLYTASK_DATA/molecules` if None.
    """

    def __init__(self, *, path: Path | None = None) -> None:
        self.path = path

    def load(self) -> Table:
        """Reads labels and fingerprints."""
        pandas = require("pandas", "train")
        help_ = "It should hold tox21.csv.gz (MoleculeNet's) and tox21_ecfp4_1024.npz."
        folder = find("Tox21", self.path, folders=["molecules", "tox21"], help=help_)
        files = [_within(folder, n) for n in ("tox21.csv.gz", "tox21_ecfp4_1024.npz")]
        labels = pandas.read_csv(files[0])
        with np.load(files[1], allow_pickle=False) as arrays:
            bits = np.unpackbits(arrays["fp_packed"], axis=1)
        if len(bits) != len(labels):
            raise DataError(f"{folder}: {len(labels)} molecules and {len(bits)} fingerprints.")
        names = [f"fp.{k}" for k in range(bits.shape[1])]
        frame = pandas.concat([labels, pandas.DataFrame(bits, columns=names)], axis=1)
        key = content_key(["tox21", *map(file_key, files)])
        return Table("tox21", frame, {}, key, lambda row: f"{files[0].name} row {row + 2}")


class School(Source):
    """Exam scores of 15,362 pupils of 139 London schools, a task per school.

    Columns: `f.1` to `f.27` (all features but the constant), `school` (1 to 139), `score`, and
    `score.1` to `score.139`: each pupil's score in the column of the school, blank in the others.

    Args:
        path: `school.mat` as MALSAR has it. Looked for in `$POLYTASK_DATA/tabular_multitask`.
    """

    def __init__(self, *, path: Path | None = None) -> None:
        self.path = path

    def load(self) -> Table:
        """Reads all schools."""
        found = find(
            "School", self.path, folders=["tabular_multitask"], help="It is MALSAR's school.mat."
        )
        path = found if found.is_file() else _within(found, "school.mat")
        features, targets = _cells_of(path, "X", "Y")
        return _many_tasks(path, "school", "score", [f[:, :-1] for f in features], targets)


class Landmine(Source):
    """Radar features of 14,820 places in 29 fields, with a mine or without; a task per field.

    Columns: `f.1` to `f.9`, `field` (1 to 29), `mine`, and `mine.1` to `mine.29`: each place's
    label in the column of its field, blank in the others.

    Args:
        path: `LandmineData.mat`. Looked for in `$POLYTASK_DATA/tabular_multitask` if None.
    """

    def __init__(self, *, path: Path | None = None) -> None:
        self.path = path

    def load(self) -> Table:
        """Reads all fields."""
        found = find(
            "Landmine", self.path, folders=["tabular_multitask"], help="It is LandmineData.mat."
        )
        path = found if found.is_file() else _within(found, "LandmineData.mat")
        return _many_tasks(path, "field", "mine", *_cells_of(path, "feature", "label"))


class Adult(Source):
    """The census of 1994: 48,842 people, with income, marital status, hours of work and more.

    Columns as in `adult.names`. The publisher's split tests on `adult.test`, whose first line is a
    remark and whose labels end with a point; `?` is blank. The last column is `income`.

    Args:
        path: A folder with `adult.data` and `adult.test`, packed (`.gz`) or not. Looked for in
            `$POLYTASK_DATA/tabular_multitask` if None.
    """

    def __init__(self, *, path: Path | None = None) -> None:
        self.path = path

    def load(self) -> Table:
        """Reads both files."""
        pandas = require("pandas", "train")
        help_ = "It should hold adult.data and adult.test, from the UCI repository."
        folder = find("Adult", self.path, folders=["tabular_multitask", "adult"], help=help_)
        files = [_within(folder, name, f"{name}.gz") for name in ("adult.data", "adult.test")]
        rows: list[list[str]] = []
        places: list[str] = []
        for path in files:
            opened = gzip.open if path.suffix == ".gz" else open
            with opened(path, "rt", encoding="utf-8") as file:
                for number, line in enumerate(file, start=1):
                    cells = [cell.strip().rstrip(".") for cell in line.strip().split(",")]
                    if line.startswith("|") or cells == [""]:
                        continue
                    if len(cells) != len(ADULT):
                        raise DataError(
                            f"{path.name} row {number}: expected {len(ADULT)} cells. Found "
                            f"{len(cells)}."
                        )
                    rows.append(cells)
                    places.append(f"{path.name} row {number}")
        frame = pandas.DataFrame(rows, columns=list(ADULT)).replace("?", None)
        for name in ADULT:
            numbers = pandas.to_numeric(frame[name], errors="coerce")
            if not numbers.isna().any():
                frame[name] = numbers
        split = pandas.Series(["test" if p.startswith("adult.test") else "train" for p in places])
        key = content_key(["adult", *map(file_key, files)])
        return Table("adult", frame, {}, key, places.__getitem__, split)


def _within(folder: Path, *names: str) -> Path:
    """The first of some files that a folder has."""
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise DataError(f"{folder} has no {' or '.join(names)}.")


def _cells_of(path: Path, *names: str) -> list[list[Any]]:
    """The arrays in the cells of variables of a MATLAB file; objects of Python are not read."""
    matlab = require("scipy.io.matlab", "tables")
    try:
        content = matlab.loadmat(path)
    except (OSError, ValueError, NotImplementedError, matlab.MatReadError) as error:
        raise DataError(f"{path} cannot be read as a MATLAB file: {error}.") from error
    for name in names:
        if name not in content:
            known = ", ".join(k for k in content if not k.startswith("__"))
            raise DataError(f"{path} has no variable '{name}'. It has: {known}.")
    return [list(content[name].ravel()) for name in names]


def _many_tasks(
    path: Path, group: str, target: str, features: Sequence[Any], targets: Sequence[Any]
) -> Table:
    """One table of all tasks' rows, with a column of labels for each task."""
    pandas = require("pandas", "train")
    sizes = [len(f) for f in features]
    if sizes != [len(t) for t in targets]:
        raise DataError(f"{path}: tasks have other numbers of examples than of labels.")
    values = np.concatenate(features).astype(np.float64)
    labels = np.concatenate(targets).astype(np.float64).ravel()
    number = np.repeat(np.arange(1, len(sizes) + 1), sizes)
    columns: dict[str, Any] = {f"f.{k + 1}": values[:, k] for k in range(values.shape[1])}
    columns |= {group: number, target: labels}
    for task in range(1, len(sizes) + 1):
        columns[f"{target}.{task}"] = np.where(number == task, labels, np.nan)
    starts = np.cumsum([0, *sizes])

    def locate(row: int) -> str:
        return f"{path.name} {group} {number[row]} row {row - starts[number[row] - 1] + 1}"

    key = content_key([group, file_key(path)])
    return Table(group, pandas.DataFrame(columns), {}, key, locate)

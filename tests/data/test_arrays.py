"""NumPy's archives, from files made here."""

from pathlib import Path

import numpy as np
import pytest

from polytask.data.arrays import ArrayFile
from polytask.errors import ConfigError, DataError


def parts(path: Path) -> Path:
    rng = np.random.default_rng(0)
    arrays = {}
    for part, count in (("train", 6), ("test", 3)):
        arrays[f"{part}_x"] = rng.integers(0, 256, (count, 5, 4), dtype=np.uint8)
        arrays[f"{part}_y"] = np.arange(count, dtype=np.uint8) % 3
    np.savez(path, **arrays)
    return path


def test_arrays_of_parts_become_a_fixed_split(tmp_path: Path) -> None:
    path = parts(tmp_path / "a.npz")
    columns = {"image": "{part}_x", "label": "{part}_y"}
    table = ArrayFile(path=path, columns=columns, labels={"label": ["a", "b", "c"]}).load()
    assert table.fixed_split is not None
    assert table.fixed_split.tolist() == ["train"] * 6 + ["test"] * 3
    assert table.frame["label"].tolist() == list("abcabcabc")
    picture = table.media["image"].picture(7)
    assert picture.shape == (5, 4, 3) and (picture[..., 0] == np.load(path)["test_x"][1]).all()
    assert table.describe(7) == "a.npz test row 2"


def test_without_columns_every_array_is_one(tmp_path: Path) -> None:
    colours = np.arange(2 * 3 * 4 * 4, dtype=np.uint8).reshape(2, 3, 4, 4)
    np.savez(tmp_path / "b.npz", image=colours, x=np.eye(2), name=np.array(["u", "v"]))
    table = ArrayFile(path=tmp_path / "b.npz").load()
    assert table.columns == ("x.0", "x.1", "name", "image") and table.fixed_split is None
    assert (table.media["image"].picture(1) == colours[1].transpose(1, 2, 0)).all()
    assert table.describe(1) == "b.npz row 2"


def test_mistakes_name_file_and_array(tmp_path: Path) -> None:
    path = parts(tmp_path / "a.npz")
    for options, message in (
        ({}, "as many rows. Found train_x: 6, train_y: 6, test_x: 3"),
        ({"columns": {"image": "{part}_z"}}, "holds no array of any part of {part}_z"),
        ({"columns": {"image": "train_q"}}, "no array 'train_q'. Did you mean 'train_"),
        (
            {"columns": {"y": "{part}_y"}, "labels": {"y": ["a"]}},
            "from 0 to 2, and `labels` names 1",
        ),
    ):
        with pytest.raises(DataError) as error:
            ArrayFile(path=path, **options).load()  # type: ignore[arg-type]
        assert message in str(error.value)
    with pytest.raises(ConfigError, match="in all names or in none"):
        ArrayFile(path=path, columns={"a": "x", "b": "{part}_y"})
    with pytest.raises(ConfigError, match=r"Only \{part\} may stand in braces"):
        ArrayFile(path=path, columns={"a": "{split}_x"})
    np.savez(tmp_path / "o.npz", x=np.array([{"a": 1}], dtype=object))
    with pytest.raises(DataError, match=r"array .x. of o\.npz holds objects"):
        ArrayFile(path=tmp_path / "o.npz").load()
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DataError, match=r"a\.npz cannot be read"):
        ArrayFile(path=path).load()


def test_a_file_without_arrays_is_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz")
    with pytest.raises(DataError, match=r"a.npz holds no array"):
        ArrayFile(path=tmp_path / "a.npz").load()

"""Pictures laid over each other, from archives made here."""

from pathlib import Path

import numpy as np
import pytest

from polytask.data.overlaid import Overlaid
from polytask.errors import ConfigError, DataError


def archive(path: Path, *, size: int = 6, train: int = 8, test: int = 4) -> Path:
    """Pictures whose every pixel is 10 x (row + 1); the label is the row's number mod 3."""
    arrays = {}
    for part, count in (("train", train), ("test", test)):
        rows = np.arange(count, dtype=np.uint8)
        arrays[f"{part}_x"] = (
            np.ones((count, size, size), np.uint8) * (10 * rows + 10)[:, None, None]
        )
        arrays[f"{part}_y"] = rows % 3
    np.savez(path, **arrays)
    return path


def test_the_brighter_pixel_shows_and_each_picture_keeps_its_label(tmp_path: Path) -> None:
    source = Overlaid(path=archive(tmp_path / "a.npz"), offset=0)
    table = source.load()
    assert len(table) == 12 and table.fixed_split is not None
    assert table.fixed_split.tolist() == ["train"] * 8 + ["test"] * 4
    for row in range(12):
        left = table.media["left_image"].picture(row)[0, 0, 0] // 10 - 1
        right = table.media["right_image"].picture(row)[0, 0, 0] // 10 - 1
        assert (table.frame["left"][row], table.frame["right"][row]) == (left % 3, right % 3)
        assert left == row % 8 and (row < 8 or right < 4)  # every left picture once, parts apart
        assert (table.media["image"].picture(row) == 10 * max(left, right) + 10).all()


def test_they_lie_at_opposite_corners(tmp_path: Path) -> None:
    table = Overlaid(path=archive(tmp_path / "a.npz"), offset=6).load()
    left, right = table.media["left_image"].picture(0), table.media["right_image"].picture(0)
    assert left.shape == right.shape == (6, 6, 3)
    assert left[0, 0, 0] > 0 and left[-1, -1, 0] == 0
    assert right[0, 0, 0] == 0 and right[-1, -1, 0] > 0


def test_pairs_follow_the_seed_and_another_archive_may_be_at_the_right(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.npz", train=40)
    tables = [Overlaid(path=path, seed=seed).load() for seed in (0, 0, 1)]
    assert tables[0].fingerprint == tables[1].fingerprint != tables[2].fingerprint
    assert tables[0].frame.equals(tables[1].frame) and not tables[0].frame.equals(tables[2].frame)
    other = archive(tmp_path / "b.npz", train=1, test=1)
    mixed = Overlaid(path=path, right=other, count=10).load()
    assert len(mixed) == 14 and set(mixed.frame["right"]) == {0}
    assert mixed.describe(13) == "a.npz test row 4 over b.npz test row 1"


def test_mistakes(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.npz")
    with pytest.raises(ConfigError, match=r"a.npz has 8 pictures to train on"):
        Overlaid(path=path, count=9).load()
    with pytest.raises(DataError, match=r"one size. Found \(6, 6\) and \(7, 7\)"):
        Overlaid(path=path, right=archive(tmp_path / "b.npz", size=7)).load()
    with pytest.raises(ConfigError, match="at least 0"):
        Overlaid(path=path, offset=-1)

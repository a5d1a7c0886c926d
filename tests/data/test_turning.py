"""A task whose labels the program makes: by how much a picture was turned."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from polytask.config.build import build_sources
from polytask.config.load import load_config
from polytask.config.variants import with_tasks
from polytask.data.decoding import FEW_SHADES
from polytask.data.shapes import Shapes
from polytask.data.tables import TableFile
from polytask.data.turning import DEGREES, QuarterTurns, drawn_turns
from polytask.data.vision import Cifar10
from polytask.errors import ConfigError
from polytask.workflow import prepare_data
from tests.data.conftest import cifar_archive, cifar_batches

FILE = """
sources:
  turned: {kind: quarter-turns, source: shapes, each: 2}
  shapes: {kind: shapes, count: 12, size: 16}
inputs:
  picture: {kind: image, columns: {shapes: image, turned: image}, size: 16}
tasks:
  shape: {kind: multiclass, target: shapes.shape, pool: max}
  rotation: {kind: multiclass, target: turned.rotation, pool: max}
trunk: {backbone: {kind: residual, widths: [8]}}
"""


def test_every_row_is_its_picture_turned_by_its_label() -> None:
    shapes = Shapes(count=10, size=16)
    table = QuarterTurns({"s": shapes}, source="s").load()
    plain = shapes.load()
    assert len(table) == 40 and sorted(table.frame["rotation"].unique()) == sorted(DEGREES)
    for row in (0, 1, 2, 3, 17, 39):
        turned = table.media["image"].picture(row)
        degrees = int(table.frame["rotation"][row])
        back = np.rot90(turned, degrees // 90)  # against the clock
        assert (back == plain.media["image"].picture(row // 4)).all()
    assert table.frame["shape"][4:8].nunique(dropna=False) == 1
    assert table.describe(5).startswith("made-up picture 2 turned by ")


def test_pictures_of_16_bits_are_turned_by_their_white(tmp_path: Path) -> None:
    numbers = np.array([[0, 4095], [1024, 2048]], np.uint16)
    Image.fromarray(numbers).save(tmp_path / "a.png")
    (tmp_path / "t.csv").write_text("image\na.png\n")
    source = TableFile(path=tmp_path / "t.csv", media={"image": "image"})
    table = QuarterTurns({"s": source}, source="s").load()
    media = table.media["image"]
    for row in range(4):
        back = np.rot90(media.picture(row, white=4095), int(table.frame["rotation"][row]) // 90)
        assert back[..., 0].tolist() == [[0, 255], [64, 128]]
        assert media.where(row).endswith("a.png")
    assert not media.noted
    media.picture(2)
    assert media.noted == {2: FEW_SHADES}


def test_fewer_turns_are_drawn_evenly_and_from_the_seed() -> None:
    item, turns = drawn_turns(4000, 1, 0)
    assert (item == np.arange(4000)).all()
    assert np.bincount(turns).min() > 900
    assert (turns == drawn_turns(4000, 1, 0)[1]).all()
    assert (turns != drawn_turns(4000, 1, 1)[1]).any()
    pairs = drawn_turns(50, 2, 0)[1].reshape(50, 2)
    assert (pairs[:, 0] != pairs[:, 1]).all()


def test_parts_stay_parts(tmp_path: Path) -> None:
    source = Cifar10(path=cifar_archive(tmp_path / "c.tar.gz", cifar_batches()))
    table = QuarterTurns({"c": source}, source="c").load()
    assert table.fixed_split is not None
    assert table.fixed_split.tolist() == ["train"] * 80 + ["test"] * 16


def test_a_file_names_the_other_source(tmp_path: Path) -> None:
    path = tmp_path / "turns.yaml"
    path.write_text(FILE)
    assert len(build_sources(load_config(path))["turned"].load()) == 24
    for old, new, told in (
        ("source: shapes", "source: shape", "2: sources.turned.source|no other source 'shape'"),
        ("source: shapes", "source: turned", "no other source 'turned'"),
        ("each: 2", "each: 5", "`each` should be 1 to 4"),
    ):
        path.write_text(FILE.replace(old, new))
        with pytest.raises(ConfigError) as error:
            load_config(path)
        assert told.split("|")[-1] in str(error.value)
    with pytest.raises(ConfigError, match="turns no pictures"):
        others = {"s": Shapes(count=4)}
        others["t"] = QuarterTurns(others, source="s")  # type: ignore[assignment]
        QuarterTurns(others, source="t").load()


def test_a_source_may_be_there_only_for_another_to_be_made_of(tmp_path: Path) -> None:
    path = tmp_path / "turns.yaml"
    path.write_text(
        FILE + "batches: {size: 8, mixing: {kind: counts, counts: {shapes: 4, turned: 4}}}\n"
    )
    alone = with_tasks(load_config(path), ["rotation"])
    assert list(alone.sources) == ["turned", "shapes"]
    assert alone.batches.mixing.model_dump()["counts"] == {"turned": 4}
    prepared = prepare_data(alone, None)
    assert list(prepared.datasets) == ["turned"]
    assert prepared.datasets["turned"].rows == 24
    assert list(with_tasks(load_config(path), ["shape"]).sources) == ["shapes"]

    only = FILE.replace("shapes: image, ", "").replace("  shape: {", "  #")
    path.write_text(only)
    assert list(build_sources(load_config(path))) == ["turned"]
    path.write_text(only + "batches: {mixing: {kind: counts, counts: {shapes: 4, turned: 4}}}\n")
    with pytest.raises(ConfigError, match=r"counts\.shapes: no input reads this source"):
        load_config(path)

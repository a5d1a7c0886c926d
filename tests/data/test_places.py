"""Tables whose cells name files that are elsewhere."""

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from polytask.data.inputs import ImageInput
from polytask.data.linked import filled, renamed
from polytask.data.media import FileMedia
from polytask.data.predicting import read_unlabelled
from polytask.data.sources import Table
from polytask.data.tables import TableFile
from polytask.errors import ConfigError, DataError
from tests.data.conftest import png


def paths(table: Table, column: str) -> list[str | None]:
    media = table.media[column]
    assert isinstance(media, FileMedia)
    return [None if path is None else path.as_posix() for path in media.paths]


def put(folder: Path, *names: str) -> None:
    for k, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(png(k))


def test_a_place_is_made_of_the_row_s_cells(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("name,fold,y\na,1,0\nb,2,1\n,2,1\n")
    source = TableFile(
        path=tmp_path / "t.csv", media={"name": "image"}, places={"name": "f{fold}/{name}.png"}
    )
    found = paths(source.load(), "name")
    assert found == [f"{tmp_path}/f1/a.png", f"{tmp_path}/f2/b.png", None]


def test_numbers_get_their_zeros_back_and_the_first_place_with_the_file_counts(
    tmp_path: Path,
) -> None:
    put(tmp_path, "one/007.png", "two/008.png")
    (tmp_path / "t.csv").write_text("id\n007\n008\n009\n")
    places: dict[str, str | list[str]] = {"id": ["one/{id:03}.png", "two/{id:03}.png"]}
    table = TableFile(path=tmp_path / "t.csv", media={"id": "image"}, places=places).load()
    assert paths(table, "id") == [
        f"{tmp_path}/{name}" for name in ("one/007.png", "two/008.png", "one/009.png")
    ]
    with pytest.raises(DataError, match="no such file"):
        table.media["id"].picture(2)
    assert "one/009.png" in table.media["id"].where(2)


def test_places_that_cannot_be_are_refused(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("name,fold\na,1\n")
    with pytest.raises(ConfigError, match=r"`places.name`.*'clips/\{name\}'.*Found 'clips/'"):
        TableFile(path=tmp_path / "t.csv", media={"name": "image"}, places={"name": "clips/"})
    wrong = TableFile(
        path=tmp_path / "t.csv", media={"name": "image"}, places={"name": "{flod}/{name}"}
    )
    with pytest.raises(DataError, match=r"'flod'.*Did you mean 'fold'"):
        wrong.load()
    astray = TableFile(path=tmp_path / "t.csv", places={"name": "clips/{name}"})
    with pytest.raises(DataError, match=r"'name'\. Declare it under `media`"):
        astray.load()


def test_tables_to_predict_are_read_so_too_and_may_have_paths(tmp_path: Path) -> None:
    put(tmp_path, "new/pictures/a.png", "new/b.png")
    like = TableFile(
        path=tmp_path / "t.csv", media={"name": "image"}, places={"name": "pictures/{name}.png"}
    )
    inputs = {"photo": ImageInput(columns={"own": "name"}, size=8)}
    for file, column, cell in (("1", "name", "a"), ("2", "name", "b.png"), ("3", "other", "a")):
        table = tmp_path / "new" / f"{file}.csv"
        table.write_text(f"{column}\n{cell}\n")
        called = {} if column == "name" else {"name": column}
        (batch,) = read_unlabelled(table, inputs, like=like, called=called).batches(4)
        assert batch.inputs["photo"].values.shape[0] == 1


def test_a_new_table_without_the_folders_column_has_paths(tmp_path: Path) -> None:
    put(tmp_path, "b.png")
    like = TableFile(
        path=tmp_path / "t.csv", media={"name": "image"}, places={"name": "{fold}/{name}"}
    )
    inputs = {"photo": ImageInput(columns={"own": "name"}, size=8)}
    (tmp_path / "n.csv").write_text("name\nmissing.png\nb.png\n")
    with pytest.raises(DataError, match=r"n.csv row 2: .*/missing\.png: there is no such file"):
        list(read_unlabelled(tmp_path / "n.csv", inputs, like=like).batches(4))
    (tmp_path / "n.csv").write_text("name\nmissing.png\n")
    with pytest.raises(DataError, match=r"'fold', which the table does not have.*Add it, or"):
        read_unlabelled(tmp_path / "n.csv", inputs, like=like)


names = st.text(st.characters(categories=("L", "N")), min_size=1, max_size=8)


@given(names, names, st.integers(0, 9999), st.integers(4, 6))
@example("0", "1", 0, 4)
def test_renamed_columns_fill_the_same_places(column: str, name: str, cell: int, n: int) -> None:
    place = f"a/{{{column}:0{n}}}/{{{column}}}.png"
    (again,) = renamed([place], column, name)
    assert filled(again, {name: cell}) == filled(place, {column: cell})
    assert filled(place, {column: cell}) == f"a/{cell:0{n}}/{cell}.png"

"""Texts of sounds and pictures that are in files beside them."""

import warnings
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polytask.data.class_folders import ClassFolders
from polytask.data.file_texts import Said, matched
from polytask.errors import ConfigError, DataError
from tests.data.conftest import own_cache, png, riff, wave

__all__ = ["own_cache"]


def put(folder: Path, sounds: list[str], texts: Mapping[str, str]) -> Path:
    for name in sounds:
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(png() if name.endswith(".png") else riff(wave(0.05)))
    for name, text in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def read(folder: Path, **settings: str) -> dict[str, str | None]:
    table = ClassFolders(path=folder, **settings).load()  # type: ignore[arg-type]
    rows = zip(*table.cells(["path", "text"]).T, strict=True)
    return {str(path): text for path, text in rows}


LINES = {"a/t.trans.txt": "x-1 ONE TWO\nx-2\n\n", "b/t.trans.txt": "y-1 THREE\n"}


def test_lines_begin_with_names(tmp_path: Path) -> None:
    put(tmp_path, ["a/x-1.wav", "a/x-2.wav", "b/y-1.wav", "b/y-2.wav"], LINES)
    assert read(tmp_path, texts="*.trans.txt", separator=" ") == {
        "a/x-1.wav": "ONE TWO",
        "a/x-2.wav": None,
        "b/y-1.wav": "THREE",
        "b/y-2.wav": None,
    }


@pytest.mark.parametrize(
    ("line", "separator"),
    [
        ("x|it is", "|"),
        ("x.wav\tit is", "\t"),
        ("wavs/x.wav|it is", "|"),
        ("wavs\\x.wav: it is", ":"),
        ("\ufeffx|it is", "|"),
    ],
)
def test_names_in_lines_may_be_paths(line: str, separator: str, tmp_path: Path) -> None:
    put(tmp_path, ["wavs/x.wav"], {"all.txt": f"{line}\n"})
    assert read(tmp_path, texts="all.txt", separator=separator) == {"wavs/x.wav": "it is"}


def test_a_file_is_the_text_of_the_one_that_bears_its_name(tmp_path: Path) -> None:
    texts = {f"txt/{s}/1.txt": f" said by\n{s} \n" for s in ("p1", "p2")}
    put(tmp_path, ["wav/p1/1.wav", "wav/p2/1.wav"], texts)
    assert read(tmp_path, texts="*.txt") == {
        "wav/p1/1.wav": "said by p1",
        "wav/p2/1.wav": "said by p2",
    }
    (tmp_path / "txt/p2/1.txt").unlink()  # the other's is none of this one
    assert read(tmp_path, texts="*.txt") == {"wav/p1/1.wav": "said by p1", "wav/p2/1.wav": None}


def test_texts_of_the_same_folder_come_first(tmp_path: Path) -> None:
    put(tmp_path, ["x.wav", "a/x.wav"], {"x.txt": "above", "a/b/a/x.txt": "elsewhere"})
    assert read(tmp_path, texts="*.txt") == {"x.wav": "above", "a/x.wav": "elsewhere"}
    put(tmp_path, [], {"a/x.txt": "here"})
    assert read(tmp_path, texts="*.txt") == {"x.wav": "above", "a/x.wav": "here"}
    for name in ("a/x.txt", "a/b/a/x.txt"):  # what is above is said of the one above
        (tmp_path / name).unlink()
    assert read(tmp_path, texts="*.txt") == {"x.wav": "above", "a/x.wav": None}


def test_endings_may_have_several_points_and_pictures_have_texts(tmp_path: Path) -> None:
    texts = {"1.normalized.txt": "one", "1.original.txt": "1", "2.normalized.txt": "two"}
    put(tmp_path, ["1.png", "2.png"], texts)
    assert read(tmp_path, texts="*.normalized.txt") == {"1.png": "one", "2.png": "two"}


def test_a_text_may_be_of_two_microphones(tmp_path: Path) -> None:
    sounds = ["p1_001_mic1.wav", "p1_001_mic2.wav", "p1_002.wav", "p1_002_b.wav"]
    put(tmp_path, sounds, {"txt/p1_001.txt": "one", "txt/p1_002.txt": "two"})
    assert list(read(tmp_path, texts="*.txt").values()) == ["one", "one", "two", None]


@given(st.permutations(range(6)), st.permutations(range(6)))
def test_the_order_of_texts_does_not_matter(texts: list[int], files: list[int]) -> None:
    said = [Said(f"n{k}", (), str(k), "t") for k in texts]
    names = [Path(f"deep/n{k}.wav") for k in files]
    assert matched(names, said) == [str(k) for k in files]


def test_texts_that_are_not_clear_are_told(tmp_path: Path) -> None:
    put(tmp_path, ["a/x-1.wav"], {"one.txt": "x-1 ONE", "two.txt": "x-1 TWO"})
    with pytest.raises(
        DataError, match=r"x-1\.wav has two texts: one\.txt line 1 \('ONE'\) and tw"
    ):
        read(tmp_path, texts="*.txt", separator=" ")
    (tmp_path / "two.txt").write_text("x-1 ONE\nz-9 NINE\n")
    with pytest.warns(UserWarning, match=r"left out 1 texts .* no file, such as two\.txt line 2"):
        assert read(tmp_path, texts="*.txt", separator=" ") == {"a/x-1.wav": "ONE"}


@pytest.mark.parametrize(
    ("texts", "separator", "told"),
    [
        ("*.lab", None, r"`texts` finds no file '\*\.lab'"),
        (
            "t.trans.txt",
            "|",
            r"is of none of 1 files, such as a/x-1\.wav: a/t\.trans\.txt line 1 is",
        ),
    ],
)
def test_texts_of_no_file_are_an_error(
    texts: str, separator: str | None, told: str, tmp_path: Path
) -> None:
    put(tmp_path, ["a/x-1.wav"], LINES)
    with pytest.raises(DataError, match=told):
        ClassFolders(path=tmp_path, texts=texts, separator=separator).load()


def test_settings_that_do_not_go_together(tmp_path: Path) -> None:
    for settings, told in (
        ({"texts": "t.txt"}, r"should have one '\*'.*or set `separator`"),
        ({"separator": " "}, "`separator` is about `texts`"),
        ({"texts": "t.txt", "separator": ""}, "what stands between"),
    ):
        with pytest.raises(ConfigError, match=told):
            ClassFolders(path=tmp_path, **settings)  # type: ignore[arg-type]
    put(tmp_path, ["a/x-1.wav"], LINES)
    source = ClassFolders(path=tmp_path, pattern="(?P<text>.*)", texts="*.txt", separator=" ")
    with pytest.raises(ConfigError, match="group 'text'"):
        source.load()
    put(tmp_path / "only", [], {"a.txt": "it is"})
    with pytest.raises(DataError, match=r"of which .*only has none"):
        ClassFolders(path=tmp_path / "only", texts="*.txt").load()


def test_folders_of_parts_may_go_on_where_files_have_texts(tmp_path: Path) -> None:
    parts = {
        "train-clean-100": "19",
        "train-other-500": "20",
        "dev-clean": "84",
        "test-other": "61",
    }
    for part, who in parts.items():
        put(tmp_path, [f"{part}/{who}/7/{who}-7-0.wav"], {f"{part}/{who}/7/t.txt": f"{who}-7-0 HI"})
    settings = {"texts": "t.txt", "separator": " "}
    pattern = "(?P<speaker>[^/]+)/[^/]+/[^/]+"
    table = ClassFolders(path=tmp_path, pattern=pattern, **settings).load()  # type: ignore[arg-type]
    assert table.fixed_split is not None
    found = dict(zip(table.cells(["speaker"])[:, 0], table.fixed_split, strict=True))
    assert found == {"19": "train", "20": "train", "84": "validation", "61": "test"}
    with pytest.raises(DataError, match="should be named for a part"):
        ClassFolders(path=put(tmp_path, ["mine/1/7/1-7-0.wav"], {}), **settings).load()  # type: ignore[arg-type]


def test_parts_without_one_to_learn_from_are_no_split(tmp_path: Path) -> None:
    put(tmp_path, ["dev-clean/1.wav", "test-clean/2.wav"], {"t.txt": "1 ONE\n2 TWO\n"})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table = ClassFolders(path=tmp_path, texts="t.txt", separator=" ").load()
    assert table.fixed_split is None and "label" not in table.columns


def test_the_fingerprint_is_also_of_the_texts(tmp_path: Path) -> None:
    put(tmp_path, ["a/x.wav"], {"a/x.txt": "one"})
    first = ClassFolders(path=tmp_path, texts="*.txt").load().fingerprint
    (tmp_path / "a/x.txt").write_text("another")
    assert ClassFolders(path=tmp_path, texts="*.txt").load().fingerprint != first

"""`polytask init` for folders of files: whose they are, and what their names say."""

from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from polytask.config import load_config
from polytask.data.class_folders import ClassFolders
from polytask.errors import DataError
from polytask.survey.drafting import draft
from polytask.survey.file_names import parts_of, pattern_of
from polytask.survey.persons import folders_of_persons
from polytask.workflow import prepare_data
from tests.data.conftest import own_cache, png, riff, wave

__all__ = ["own_cache"]


def actors(folder: Path, first: int = 1) -> Path:
    """Twelve sounds each of ten actors, named by emotion, intensity, take and actor."""
    content = riff(wave(0.2))
    for actor in range(first, first + 10):
        for k in range(12):
            path = folder / f"Actor_{actor:02d}" / f"03-{k % 3:02d}-{k % 2}-{k:02d}-{actor:02d}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    return folder


def test_folders_of_persons_are_doubted_and_names_are_pointed_at(tmp_path: Path) -> None:
    place = actors(tmp_path / "my sounds")
    text = draft(place, [], tmp_path / "x.yaml")
    assert yaml.safe_load(text)["tasks"]["label"]["kind"] == "multiclass"
    flat = " ".join(text.replace("\n# ", "\n").split())
    assert "The folders seem to be actors: this draft learns to tell them apart" in flat
    assert "Names of files have 5 parts, as 03-00-0-00-01.wav has" in flat
    assert f"polytask init '{place}' --columns a,b,c,d,e --targets a" in flat
    with pytest.raises(DataError, match=r"Found emotion.*--columns a,b,c,d,e"):
        draft(place, ["emotion"], tmp_path / "x.yaml")


def test_a_few_names_that_do_not_fit_hide_no_hint_and_are_left_out(tmp_path: Path) -> None:
    names = [f"{20 + k % 9}_{k % 2}_{k % 5}_{k}.png" for k in range(60)]
    for name in (*names, "30_1_77.png", "31_1_78.png"):
        (tmp_path / "d").mkdir(exist_ok=True)
        (tmp_path / "d" / name).write_bytes(png())
    with pytest.raises(DataError, match=r"Names of files have 4 parts.*--columns a,b,c,d"):
        draft(tmp_path / "d", [], tmp_path / "x.yaml")
    file = tmp_path / "x.yaml"
    file.write_text(draft(tmp_path / "d", ["age"], file, ["age", "sex", "race", "_"]))
    assert "# 2 names do not fit the pattern below" in file.read_text()
    assert "left out: 30_1_77.png, 31_1_78.png" in " ".join(file.read_text().split("\n# "))
    assert "on_bad: skip" in file.read_text() and "labels missing" not in file.read_text()
    summary = prepare_data(load_config(file), None).summary()
    assert summary["skipped"] == {"data": 2}
    assert sum(by["data"] for by in summary["rows"].values()) == 60


def test_parts_of_names_are_drafted_as_columns(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    columns = ["_", "emotion", "intensity", "take", "_"]
    file.write_text(draft(actors(tmp_path / "d"), ["emotion", "intensity"], file, columns))
    written = yaml.safe_load(file.read_text())
    pattern = "(?P<actor>[^/]+)/[^-/]+-(?P<emotion>[^-/]+)-(?P<intensity>[^-/]+)-(?P<take>[^-/]+)"
    assert written["sources"]["data"]["pattern"] == pattern + "-[^-/]+"
    assert written["sources"]["data"]["split"]["group"] == "actor"
    assert {t: of["kind"] for t, of in written["tasks"].items()} == {
        "emotion": "multiclass",
        "intensity": "binary",
    }
    prepared = prepare_data(load_config(file), None)
    assert sum(by["data"] for by in prepared.summary()["rows"].values()) == 120


@pytest.mark.parametrize("torn", [False, True])
def test_parts_above_and_ids_are_kept_apart(torn: bool, tmp_path: Path) -> None:
    for who in range(12):
        part = "test" if who > 9 else "train"
        for k in range(6):
            folder = tmp_path / "d" / ("test" if torn and k == 5 else part) / f"p{200 + who}"
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{'yn'[k % 2]}_{k}.wav").write_bytes(riff(wave(0.2)))
    text = draft(tmp_path / "d", ["word"], tmp_path / "x.yaml", ["word", "_"])
    (tmp_path / "x.yaml").write_text(text)
    source = yaml.safe_load(text)["sources"]["data"]
    assert source["pattern"] == "(?P<folder>[^/]+)/(?P<word>[^_/]+)_[^_/]+"
    assert source["split"] == {"fixed": True, "validation": 0.15} | (
        {} if torn else {"group": "folder"}
    )
    assert ("rows of one folder are in several parts" in text) == torn
    assert prepare_data(load_config(tmp_path / "x.yaml"), None).summary()["rows"]["validation"]


def test_few_persons_do_not_divide(tmp_path: Path) -> None:
    place = tmp_path / "d"
    place.mkdir()
    for k in range(60):
        (place / f"{k % 3}_{('ann', 'ben', 'eve')[k // 3 % 3]}_{k}.png").write_bytes(png(k))
    text = draft(place, ["digit"], tmp_path / "x.yaml", ["digit", "speaker", "_"])
    split = yaml.safe_load(text)["sources"]["data"]["split"]
    assert split == {"test": 0.15, "validation": 0.15, "stratify": "digit"}


def test_names_without_folders_ask_for_their_parts(tmp_path: Path) -> None:
    place = tmp_path / "d"
    place.mkdir()
    for k in range(12):
        (place / f"{k % 3}_{'ab'[k % 2]}_{k}.png").write_bytes(png(k))
    with pytest.raises(DataError, match=r"in no folders.*Names of files have 3 parts"):
        draft(place, [], tmp_path / "x.yaml")
    with pytest.raises(DataError, match=r"names 2 parts.*have 3 parts, divided by '_'"):
        draft(place, ["x"], tmp_path / "x.yaml", ["x", "y"])
    (place / "1_a.png").write_bytes(png(1))
    with pytest.raises(
        DataError, match=r"1_a.png should have 3 parts, divided by '_', as 12 of 13"
    ):
        draft(place, ["x"], tmp_path / "x.yaml", ["x", "y", "z"])
    with pytest.raises(DataError, match="cannot be called 'my label'"):
        draft(place, ["x"], tmp_path / "x.yaml", ["x", "my label", "z"])


def test_class_folders_whose_names_say_nothing_more_get_no_hint(tmp_path: Path) -> None:
    for k in range(12):
        path = tmp_path / "d" / ("cat", "dog")[k % 2] / f"{('cat', 'dog')[k % 2]}_{k:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(k))
    text = draft(tmp_path / "d", [], tmp_path / "x.yaml")
    assert "Names of files" not in text and "The folders seem" not in text


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["Actor_01", "Actor_02", "Actor_10"], "actor"),
        (["speaker1", "speaker2", "speaker3"], "speaker"),
        (["spk01", "spk02", "spk03"], "speaker"),
        (["p225", "p226", "s300"], "id"),
        (["84", "174", "1993"], "id"),
        (["0", "1", "2", "9"], None),  # digits
        (["n01440764", "n01443537", "n01484850"], None),
        (["cat1", "dog2", "emu3"], None),
        (["class_01", "class_02", "class_03"], None),
        (["cat", "dog", "actor"], None),
    ],
)
def test_folders_of_persons_are_known_by_their_names(names: list[str], found: str | None) -> None:
    assert folders_of_persons(names) == found


def test_the_mark_that_divides_most_is_taken() -> None:
    names = [Path("yes-no_ann_07.wav"), Path("no-no_ben_08.wav")]
    assert parts_of(names) == ("_", 3)
    assert parts_of([Path("a_b.wav"), Path("a_b_c.wav")]) is None
    assert parts_of([Path("a__b.wav")]) is None
    deep = [Path("x/y/1.a.wav"), Path("z/2.b.wav")]
    assert pattern_of(deep, ["n", "_"], None)[0] == r"(?:.*/)?(?P<n>[^./]+)\.[^./]+"
    assert pattern_of(deep, ["n", "_"], "who")[1] == ["who", "n"]


EMOTIONS = [f"{who:02}{text}{mood}{take}" for who in range(9) for text in ("a01", "b02")
            for mood in "WF" for take in "ab"]  # fmt: skip
MOODS = [
    f"{who}_{mood}{k:02}" for who in ("DC", "JE", "KL") for mood in ("a", "sa") for k in range(9)
]


def sounds(folder: Path, names: list[str]) -> Path:
    for k, name in enumerate(names):
        (folder / "wav").mkdir(parents=True, exist_ok=True)
        (folder / "wav" / f"{name}.wav").write_bytes(riff(wave(0.05, pitch=200.0 + 9 * k)))
    return folder


@pytest.mark.parametrize(
    ("names", "columns", "first"),
    [
        (EMOTIONS, ["who:2", "text:3", "mood", "_"], ("00", "a01", "F")),
        (MOODS, ["who", "mood", "_"], ("DC", "a")),
    ],
)
def test_parts_without_a_mark_are_runs_or_so_many_letters(
    tmp_path: Path, names: list[str], columns: list[str], first: tuple[str, ...]
) -> None:
    text = draft(sounds(tmp_path / "s", names), ["mood"], tmp_path / "c.yaml", columns)
    (tmp_path / "c.yaml").write_text(text)
    table = prepare_data(load_config(tmp_path / "c.yaml"), None).datasets["data"].table
    named = [c.partition(":")[0] for c in columns if c != "_"]
    assert tuple(table.cells(named)[0]) == first
    assert len({tuple(row) for row in table.cells(["mood"])}) == 2


def test_names_without_a_mark_are_pointed_at(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"one folder, 'wav'.*4 runs.*or how many letters.*a:2,b:3"):
        draft(sounds(tmp_path / "s", EMOTIONS), [], tmp_path / "c.yaml")
    with pytest.raises(DataError, match=r"2 parts, as DC_a00.*or each of the 3 runs"):
        draft(sounds(tmp_path / "t", MOODS), [], tmp_path / "c.yaml")


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        (["who:2", "rest:9"], "00a01Wa.wav.* should have 11 letters.*who:2, rest:9"),
        (["who:two", "rest:5"], "'who:two' should say how many letters"),
        (["a", "b", "c", "d", "e"], "say how many letters each has"),
    ],
)
def test_parts_that_do_not_fit_are_said(tmp_path: Path, columns: list[str], told: str) -> None:
    with pytest.raises(DataError, match=told):
        pattern_of([Path(f"{name}.wav") for name in EMOTIONS], columns, None)


def test_folders_of_masks_are_no_labels(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for k in range(6):
        for folder in ("images", "masks"):
            (tmp_path / "d" / folder).mkdir(parents=True, exist_ok=True)
            pixels = rng.integers(0, 256, (20, 20, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "d" / folder / f"{k}.png")
    with pytest.raises(DataError, match=r"each of their pixels \(masks\), not labels.*media: {im"):
        draft(tmp_path / "d", [], tmp_path / "c.yaml")
    (tmp_path / "d/images").rename(tmp_path / "d/hats")  # masks may be worn as well
    assert "kind: folders" in draft(tmp_path / "d", [], tmp_path / "c.yaml")


def test_speakers_that_are_predicted_are_said_to_flatter(tmp_path: Path) -> None:
    folder, columns = sounds(tmp_path / "s", MOODS), ["speaker", "mood", "_"]
    text = draft(folder, ["mood", "speaker"], tmp_path / "c.yaml", columns)
    assert "# speaker is predicted, so that rows of each are in all parts" in text
    assert "is predicted" not in draft(folder, ["speaker"], tmp_path / "c.yaml", columns)


def test_folders_in_folders_are_columns_too(tmp_path: Path) -> None:
    names = [f"id{k % 4}/v{k // 4 % 3}{k % 4}/{k // 12:05}" for k in range(48)]
    data = tmp_path / "s"
    for name in names:
        (data / name).parent.mkdir(parents=True, exist_ok=True)
        (data / f"{name}.wav").write_bytes(riff(wave(0.1)))
    text = draft(data, ["who"], tmp_path / "c.yaml", ["who", "video", "_"])
    drafted = yaml.safe_load(text)["sources"]["data"]
    assert drafted["pattern"] == "(?P<who>[^/]+)/(?P<video>[^/]+)/[^/]+"
    assert drafted["split"]["group"] == "video"
    table = ClassFolders(path=data, pattern=drafted["pattern"]).load()
    assert table.cells(["who", "video"])[0].tolist() == ["id0", "v00"]
    text = draft(data, [], tmp_path / "c.yaml")
    assert "Files are in folders in folders" in text and "--columns a,b,c --targets a" in text

"""Files without labels, read as training rows were."""

from pathlib import Path

import numpy as np
import pytest
import torch

from polytask.data.inputs import ImageInput, SoundInput
from polytask.data.predicting import read_unlabelled
from polytask.data.tables import TableFile
from polytask.data.tabular import TableInput
from polytask.data.text import TextInput
from polytask.errors import ConfigError, DataError
from tests.data.conftest import png, riff, wave

PHOTO = ImageInput(columns={"own": "photo"}, size=8)
SOUND = SoundInput(columns={"fsdd": "audio"}, seconds=0.2)


def folder(path: Path) -> Path:
    (path / "deep").mkdir(parents=True)
    for k in range(5):
        (path / f"{k}.png").write_bytes(png(k))
        (path / "deep" / f"{k}.wav").write_bytes(riff(wave(0.05 * (k + 1))))
    (path / "notes.txt").write_text("left out")
    (path / ".hidden.png").write_bytes(b"")
    return path


def test_a_folder_feeds_every_input_that_reads_it(tmp_path: Path) -> None:
    found = read_unlabelled(folder(tmp_path / "f"), {"photo": PHOTO, "sound": SOUND})
    batches = list(found.batches(3))
    assert [{k: len(v.values) for k, v in b.inputs.items()} for b in batches] == [
        {"photo": 3},
        {"photo": 2},
        {"sound": 3},
        {"sound": 2},
    ]
    names = [found.describe(r) for b in batches for rows in b.rows.values() for r in rows]
    assert names[4].endswith("4.png") and names[5].endswith("deep/0.wav") and len(names) == 10
    assert batches[3].inputs["sound"].values.shape == (2, 1600)
    assert all(not b.targets and not b.present for b in batches)


def test_a_single_file_and_a_table(tmp_path: Path) -> None:
    place = folder(tmp_path / "f")
    (batch,) = read_unlabelled(place / "3.png", {"photo": PHOTO}).batches(8)
    assert batch.inputs["photo"].values[0, 0, 5, 5] == 3
    numbers = TableInput(columns={"own": ["age", "kind"]})
    numbers.load_state(
        {
            "columns": [
                {"kind": "number", "name": "age", "mean": 2.0, "std": 2.0, "blank": True},
                {"kind": "category", "name": "kind", "values": ["cat"]},
            ]
        }
    )
    (place / "t.csv").write_text("photo,age,kind\n1.png,4,cat\n2.png,,dog\n")
    found = read_unlabelled(place / "t.csv", {"photo": PHOTO, "facts": numbers})
    (batch,) = found.batches(8)
    assert batch.inputs["facts"].values.tolist() == [[1, 0, 1], [0, 1, 0]]
    assert len(batch.inputs["photo"].values) == 2 and found.describe(1) == "t.csv row 3"
    (place / "t.csv").write_text("photo,age,kind\n1.png,four,cat\n")
    with pytest.raises(DataError, match=r"t\.csv row 2: column 'age'.*Found 'four'"):
        list(read_unlabelled(place / "t.csv", {"photo": PHOTO, "facts": numbers}).batches(8))
    (place / "t.csv").write_text("agee,kind\n1,cat\n")
    with pytest.raises(DataError, match="Did you mean 'agee'"):
        read_unlabelled(place / "t.csv", {"facts": numbers})


def test_a_table_is_read_as_that_of_training_was(tmp_path: Path) -> None:
    numbers = TableInput(columns={"own": ["age"]})
    numbers.load_state(
        {"columns": [{"kind": "number", "name": "age", "mean": 0.0, "std": 1.0, "blank": True}]}
    )
    (tmp_path / "train.csv").write_text("1,5;a\n")
    like = TableFile(
        path=tmp_path / "train.csv", columns=["age", "label"], decimal=",", missing=["?"]
    )
    rows = '2,5;say "so\n?;b\n'
    for name, text in {"bare": rows, "headed": "label;age\nsay;2,5\nb;?\n"}.items():
        (tmp_path / f"{name}.csv").write_text(text)
        found = read_unlabelled(tmp_path / f"{name}.csv", {"facts": numbers}, like=like)
        (batch,) = found.batches(8)
        assert batch.inputs["facts"].values.tolist() == [[2.5, 0], [0, 1]]
    like = TableFile(path=tmp_path / "was.data", format="csv", decimal=",")
    (tmp_path / "new.data").write_text("age;label\n2,5;a\n")
    (batch,) = read_unlabelled(tmp_path / "new.data", {"facts": numbers}, like=like).batches(8)
    assert batch.inputs["facts"].values.tolist() == [[2.5, 0]]
    with pytest.raises(DataError, match="has none of the columns that this run reads"):
        read_unlabelled(tmp_path / "bare.csv", {"facts": numbers})


def test_a_table_may_call_columns_otherwise(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    import pyarrow

    cells = {"image": [{"bytes": png(3), "path": "x.png"}, {"bytes": png(4)}], "years": [2.0, 4.0]}
    parquet.write_table(pyarrow.table(cells), tmp_path / "t.parquet")
    numbers = TableInput(columns={"own": ["age"]})
    numbers.load_state(
        {"columns": [{"kind": "number", "name": "age", "mean": 0.0, "std": 1.0, "blank": True}]}
    )
    inputs = {"photo": PHOTO, "facts": numbers}
    told = r"\(photo: photo; facts: .*Its columns: image, years\. If 'image' holds the images: "
    with pytest.raises(DataError, match=told + "--column photo=image"):
        read_unlabelled(tmp_path / "t.parquet", inputs)
    called = {"photo": "image", "age": "years"}
    (batch,) = read_unlabelled(tmp_path / "t.parquet", inputs, called=called).batches(8)
    assert batch.inputs["photo"].values[:, 0, 5, 5].tolist() == [3, 4]
    assert batch.inputs["facts"].values.tolist() == [[2, 0], [4, 0]]
    for called, wrong in (
        ({"foto": "image"}, "no input reads a column 'foto'. Did you mean 'photo'"),
        ({"photo": "imag"}, "t.parquet has no column 'imag'. Did you mean 'image'"),
    ):
        with pytest.raises(DataError, match=wrong):
            read_unlabelled(tmp_path / "t.parquet", inputs, called=called)
    with pytest.raises(ConfigError, match="--column goes with a table"):
        read_unlabelled(folder(tmp_path / "f"), inputs, called={"photo": "image"})


def test_recordings_of_a_model_of_frames_give_frames(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(riff(wave(0.4, 16000), 16000))
    some = SoundInput(columns={"timit": "audio"}, sample_rate=16000)
    some.load_state({"window": {"seconds": 0.1, "step": 0.02, "before": 0.04}})
    found = read_unlabelled(tmp_path / "a.wav", {"sound": some})
    values = torch.cat([b.inputs["sound"].values for b in found.batches(7)])
    whole = np.pad(wave(0.4, 16000), 640)
    assert values.shape == (20, 1600)
    assert values[19].tolist() == whole[320 * 19 : 320 * 19 + 1600].tolist()
    assert found.describe(3).endswith("a.wav at 0.06 s")


def test_bad_files(tmp_path: Path) -> None:
    place = folder(tmp_path / "f")
    (place / "2.png").write_bytes(b"broken")
    with pytest.raises(DataError, match=r"2\.png: not a readable picture"):
        list(read_unlabelled(place, {"photo": PHOTO}).batches(2))
    found = read_unlabelled(place, {"photo": PHOTO}, on_bad="skip")
    assert sum(b.size for b in found.batches(2)) == 4 and len(found.skipped) == 1
    (place / "notes").write_text("left out")
    with pytest.raises(DataError, match=r"notes is not known.*\.png.*\.wav.*\.csv"):
        read_unlabelled(place / "notes", {"photo": PHOTO})
    with pytest.raises(DataError, match="no input of this run reads"):
        read_unlabelled(place / "deep", {"photo": PHOTO})
    with pytest.raises(DataError, match="There is no file or folder"):
        read_unlabelled(place / "nowhere", {"photo": PHOTO})
    with pytest.raises(ConfigError, match="say which `input`"):
        read_unlabelled(place, {"a": PHOTO, "b": PHOTO})
    assert len(read_unlabelled(place, {"a": PHOTO, "b": PHOTO}, input="b")) == 5
    (place / "t.csv").write_text("x\n1\n")
    with pytest.raises(DataError, match="none of the columns"):
        read_unlabelled(place / "t.csv", {"photo": PHOTO})


def test_a_file_of_arff_is_a_table(tmp_path: Path) -> None:
    numbers = TableInput(columns={"own": ["age"]})
    numbers.load_state(
        {"columns": [{"kind": "number", "name": "age", "mean": 0.0, "std": 1.0, "blank": True}]}
    )
    (tmp_path / "t.arff").write_text("@relation t\n@attribute years numeric\n@data\n4\n?\n")
    found = read_unlabelled(tmp_path / "t.arff", {"facts": numbers}, called={"age": "years"})
    (batch,) = found.batches(8)
    assert batch.inputs["facts"].values.tolist() == [[4, 0], [0, 1]]
    assert found.describe(1) == "t.arff row 2 of its data"
    (tmp_path / "t.txt").write_text("age\n4\n")
    with pytest.raises(DataError, match=r"no input of this run reads: facts.*end in \.csv"):
        read_unlabelled(tmp_path / "t.txt", {"facts": numbers})


def test_words_with_spaces_in_them_stay_one(tmp_path: Path) -> None:
    reader = TextInput(columns={"own": "tokens"}, min_count=1)
    reader.load_state({"per_word": True, "unknown": 1, "units": ["đi"]})
    (tmp_path / "t.jsonl").write_text('{"tokens": ["học sinh", "đi"]}\n')
    found = read_unlabelled(tmp_path / "t.jsonl", {"words": reader})
    list(found.batches(8))
    assert found.texts(0) == {"words": "học\u00a0sinh đi"}

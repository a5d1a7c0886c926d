"""From files to gathered batches: the cache, bad input, labels, several sources."""

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from polytask.data import cache as cache_module
from polytask.data.dataset import Prepared
from polytask.data.decoding import decode_picture
from polytask.data.inputs import ImageInput, SoundInput
from polytask.data.media import FileMedia
from polytask.data.mixing import Uniform
from polytask.data.preparing import prepare
from polytask.data.speech import SpokenDigits
from polytask.data.splits import Split
from polytask.data.stores import PictureStore, SoundStore
from polytask.data.stream import BatchStream
from polytask.data.tables import TableFile
from polytask.data.tabular import TableInput
from polytask.data.timit import Timit
from polytask.errors import ConfigError, DataError
from polytask.tasks import Multiclass, Regression
from tests.data.conftest import digits_zip, png, riff, sphere, timit_folder, truncated, wave

KIND = Multiclass(name="kind", input="photo", target={"own": "kind"})
AGE = Regression(name="age", input="photo", target={"own": "age"})


def own_folder(folder: Path, rows: int = 20) -> Path:
    """A newcomer's folder: pictures, three targets, one of them half empty."""
    folder.mkdir(exist_ok=True)
    lines = ["photo,kind,age,half,noise"]
    for k in range(rows):
        (folder / f"{k}.png").write_bytes(png(10 * k % 256, (10 + k % 3, 12)))
        half = "" if k % 2 else ("yes" if k % 4 else "no")
        lines.append(f"{k}.png,{'cat' if k % 3 else 'dog'},{k * 1.5},{half},{k % 4}")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    return folder / "labels.csv"


def own(path: Path, tasks: tuple[object, ...] = (KIND,), **more: object) -> Prepared:
    source = TableFile(path=path, media={"photo": "image"})
    inputs = {"photo": ImageInput(columns={"own": "photo"}, size=8)}
    return prepare({"own": source}, inputs, tasks, **more)  # type: ignore[arg-type]


def test_a_newcomers_folder(tmp_path: Path) -> None:
    half = Multiclass(name="half", input="photo", target={"own": "half"})
    ready = own(own_folder(tmp_path / "f"), (KIND, AGE, half), splits=Split(stratify="kind"))
    batch = ready.datasets["own"].gather(torch.tensor([3, 0, 1]))
    assert batch.inputs["photo"].values.shape == (3, 3, 8, 8)
    assert batch.inputs["photo"].values.dtype == torch.uint8
    assert batch.present["half"].tolist() == [False, True, False]
    kind = ready.tasks[0]
    assert [kind.classes[t] for t in batch.targets["kind"].tolist()] == [  # type: ignore[attr-defined]
        "dog",
        "dog",
        "cat",
    ]
    summary = ready.summary()
    assert json.loads(json.dumps(summary)) == summary
    assert summary["rows"]["test"] == {"own": 3}
    assert sum(summary["labels"]["half"].values()) == 10
    assert sum(summary["classes"]["kind"]["train"].values()) == 14
    assert len(ready.inputs["photo"].features["mean"]) == 3
    assert ready.describe(4) == "labels.csv row 6"


def test_the_cache_is_used_and_reads_no_picture_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = own_folder(tmp_path / "f")
    calls: list[tuple[int, int, str]] = []
    first = own(path, progress=lambda *a: calls.append(a))
    assert calls[-1] == (20, 20, "own.photo")

    def refuse(self: object, item: int) -> bytes:
        raise AssertionError("the source was read again")

    monkeypatch.setattr(FileMedia, "content", refuse)
    second = own(path)
    rows = torch.arange(20)
    one, two = (p.datasets["own"].gather(rows).inputs["photo"].values for p in (first, second))
    assert torch.equal(one, two)


@pytest.mark.parametrize("harm", ["cut", "no manifest", "bad manifest", "half written"])
def test_a_damaged_cache_is_rebuilt(tmp_path: Path, own_cache: Path, harm: str) -> None:
    path = own_folder(tmp_path / "f")
    before = own(path).datasets["own"].gather(torch.arange(20)).inputs["photo"].values.clone()
    (entry,) = (own_cache / "decoded").iterdir()
    if harm == "cut":
        pictures = entry / "pictures.npy"
        pictures.write_bytes(pictures.read_bytes()[:-100])
    elif harm == "no manifest":
        (entry / "manifest.json").unlink()
    elif harm == "bad manifest":
        (entry / "manifest.json").write_text('{"sizes": ')
    else:
        entry.rename(entry.with_name(f".{entry.name}-abc"))
    after = own(path).datasets["own"].gather(torch.arange(20)).inputs["photo"].values
    assert torch.equal(before, after)
    assert len([p for p in (own_cache / "decoded").iterdir() if p.name[0] != "."]) == 1


def test_an_interrupted_write_leaves_nothing(
    tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = own_folder(tmp_path / "f")
    monkeypatch.setattr(cache_module, "_CHUNK", 4)

    def stop(done: int, total: int, what: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        own(path, progress=stop)
    assert list((own_cache / "decoded").iterdir()) == []


def test_another_process_may_be_first(
    tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = own_folder(tmp_path / "f")
    publish = cache_module._publish

    def late(part: Path, folder: Path, *rest: object) -> None:
        monkeypatch.setattr(cache_module, "_publish", publish)
        own(path)  # the other process
        publish(part, folder, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(cache_module, "_publish", late)
    assert own(path).datasets["own"].rows == 20
    assert len(list((own_cache / "decoded").iterdir())) == 1


def test_a_full_disk_is_an_error_to_mend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache_module, "_flush", full)
    with pytest.raises(DataError, match=r"No space left.*POLYTASK_CACHE"):
        own(own_folder(tmp_path / "f"))


def broken_folder(folder: Path) -> Path:
    path = own_folder(folder)
    (folder / "4.png").write_bytes(b"not a picture")
    (folder / "7.png").write_bytes(truncated((folder / "7.png").read_bytes()))
    (folder / "9.png").unlink()
    return path


def test_all_bad_rows_are_reported_at_once(tmp_path: Path, own_cache: Path) -> None:
    path = broken_folder(tmp_path / "f")
    with pytest.raises(DataError) as error:
        own(path)
    text = str(error.value)
    assert text.startswith("3 rows cannot be read:")
    for row, name, reason in (
        (6, "4", "b'not a pi'"),
        (9, "7", "not a read"),
        (11, "9", "no such"),
    ):
        assert any(
            f"labels.csv row {row}: column 'photo'" in line and f"{name}.png" in line
            for line in text.splitlines()
        )
        assert reason in text
    assert "on_bad: skip" in text
    assert list((own_cache / "decoded").iterdir()) == []


def test_skipped_rows_are_listed_and_in_no_part(tmp_path: Path) -> None:
    path = broken_folder(tmp_path / "f")
    for _ in range(2):  # decoded, then from the cache
        ready = own(path, on_bad="skip")
        assert [row for row, _ in ready.datasets["own"].skipped] == [4, 7, 9]
        assert ready.summary()["skipped"] == {"own": 3}
        rows = torch.cat([per["own"] for per in ready.parts.values()]).tolist()
        assert sorted(rows) == [k for k in range(20) if k not in (4, 7, 9)]
    with pytest.raises(DataError, match="3 rows cannot be read"):
        own(path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (truncated(riff(wave())), "cut off: .* bytes are missing"),
        (truncated(sphere(wave(0.2))), "cut off: .* bytes are missing"),
        (truncated(riff(wave(), kind="AIFF")), "cut off: .* bytes are missing"),
        (b"noise", "not a readable sound"),
        (b"", "the file is empty"),
        (riff(np.zeros(0, np.int16)), "no samples"),
        (riff(np.full(50, np.nan, np.float32), subtype="FLOAT"), "not finite"),
    ],
)
def test_bad_sounds(tmp_path: Path, content: bytes, reason: str) -> None:
    lines = ["audio,word"]
    for k in range(10):
        (tmp_path / f"{k}.wav").write_bytes(riff(wave()) if k != 5 else content)
        lines.append(f"{k}.wav,{k % 2}")
    (tmp_path / "t.csv").write_text("\n".join(lines))
    source = TableFile(path=tmp_path / "t.csv", media={"audio": "sound"})
    task = Multiclass(name="word", input="sound", target={"own": "word"})
    with pytest.raises(DataError, match=rf"t\.csv row 7: column 'audio': .*5\.wav: .*{reason}"):
        prepare({"own": source}, {"sound": SoundInput(columns={"own": "audio"})}, [task])


def test_label_mistakes_name_the_row(tmp_path: Path) -> None:
    path = own_folder(tmp_path / "f")
    path.write_text(path.read_text().replace("6.0,", "old,"))
    with pytest.raises(DataError, match=r"labels\.csv row 6.*Found 'old'"):
        own(path, (AGE,))
    path.write_text(path.read_text().replace("old,", ","))
    assert not own(path, (AGE,)).datasets["own"].present["age"][4]
    with pytest.raises(DataError, match="Did you mean 'kind'"):
        own(path, (replace(KIND, target={"own": "kinds"}),))
    empty = replace(KIND, target={"own": "empty"})
    path.write_text(
        "\n".join(
            f"{x},{'empty' if k == 0 else ''}" for k, x in enumerate(path.read_text().split())
        )
    )
    with pytest.raises(DataError, match="'kind' has no label in any training row"):
        own(path, (empty,))


def test_labels_that_training_never_saw(tmp_path: Path) -> None:
    path = own_folder(tmp_path / "f")
    lines = path.read_text().splitlines()
    lines[20] = lines[20].replace("cat", "cow").replace("dog", "cow")
    parts = ["part"] + ["train"] * 15 + ["val"] * 2 + ["test"] * 3
    path.write_text("\n".join(f"{line},{part}" for line, part in zip(lines, parts, strict=True)))
    with pytest.raises(DataError, match=r"labels\.csv row 21, column 'kind': .*'cow'"):
        own(path, splits=Split(column="part"))
    ready = own(path, splits=Split(column="part"), unknown_labels="skip")
    assert ready.summary()["unknown"] == {"kind": 1}
    assert ready.datasets["own"].present["kind"].tolist() == [True] * 19 + [False]


def test_saved_parts_and_fitted_tasks_are_taken_as_they_are(tmp_path: Path) -> None:
    path = own_folder(tmp_path / "f")
    first = own(path, seed=5)
    again = own(path, first.tasks, parts=first.parts, seed=9, fitted=True)
    for part, per_source in first.parts.items():
        assert torch.equal(per_source["own"], again.parts[part]["own"])
    assert again.tasks == first.tasks
    with pytest.raises(DataError, match="not the data that the run was trained on"):
        own(path, first.tasks, parts={"test": {"own": torch.tensor([20])}}, fitted=True)


def test_names_that_do_not_fit_together(tmp_path: Path) -> None:
    path = own_folder(tmp_path / "f")
    cases = [
        (replace(KIND, input="foto"), "Did you mean 'photo'"),
        (replace(KIND, target={"owm": "kind"}), "Did you mean 'own'"),
    ]
    for task, message in cases:
        with pytest.raises(ConfigError, match=message):
            own(path, (task,))
    with pytest.raises(ConfigError, match="`splits` names source 'on'"):
        own(path, splits={"on": Split()})


def test_two_sources_on_one_input_and_a_table_input(tmp_path: Path) -> None:
    digits = SpokenDigits(path=digits_zip(tmp_path / "fsdd.zip"))
    marks = Timit(path=timit_folder(tmp_path / "timit"), context=3)
    inputs = {
        "sound": SoundInput(
            columns={"fsdd": "audio", "timit": "audio"}, sample_rate=8000, seconds=0.08
        ),
        "facts": TableInput(columns={"fsdd": ["speaker", "index"]}),
    }
    tasks = [
        Multiclass(name="digit", input="sound", target={"fsdd": "digit"}),
        Multiclass(name="broad", input="sound", target={"timit": "broad"}),
        Regression(name="number", input="facts", target={"fsdd": "digit"}),
    ]
    splits = {
        "fsdd": Split(fixed=True, stratify="digit"),
        "timit": Split(fixed=True, validation=0.0),
    }
    ready = prepare({"fsdd": digits, "timit": marks}, inputs, tasks, splits=splits)
    assert ready.inputs["facts"].features["width"] == 3
    batch = BatchStream(
        ready.datasets, ready.parts["train"], batch_size=16, mixing=Uniform()
    ).batch(0)
    assert {k: len(v.values) for k, v in batch.inputs.items()} == {"sound": 16, "facts": 8}
    assert batch.present["digit"].tolist() == [True] * 8 + [False] * 8
    assert batch.present["broad"].tolist() == [False] * 8 + [True] * 8
    assert batch.present["number"].all() and len(batch.targets["number"]) == 8
    assert batch.inputs["sound"].values.dtype == torch.int16
    facts = ready.datasets["fsdd"].gather(ready.parts["train"]["fsdd"]).inputs["facts"].values
    assert facts[:, :2].sum(1).eq(1).all()
    assert abs(float(facts[:, 2].mean())) < 1e-5


def test_frames_are_windows_of_their_recording(tmp_path: Path) -> None:
    marks = Timit(path=timit_folder(tmp_path / "timit"), context=2)
    inputs = {"s": SoundInput(columns={"timit": "audio"}, sample_rate=16000)}
    task = Multiclass(name="broad", input="s", target={"timit": "broad"})
    ready = prepare({"timit": marks}, inputs, [task], splits=Split(fixed=True, validation=0.0))
    whole = np.pad(wave(0.4, 16000), 640)
    values, mask = ready.datasets["timit"].gather(torch.arange(40)).inputs["s"]
    assert values.shape == (40, 1600) and mask is None
    for row in (0, 7, 19, 20, 39):
        first = 320 * (row % 20)
        assert values[row].tolist() == whole[first : first + 1600].tolist()
    assert inputs["s"].state["window"] == {
        "seconds": pytest.approx(0.1),
        "step": 0.02,
        "before": 0.04,
    }


def test_sounds_are_resampled_levelled_and_cut(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(riff(wave(0.5, 16000), 16000))
    (tmp_path / "b.wav").write_bytes(riff(np.stack([wave(0.1)] * 2, 1).astype(np.float32) / 40000))
    media = FileMedia("sound", [tmp_path / "a.wav", tmp_path / "b.wav"])
    some = SoundInput(columns={}, sample_rate=8000, seconds=0.3, level="peak")
    long, short = some.decode(media, 0), some.decode(media, 1)
    assert (len(long), len(short)) == (2400, 800)
    assert abs(int(np.abs(long).max()) / 32767 - 0.9) < 0.02
    expected = wave(0.3).astype(float)
    assert np.corrcoef(long[50:-50], expected[50:-50])[0, 1] > 0.999


def test_words_among_numbers_are_a_mistake(tmp_path: Path) -> None:
    path = own_folder(tmp_path / "f")
    path.write_text(path.read_text().replace("6.0,", "old,"))
    source, task = TableFile(path=path), replace(KIND, input="facts")
    splits = Split(column=None, seed=1, test=0.1, validation=0.1)
    with pytest.raises(
        DataError, match=r"labels\.csv row 6: column 'age' holds numbers in 15 of 16"
    ):
        facts = TableInput(columns={"own": ["age", "noise"]})
        prepare({"own": source}, {"facts": facts}, [task], splits=splits)
    facts = TableInput(columns={"own": ["age", "noise"]}, categories=["age", "noise"], min_count=1)
    prepare({"own": source}, {"facts": facts}, [task], splits=splits)
    assert "noise = 3" in facts.names and "age = old" in facts.names


@pytest.mark.parametrize("cell", ["inf", "1e300"])
def test_numbers_that_float32_cannot_hold_are_a_mistake(tmp_path: Path, cell: str) -> None:
    path = own_folder(tmp_path / "f")
    path.write_text(path.read_text().replace("5.png,cat,7.5,", f"5.png,cat,{cell},"))
    inputs = {"facts": TableInput(columns={"own": ["age"]})}
    task = replace(KIND, input="facts")
    for everything_trains in (True, False):
        split = Split(test=0.0 if everything_trains else 0.9, validation=0.0)
        with pytest.raises(DataError, match=r"row 7: column 'age' should hold finite numbers"):
            prepare({"own": TableFile(path=path)}, inputs, [task], splits=split)


def test_pictures_of_an_unknown_range_are_refused() -> None:
    for pixels in (np.ones((8, 8), np.float32), np.ones((8, 8), np.int32)):
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "TIFF")
        with pytest.raises(DataError, match="32 bits wide"):
            decode_picture(buffer.getvalue())


def test_a_file_that_several_rows_name_is_decoded_once(tmp_path: Path) -> None:
    own_folder(tmp_path, rows=6)
    names = [f"{k}.png" for k in (4, 1, 4, 0, 1, 4)]
    lines = [f"{name},{'cat' if k % 2 else 'dog'}" for k, name in enumerate(names)]
    (tmp_path / "labels.csv").write_text("\n".join(["photo,kind", *lines]) + "\n")
    seen: list[tuple[int, int]] = []
    ready = own(tmp_path / "labels.csv", progress=lambda done, all, _: seen.append((done, all)))
    assert seen[-1] == (3, 3)
    store = ready.datasets["own"].stores["photo"]
    assert isinstance(store, PictureStore) and len(store) == 6 and len(store.pictures) == 3
    for _ in range(2):  # The second time from the cache.
        found = ready.datasets["own"].stores["photo"].gather(np.array([5, 3, 1, 0])).values
        for picture, name in zip(found, ("4.png", "0.png", "1.png", "4.png"), strict=True):
            pixels = decode_picture((tmp_path / name).read_bytes())
            assert picture.float().mean() == pytest.approx(pixels.mean(), abs=1)
        ready = own(tmp_path / "labels.csv")
    (tmp_path / "1.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match="2 rows cannot be read") as error:
        own(tmp_path / "labels.csv")
    assert "row 3" in str(error.value) and "row 6" in str(error.value)
    left = own(tmp_path / "labels.csv", on_bad="skip").datasets["own"]
    assert [row for row, _ in left.skipped] == [1, 4]
    assert left.stores["photo"].gather(np.array([0, 3])).values.shape == (2, 3, 8, 8)


def test_a_sound_that_several_rows_name_is_decoded_once(tmp_path: Path) -> None:
    for k, seconds in enumerate((0.1, 0.2)):
        (tmp_path / f"{k}.wav").write_bytes(riff(wave(seconds)))
    rows = ["1.wav,b", "0.wav,a", "1.wav,a", "1.wav,b"]
    (tmp_path / "t.csv").write_text("\n".join(["sound,said", *rows]) + "\n")
    source = TableFile(path=tmp_path / "t.csv", media={"sound": "sound"})
    inputs = {"s": SoundInput(columns={"t": "sound"}, sample_rate=8000, seconds=1.0)}
    said = Multiclass(name="said", input="s", target={"t": "said"})
    store = prepare({"t": source}, inputs, [said]).datasets["t"].stores["s"]
    assert isinstance(store, SoundStore) and len(store) == 4
    assert store.spans[0].tolist() == store.spans[2].tolist() == store.spans[3].tolist()
    assert len(store.samples) == sum({tuple(s): s[1] for s in store.spans.tolist()}.values())

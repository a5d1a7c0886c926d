"""CIFAR-10, spoken digits, TIMIT and the made-up shapes, from files made here."""

import io
import json
import pickle
import time
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from polytask.data.phones import BROAD_CLASS_OF, BROAD_CLASSES, PHONES
from polytask.data.places import download
from polytask.data.shapes import Shapes
from polytask.data.speech import SpokenDigits
from polytask.data.timit import Timit, frame_phones
from polytask.data.vision import Cifar10
from polytask.errors import DataError
from tests.data.conftest import (
    MARKS,
    cifar_archive,
    cifar_batches,
    digits_zip,
    png,
    riff,
    timit_folder,
    wave,
)


def parquet_pair(folder: Path) -> Path:
    folder.mkdir(parents=True)
    info = json.dumps({"label_names": [f"class {k}" for k in range(10)]}).encode()
    for part, rows in (("train", 6), ("test", 3)):
        table = pa.table(
            {
                "image": [png(10 * k, (32, 32), "WEBP") for k in range(rows)],
                "label": pa.array([k % 10 for k in range(rows)], pa.int8()),
            }
        ).replace_schema_metadata({b"info": info})
        pq.write_table(table, folder / f"{part}.parquet", row_group_size=2)
    return folder


def test_cifar_archive_and_folder_give_the_same_rows(tmp_path: Path) -> None:
    files = cifar_batches()
    archive = cifar_archive(tmp_path / "cifar-10-python.tar.gz", files)
    folder = tmp_path / "data" / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    one, two = Cifar10(path=archive).load(), Cifar10(path=tmp_path / "data").load()
    assert len(one) == len(two) == 24
    assert one.frame.equals(two.frame)
    raw = pickle.loads(files["data_batch_2"])["data"][1].reshape(3, 32, 32).transpose(1, 2, 0)
    for table in (one, two):
        assert (table.media["image"].picture(5) == raw).all()
        assert table.frame["label"][5] == "automobile"
        assert "data_batch_2 row 2" in table.describe(5)
        assert table.fixed_split is not None
        assert table.fixed_split.value_counts().to_dict() == {"train": 20, "test": 4}


def test_cifar_parquet_reads_across_row_groups(tmp_path: Path) -> None:
    table = Cifar10(path=parquet_pair(tmp_path / "cifar10")).load()
    assert len(table) == 9 and table.frame["label"][7] == "class 1"
    assert table.media["image"].picture(7)[5, 5].tolist() == [10, 10, 10]
    assert table.describe(6) == "test.parquet row 1"


def test_a_pickle_that_runs_code_is_refused(tmp_path: Path) -> None:
    class Malicious:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (Path.mkdir, (Path(tmp_path / "ran"),))

    files = cifar_batches()
    files["data_batch_3"] = pickle.dumps({"data": Malicious(), "labels": []}, protocol=2)
    with pytest.raises(DataError, match=r"data_batch_3 .*not a batch.*It was not run"):
        Cifar10(path=cifar_archive(tmp_path / "c.tar.gz", files)).load()
    assert not (tmp_path / "ran").exists()


def test_a_cut_off_archive_says_so(tmp_path: Path) -> None:
    path = cifar_archive(tmp_path / "c.tar.gz", cifar_batches())
    path.write_bytes(path.read_bytes()[:20000])
    with pytest.raises(DataError, match="not a whole archive"):
        Cifar10(path=path).load()


def test_sources_are_found_in_the_data_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parquet_pair(tmp_path / "all" / "cifar10")
    digits_zip(tmp_path / "all" / "fsdd" / "fsdd.zip")
    monkeypatch.setenv("POLYTASK_DATA", str(tmp_path / "all"))
    assert len(Cifar10().load()) == 9
    assert len(SpokenDigits().load()) == 140
    with pytest.raises(DataError, match=r"cannot be downloaded.*POLYTASK_DATA/timit"):
        Timit().load()


def test_without_network_the_message_says_where_to_put_the_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="POLYTASK_DATA/cifar10"):
        Cifar10(download=False).load()
    with pytest.raises(DataError, match=r"could not be downloaded.*put it there"):
        download("http://127.0.0.1:9/x.zip", tmp_path / "x.zip", help="put it there")
    assert list(tmp_path.glob("*.zip")) == [] and list(tmp_path.glob(".part*")) == []


def test_a_download_is_checked_and_renamed_when_whole(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"content")
    url, target = (tmp_path / "x").as_uri(), tmp_path / "cache" / "y"
    with pytest.raises(DataError, match="md5 9a0364b9e99bb480dd25e1f0284c8555; 00 was expected"):
        download(url, target, checksum="md5:00")
    assert not target.exists()
    download(url, target, checksum="md5:9a0364b9e99bb480dd25e1f0284c8555")
    assert target.read_bytes() == b"content"


def test_spoken_digits_from_zip_and_folder(tmp_path: Path) -> None:
    path = digits_zip(tmp_path / "fsdd.zip")
    with zipfile.ZipFile(path) as archive:
        archive.extractall(tmp_path / "unpacked")
    for place in (path, tmp_path / "unpacked"):
        table = SpokenDigits(path=place).load()
        row = table.frame.index[
            (table.frame["digit"] == "3")
            & (table.frame["speaker"] == "theo")
            & (table.frame["index"] == 4)
        ][0]
        samples, rate = table.media["audio"].wave(row)
        assert rate == 8000 and len(samples) == 720 and samples.dtype == np.int16
        assert "3_theo_4.wav" in table.describe(row)
        assert table.fixed_split is not None and table.fixed_split[row] == "test"
    assert (table.fixed_split == "train").sum() == 40
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(DataError, match=r"digit_speaker_index\.wav"):
        SpokenDigits(path=empty).load()


@pytest.mark.parametrize("lower", [False, True])
def test_timit_frames(tmp_path: Path, lower: bool) -> None:
    table = Timit(path=timit_folder(tmp_path / "timit", lower), context=2).load()
    assert len(table) == 40  # 2 utterances of 0.4 s
    assert list(table.frame["phone"][20:26]) == ["h#"] * 5 + ["sh"]
    first = table.frame.iloc[0]
    assert (first["speaker"], first["sex"], first["dialect"]) == ("mdab0", "male", "dr1")
    assert table.frame["broad"][25] == "strong fricative"
    assert table.fixed_split is not None
    assert table.fixed_split.tolist() == ["test"] * 20 + ["train"] * 20
    windows = table.media["audio"].windows
    assert windows is not None and windows.seconds == pytest.approx(0.1)
    assert windows.start[21] == pytest.approx(0.02 - 0.04)
    for item in (0, 1):
        samples, rate = table.media["audio"].wave(item)
        assert rate == 16000 and (samples == wave(0.4, 16000)).all()
    assert "SA1.WAV at 0.10 s" in table.describe(25)


def test_timit_utterances_from_the_sample_zip(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "timit.zip", "w") as archive:
        archive.writestr("timit/README", "text")
        for speaker in ("dr1-fvmh0", "dr2-mbcd1"):
            archive.writestr(f"timit/{speaker}/sa1.wav", riff(wave(0.4, 16000), 16000))
            archive.writestr(f"timit/{speaker}/sa1.phn", MARKS)
            archive.writestr(f"timit/{speaker}/sa1.wrd", "0 10 she\n10 20 had\n")
    table = Timit(path=tmp_path, unit="utterance").load()
    assert table.frame.iloc[1].to_dict() == {
        "speaker": "mbcd1",
        "sex": "male",
        "dialect": "dr2",
        "utterance": "mbcd1/sa1",
        "words": "she had",
        "phones": "h# sh iy tcl t h#",
        "phones39": "sil sh iy sil t sil",
        "phone_times": "0 0.1 h# 0.1 0.14 sh 0.14 0.24 iy 0.24 0.25 tcl 0.25 0.31 t 0.31 0.4 h#",
        "phone39_times": "0 0.1 sil 0.1 0.14 sh 0.14 0.24 iy 0.24 0.25 sil "
        "0.25 0.31 t 0.31 0.4 sil",
    }
    assert table.fixed_split is None


def test_a_strange_phone_names_its_line() -> None:
    with pytest.raises(DataError, match=r"a\.phn line 2 .*Found '5 9 zz'"):
        frame_phones("0 5 h#\n5 9 zz\n", "a.phn", frame_seconds=0.02)


def test_every_phone_has_one_broad_class() -> None:
    listed = [phone for phones in BROAD_CLASSES.values() for phone in phones]
    assert len(BROAD_CLASSES) == 10 and len(listed) == len(set(listed)) == len(PHONES) == 61
    assert set(BROAD_CLASS_OF) == set(listed)


def test_shapes_are_deterministic_and_fast() -> None:
    one, two, other = Shapes(count=60).load(), Shapes(count=60).load(), Shapes(count=60, seed=1)
    assert one.frame.equals(two.frame) and one.fingerprint == two.fingerprint
    assert one.fingerprint != other.load().fingerprint
    begun = time.process_time()
    pictures = np.stack([one.media["image"].picture(k) for k in range(60)])
    assert time.process_time() - begun < 1.0  # 6,000 in well under a minute, whatever the machine
    assert pictures.shape == (60, 32, 32, 3) and pictures.dtype == np.uint8
    assert (pictures[7] == two.media["image"].picture(7)).all()
    share = Shapes(count=4000).load().frame.isna().mean()
    assert ((share > 0.17) & (share < 0.23)).all()
    assert one.frame.nunique().to_dict() == {"color": 6, "shape": 5, "letter": 8}


def test_pickles_of_plain_arrays_in_python_2_style_are_read() -> None:
    from polytask.data.vision import safe_unpickle

    buffer = io.BytesIO()
    pickle.dump({b"data": np.arange(4, dtype=np.uint8)}, buffer, protocol=0)
    assert safe_unpickle(buffer.getvalue(), "x")["data"].tolist() == [0, 1, 2, 3]

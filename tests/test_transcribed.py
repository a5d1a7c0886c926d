"""`init` for sounds and pictures whose texts are in files beside them, as speech is published."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from polytask.config import load_config
from polytask.errors import DataError
from polytask.survey.drafting import draft
from polytask.workflow import Silent, train
from tests.data.conftest import own_cache, png, riff, wave

__all__ = ["own_cache"]


def said(k: int) -> str:
    return f"IT IS {chr(65 + k % 7)}{chr(65 + k // 7 % 7)} YOU SEE"


def sound(file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(riff(wave(0.6)))


def text(file: Path, content: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content)


def libri(root: Path, parts: Mapping[str, int], each: int = 6) -> Path:
    who, k = 19, 0
    for part, speakers in parts.items():
        for _ in range(speakers):
            folder = root / part / str(who) / "198"
            lines = []
            for number in range(each):
                sound(folder / f"{who}-198-{number:04}.wav")
                lines.append(f"{who}-198-{number:04} {said(k)}\n")
                k += 1
            text(folder / f"{who}-198.trans.txt", "".join(lines))
            who += 7
    text(root / "SPEAKERS.TXT", "; the speakers\n19 | F | train-clean-100 | 25.1 | A Name\n")
    text(root / "README.TXT", "A corpus of read English speech.\n")
    return root


def drafted(data: Path, *targets: str, names: list[str] | None = None) -> tuple[Any, str]:
    file = data.parent / "mine.yaml"
    written = draft(data, list(targets), file, names)
    file.write_text(written)
    load_config(file)
    return yaml.safe_load(written), written


PARTS = {"train-clean-100": 4, "dev-clean": 3, "test-clean": 3}


def test_librispeech_has_parts_and_speakers_of_their_own(tmp_path: Path) -> None:
    data = libri(tmp_path / "LibriSpeech", PARTS)
    found, _ = drafted(data)
    assert found["sources"]["data"] == {
        "kind": "folders",
        "path": "LibriSpeech",
        "pattern": "(?P<speaker>[^/]+)/[^/]+/[^/]+",
        "texts": "*.trans.txt",
        "separator": " ",
        "split": {"fixed": True},
    }
    assert found["tasks"] == {"text": {"kind": "ctc", "target": {"data": "text"}}}
    assert "pool" not in found["inputs"]["sound"]
    with pytest.raises(DataError, match=r"no speaker of the validation part .* none can be told"):
        drafted(data, "text", "speaker")
    with pytest.raises(DataError, match=r"Found said under --targets.* name the 'text'"):
        drafted(data, "said")
    overrides = ["training.epochs=1", "training.threads=1"]
    config = load_config(tmp_path / "mine.yaml", overrides)
    assert train(config, tmp_path / "runs", Silent(), [])
    outer, _ = drafted(tmp_path)  # the folder that holds it
    assert outer["sources"]["data"]["path"].endswith("LibriSpeech")


def test_where_parts_are_drawn_speakers_can_be_told_or_kept_apart(tmp_path: Path) -> None:
    data = libri(tmp_path / "LibriSpeech", {"train-clean-100": 9})
    found, told = drafted(data)
    assert list(found["tasks"]) == ["text", "speaker"]
    assert found["tasks"]["speaker"]["kind"] == "multiclass"
    assert "fixed" not in found["sources"]["data"]["split"] and "leave speaker out" in told
    found, _ = drafted(data, "text")
    assert found["sources"]["data"]["split"]["group"] == "speaker"
    found, _ = drafted(data, "speaker")
    assert list(found["tasks"]) == ["speaker"]
    devs = libri(tmp_path / "devs", {"dev-clean": 5, "test-clean": 4})
    found, _ = drafted(devs)
    assert found["sources"]["data"]["pattern"].startswith("[^/]+/(?P<speaker>")
    assert list(found["tasks"]) == ["text", "speaker"]


def vctk(root: Path) -> None:
    for k in range(30):
        name = f"p{225 + k % 3}/p{225 + k % 3}_{k:03}"
        sound(root / "wav48" / f"{name}.wav")
        text(root / "txt" / f"{name}.txt", said(k))
    text(root / "README.txt", "A corpus of read speech, of 109 speakers.")


def microphones(root: Path) -> None:
    for k in range(40):
        name = f"p{225 + k % 10}/p{225 + k % 10}_{k:03}"
        for number in (1, 2):
            sound(root / "wav48_silence_trimmed" / f"{name}_mic{number}.flac")
        text(root / "txt" / f"{name}.txt", said(k))


def beside(root: Path) -> None:
    for k in range(30):
        sound(root / f"utt{k}.wav")
        text(root / f"utt{k}.lab", said(k))


def vivos(root: Path) -> None:
    for part, first in (("train", 0), ("test", 20)):
        lines = []
        for k in range(first, first + 20):
            name = f"VIVOSSPK{first + k % 4:02}_R{k:03}"
            sound(root / part / "waves" / name.partition("_")[0] / f"{name}.wav")
            lines.append(f"{name} {said(k)}\n")
        text(root / part / "prompts.txt", "".join(lines))
        text(root / part / "genders.txt", "VIVOSSPK00 m\n")


def mls(root: Path) -> None:
    for part, first in (("train", 0), ("dev", 20), ("test", 40)):
        lines = []
        for k in range(first, first + 20):
            sound(root / part / "audio" / f"{1000 + k // 4}" / "7" / f"{k}_7_{k:06}.flac")
            lines.append(f"{k}_7_{k:06}\t{said(k)}\n")
        text(root / part / "transcripts.txt", "".join(lines))


def kaldi(root: Path) -> None:
    lines = [(f"u{k:02}", said(k)) for k in range(30)]
    for name, _ in lines:
        sound(root / "wav" / f"{name}.wav")
    text(root / "data" / "text", "".join(f"{n} {t}\n" for n, t in lines))
    text(root / "data" / "wav.scp", "".join(f"{n} sox wav/{n}.wav -t wav - |\n" for n, _ in lines))
    text(root / "data" / "utt2spk", "".join(f"{n} {n}\n" for n, _ in lines))


@pytest.mark.parametrize(
    ("make", "texts", "separator", "split"),
    [
        (vctk, "txt/*/*.txt", None, {"test": 0.15, "validation": 0.15, "stratify": "speaker"}),
        (microphones, "*.txt", None, {"test": 0.15, "validation": 0.15, "group": "speaker"}),
        (beside, "*.lab", None, {"test": 0.15, "validation": 0.15}),
        (vivos, "prompts.txt", " ", {"fixed": True, "validation": 0.15, "group": "speaker"}),
        (mls, "transcripts.txt", "\t", {"fixed": True}),
        (kaldi, "text", " ", {"test": 0.15, "validation": 0.15}),
    ],
    ids=["VCTK", "VCTK of two microphones", "beside", "VIVOS", "MLS", "Kaldi"],
)
def test_other_layouts(
    make: Callable[[Path], None],
    texts: str,
    separator: str | None,
    split: object,
    tmp_path: Path,
    recwarn: pytest.WarningsRecorder,
) -> None:
    make(tmp_path / "corpus")
    found, told = drafted(tmp_path / "corpus")
    source = found["sources"]["data"]
    assert (source["texts"], source.get("separator")) == (texts, separator)
    assert source["split"] == split, told
    assert found["tasks"]["text"]["kind"] == "ctc"
    assert not recwarn


def test_columns_name_speakers_where_folders_are_no_numbers(tmp_path: Path) -> None:
    data = tmp_path / "corpus"
    for k in range(40):
        who = ("ann", "ben", "cat", "dan", "eve", "flo", "gus", "hal")[k % 8]
        sound(data / who / "book" / f"{who}_{k}.wav")
        text(data / who / "book" / f"{who}_{k}.txt", said(k))
    _, told = drafted(data)
    assert "--columns speaker,_,_" in told
    found, _ = drafted(data, "text", names=["speaker", "_", "_"])
    assert found["sources"]["data"]["split"]["group"] == "speaker"


def test_bars_between_several_cells_make_a_table(tmp_path: Path) -> None:
    data = tmp_path / "LJSpeech-1.1"
    for k in range(30):
        sound(data / "wavs" / f"LJ001-{k:04}.wav")
    rows = [f'LJ001-{k:04}|Say "{k}: {said(k)}|say {said(k).lower()}' for k in range(30)]
    text(data / "metadata.csv", "\n".join(rows))
    found, _ = drafted(data)
    source = found["sources"]["data"]
    assert source["kind"] == "table" and source["columns"] == ["file", "text", "text2"]
    assert source["places"] == {"file": "wavs/{file}.wav"}
    assert list(found["tasks"]) == ["text"]
    found, _ = drafted(data, "said", names=["file", "raw", "said"])
    assert found["tasks"]["said"]["kind"] == "ctc"


def pictures(data: Path, content: Callable[[int], str], folders: int = 1) -> Path:
    for k in range(30):
        folder = data / f"kind{k % folders}" if folders > 1 else data
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{k}.png").write_bytes(png(8 * k))
        text(folder / f"{k}.txt", content(k))
    return data


def test_texts_beside_pictures_are_written_about_them(tmp_path: Path) -> None:
    data = pictures(tmp_path / "photos", lambda k: said(k).lower())
    found, _ = drafted(data)
    assert found["tasks"]["text"]["kind"] == "generation"
    assert found["trunk"]["backbone"]["kind"] == "residual"
    config = load_config(tmp_path / "mine.yaml", ["training.epochs=1", "training.threads=1"])
    assert train(config, tmp_path / "runs", Silent(), [])


def test_folders_of_pictures_stay_labels_unless_the_text_is_asked_for(tmp_path: Path) -> None:
    data = pictures(tmp_path / "photos", said, folders=3)
    assert list(drafted(data)[0]["tasks"]) == ["label"]
    assert list(drafted(data, "text")[0]["tasks"]) == ["text"]


@pytest.mark.parametrize("content", ["0 0.5 0.5 0.2 0.3", "0 3100000 sil\n3100000 5000000 ah", "7"])
def test_numbers_and_times_beside_files_are_no_texts(content: str, tmp_path: Path) -> None:
    data = pictures(tmp_path / "photos", lambda _: content, folders=3)
    with pytest.raises(DataError, match="no table, only pictures"):
        drafted(data, "text")


def test_texts_of_few_files_are_not_taken_for_those_of_all(tmp_path: Path) -> None:
    data = tmp_path / "sounds"
    for k in range(30):
        sound(data / "all" / f"x{k}.wav")
    text(data / "notes.txt", "x1 is noisy here\nx2 is noisy there\n")
    with pytest.raises(DataError, match=r"Beside it: notes\.txt"):
        drafted(data, "text")

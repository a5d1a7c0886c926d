"""Labels in the names of folders and of files."""

from pathlib import Path

import pytest
import torch

from polytask.config import load_config
from polytask.config.build import build_sources
from polytask.data.class_folders import ClassFolders
from polytask.errors import ConfigError, DataError
from polytask.workflow import Silent, prepare_data, train
from tests.data.conftest import own_cache, riff, wave

__all__ = ["own_cache"]

DIGITS = "(?P<digit>[0-9])_(?P<speaker>[a-z]+)(_(?P<take>[0-9]+))?"


def sounds(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(riff(wave(0.1, pitch=200 + 40 * len(name))))
    return folder


def test_a_pattern_makes_columns_of_names(tmp_path: Path) -> None:
    place = sounds(tmp_path / "d", "7_jackson_32.wav", "3_theo.WAV", "0_lucas_1.wav")
    table = ClassFolders(path=place, pattern=DIGITS).load()
    assert table.columns == ("digit", "speaker", "take", "path", "audio")
    assert table.cells(["digit", "speaker", "take"]).tolist() == [
        ["0", "lucas", "1"],
        ["3", "theo", None],
        ["7", "jackson", "32"],
    ]
    other = ClassFolders(path=place, pattern=DIGITS.replace("take", "nr")).load()
    assert other.fingerprint != table.fingerprint


def test_a_pattern_starts_below_parts_and_may_name_folders(tmp_path: Path) -> None:
    place = sounds(tmp_path / "d", "train/7_ann_1.wav", "dev/3_ben_2.wav")
    table = ClassFolders(path=place, pattern=DIGITS).load()
    assert table.fixed_split is not None
    assert table.fixed_split.tolist() == ["validation", "train"]
    place = sounds(tmp_path / "e", "Actor_01/03-05.wav", "Actor_02/03-06.wav", "test/03-07.wav")
    table = ClassFolders(path=place, pattern=r"(?P<who>\w+)/[0-9]+-(?P<mood>[0-9]+)").load()
    assert table.fixed_split is None
    assert table.cells(["who", "mood"])[:, 0].tolist() == ["Actor_01", "Actor_02", "test"]


def test_a_name_that_does_not_fit_is_told(tmp_path: Path) -> None:
    place = sounds(tmp_path / "d", "7_jackson_32.wav", "sub/3_theo.wav")
    with pytest.raises(DataError, match=r"sub/3_theo.wav does not fit `pattern`: all of 'sub/3_"):
        ClassFolders(path=place, pattern=DIGITS).load()
    with pytest.raises(DataError, match=r"7_jackson_32.wav should be in a folder.*`pattern`"):
        ClassFolders(path=place).load()


def faces(folder: Path, *, skip: bool) -> Path:
    """Thirty sounds of three digits, of which two have no fitting name, and their YAML."""
    names = [f"{k % 3}_{'abc'[k // 3 % 3]}_{k}.wav" for k in range(28)]
    sounds(folder / "d", *names, "5.wav", "7__1.wav")
    (folder / "x.yaml").write_text(
        f"sources: {{d: {{kind: folders, path: d, pattern: '{DIGITS}',\n"
        "  split: {group: speaker, test: 0.3, validation: 0.3}}}\n"
        "inputs: {x: {kind: sound, column: audio, sample_rate: 8000, seconds: 0.1}}\n"
        "tasks: {t: {kind: multiclass, target: digit}}\n" + ("on_bad: skip\n" if skip else "")
    )
    return folder / "x.yaml"


def test_names_that_do_not_fit_are_an_error_that_names_each(tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        prepare_data(load_config(faces(tmp_path, skip=False)), None)
    text = str(error.value)
    assert text.startswith("2 rows cannot be read:") and "'on_bad: skip'" in text
    assert f"{tmp_path}/d/5.wav: all of '5' should match the pattern" in text
    assert "7__1.wav: all of '7__1'" in text


def test_names_that_do_not_fit_are_left_out_and_counted_where_that_is_asked_for(
    tmp_path: Path,
) -> None:
    (tmp_path / "whole").mkdir()
    faces(tmp_path / "whole", skip=True)
    for name in ("5.wav", "7__1.wav"):
        (tmp_path / "whole" / "d" / name).unlink()
    prepared = prepare_data(load_config(faces(tmp_path, skip=True)), None)
    summary = prepared.summary()
    assert summary["skipped"] == {"d": 2} and len(summary["skipped_rows"]["d"]) == 2
    alone = prepare_data(load_config(tmp_path / "whole" / "x.yaml"), None)
    assert summary["rows"] == alone.summary()["rows"]  # no other row's part moves
    assert all(torch.equal(prepared.parts[p]["d"], alone.parts[p]["d"]) for p in alone.parts)


@pytest.mark.parametrize(
    ("pattern", "told"),
    [
        ("(?P<digit>[0-9]_.*", "should be a regular expression: missing"),
        ("([0-9])_.*", "a named group for each column"),
        ("(?P<audio>[0-9])_.*", "a group 'audio', which is a column of its own"),
    ],
)
def test_a_wrong_pattern_is_told_with_its_place(pattern: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(
        f"sources: {{d: {{kind: folders, path: no, pattern: '{pattern}'}}}}\n"
        "inputs: {x: {kind: sound, column: audio}}\n"
        "tasks: {t: {kind: multiclass, target: digit}}\n"
    )
    with pytest.raises(ConfigError, match=rf"sources.d.*{told}"):
        build_sources(load_config(tmp_path / "x.yaml"))


def test_what_names_say_trains(tmp_path: Path) -> None:
    names = [f"{k % 3}_{who}_{k}.wav" for who in ("ann", "ben", "eve", "tom") for k in range(9)]
    sounds(tmp_path / "d", *names)
    (tmp_path / "x.yaml").write_text(
        f"sources: {{d: {{kind: folders, path: d, pattern: '{DIGITS}',\n"
        "  split: {test: 0.25, validation: 0.25, group: speaker}}}\n"
        "inputs: {x: {kind: sound, column: audio, pool: mean, body: {kind: recurrent, width: 4}}}\n"
        "tasks: {digit: {kind: multiclass, target: digit}}\n"
        "trunk: {kind: hard, backbone: {kind: perceptron, widths: [4]}}\n"
        "training: {epochs: 1, threads: 1}\n"
    )
    assert train(load_config(tmp_path / "x.yaml"), tmp_path / "runs", Silent(), [])

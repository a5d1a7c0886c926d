"""Labels with times meet the sounds that they are of."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Generator

from polytask.backbones import RecurrentBackbone
from polytask.data.dataset import Prepared
from polytask.data.frames import require_ends
from polytask.data.inputs import Input, SoundInput
from polytask.data.mixing import Proportional
from polytask.data.preparing import prepare
from polytask.data.sound_transforms import Gain, RandomShift, Speed
from polytask.data.splits import Split
from polytask.data.stores import SoundStore
from polytask.data.stream import BatchStream
from polytask.data.tables import TableFile
from polytask.data.tabular import TableInput
from polytask.data.timit import Timit
from polytask.data.transforms import Transform
from polytask.encoders import LogMelEncoder
from polytask.errors import ConfigError, DataError
from polytask.tasks import Multiclass, Tagging
from polytask.tasks.intervals import read_intervals
from polytask.tasks.sequences import PADDING, UNKNOWN
from polytask.types import Batch, Features
from tests.data.conftest import riff, sphere, timit_folder, wave
from tests.tasks.kinds import cells

# In frames of 0.02 s: 15, 20, 9 (the last of them not whole) and 5.
LENGTHS = (0.3, 0.4, 0.175, 0.1)
MARKS = ([[0, 0.1, "yes"], [0.1, 0.2, "no"]], "0.2 0.4 no", [[0, 0.175, "yes"]], None)
HEARD = Tagging(name="heard", input="sound", target={"own": "marks"}, frame=0.02)


def own(
    folder: Path, *, marks: Any = MARKS, task: Tagging = HEARD, at: Input | None = None
) -> Prepared:
    """Four sounds with their marks, all of which train; see `marked`."""
    rows = []
    for k, (seconds, said) in enumerate(zip(LENGTHS, marks, strict=True)):
        samples = marked(seconds, MARKS[k])
        content = sphere(samples) if k % 2 else riff(samples, 16000)
        (folder / f"{k}.wav").write_bytes(content)
        rows.append(json.dumps({"file": f"{k}.wav", "marks": said, "length": seconds}))
    (folder / "rows.jsonl").write_text("\n".join(rows) + "\n")
    source = TableFile(path=folder / "rows.jsonl", media={"file": "sound"})
    inputs = {"sound": at or sounds()}
    split = Split(test=0.0, validation=0.0)
    return prepare({"own": source}, inputs, [task], splits=split)


def marked(seconds: float, said: Any) -> np.ndarray:
    """A wave that is loud where marks say yes, softer where they say no and silent elsewhere."""
    samples = wave(seconds, 16000)
    level = np.zeros(len(samples))
    for start, end, label in read_intervals(said or []):
        level[round(start * 16000) : round(end * 16000)] = 1.0 if label == "yes" else 0.25
    return (samples * level).astype(np.int16)


def sounds(**settings: Any) -> SoundInput:
    return SoundInput(columns={"own": "file"}, sample_rate=8000, **settings)


def labels(ready: Prepared) -> list[str]:
    """Each row's labels, a letter per frame; a dot for one without a label."""
    names = {-2: "", -1: "."} | {k: name[0] for k, name in enumerate(ready.tasks[0].classes)}  # type: ignore[attr-defined]
    target = ready.datasets["own"].targets["heard"]
    return ["".join(names[k] for k in row) for row in target.tolist()]


def test_a_sound_has_a_label_for_each_of_its_frames(tmp_path: Path) -> None:
    ready = own(tmp_path)
    assert labels(ready) == ["y" * 5 + "n" * 5 + "." * 5, "." * 10 + "n" * 10, "y" * 9, ""]
    assert ready.datasets["own"].present["heard"].tolist() == [True, True, True, False]


def test_frames_outside_of_all_intervals_have_a_label_of_their_own(tmp_path: Path) -> None:
    ready = own(tmp_path, marks=(*MARKS[:2], [], None), task=replace(HEARD, outside="quiet"))
    assert labels(ready) == ["y" * 5 + "n" * 5 + "q" * 5, "q" * 10 + "n" * 10, "q" * 9, ""]
    assert ready.datasets["own"].present["heard"].tolist() == [True, True, True, False]


def test_what_is_cut_off_a_sound_loses_its_labels(tmp_path: Path) -> None:
    ready = own(tmp_path, at=sounds(seconds=0.2))
    assert labels(ready) == ["y" * 5 + "n" * 5, "." * 10, "y" * 9, ""]
    assert ready.datasets["own"].present["heard"].tolist() == [True, False, True, False]


def test_labels_after_the_end_of_a_sound_name_its_row(tmp_path: Path) -> None:
    marks = (*MARKS[:2], [[0, 1.7e9, "yes"]], None)
    with pytest.raises(DataError, match=r"rows\.jsonl .*3: .* up to 17\d+\.00 s.* ends at 0\.17 s"):
        own(tmp_path, marks=marks)
    own(tmp_path, marks=(*MARKS[:2], [[0, 0.19, "yes"]], None))  # less than a frame more


def test_labels_that_overlap_are_counted(tmp_path: Path) -> None:
    told = [d for d in own(tmp_path).summary()["doubts"] if "labels overlap" in d]
    assert told == []
    marks = (
        [[0, 0.2, "yes"], [0.1, 0.2, "no"]],
        "0.1 0.3 no 0 0.15 yes",
        # Of one label, or by less than what any frame is labelled by: nothing changes.
        [[0, 0.1, "yes"], [0.05, 0.15, "yes"], [0.149, 0.175, "no"]],
        None,
    )
    ready = own(tmp_path, marks=marks)
    (said,) = [d for d in ready.summary()["doubts"] if "labels overlap" in d]
    assert said.startswith("heard: rows of own in which labels overlap: 2, such as rows.jsonl ")
    assert labels(ready)[1] == "yyyyynnnnnnnnnn....."


def test_phones_that_overlap_or_go_on_after_the_end_are_told(tmp_path: Path) -> None:
    place = timit_folder(tmp_path / "timit")
    one, other = sorted(place.rglob("*.PHN"))
    one.write_text(one.read_text().replace("2240 3840 iy", "2000 3840 iy"))
    with pytest.warns(UserWarning, match=r"some overlap: 1, such as TEST/DR1/MDAB0/SA1.PHN"):
        table = Timit(path=place).load()
    assert list(table.frame["phone"][5:12]) == ["sh", "iy", "iy", "iy", "iy", "iy", "iy"]
    one.with_suffix(".WAV").write_bytes(riff(wave(0.3, 16000), 16000))
    source = Timit(path=place)
    task = Multiclass(name="phone", input="sound", target={"timit": "phone"})
    read: dict[str, Input] = {"sound": SoundInput(columns={"timit": "audio"}, seconds=0.1)}
    splits = Split(test=0.0, validation=0.0)
    for _ in range(2):  # decoded, then opened
        with pytest.warns(UserWarning, match="overlap"):
            ready = prepare({"timit": source}, read, [task], splits=splits)
        (said,) = [d for d in ready.summary()["doubts"] if "after its end" in d]
        assert said.startswith("column audio of timit: its labels go on after its end")
        assert said.endswith(f": 1, such as {one.with_suffix('.WAV')}")
    for line, found in (("1500 2240 sh", "2240 1500 sh"), ("1600 3840 iy", "100 3840 iy")):
        other.write_text(f"0 1600 h#\n{line}\n{found}\n")
        with pytest.raises(DataError, match=rf"SA1\.PHN line 3 should begin .*'{found}'"):
            source.load()


def test_times_that_cannot_be_read_name_their_row_in_every_part(tmp_path: Path) -> None:
    ready = own(tmp_path)
    dataset, task, read = ready.datasets["own"], ready.tasks[0], ready.inputs["sound"]
    store = dataset.stores["sound"]
    assert isinstance(task, Tagging) and isinstance(read, SoundInput)
    assert isinstance(store, SoundStore)
    table = cells("0 0.1 yes", None, "0 x yes", "")
    with pytest.raises(DataError, match=r"rows\.jsonl .*3: .*from 0 to x seconds"):
        require_ends(task, table, read, store, dataset.table.describe)
    table[2, 0] = "0 0.1 no"
    require_ends(task, table, read, store, dataset.table.describe)


def test_times_have_to_be_those_of_a_sound(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"'sound' leaves silence out .*task 'heard'"):
        own(tmp_path, at=sounds(silence="trim"))
    with pytest.raises(ConfigError, match="'sound' is no sound"):
        own(tmp_path, at=TableInput(columns={"own": ["length"]}))


class Backwards(Transform):
    """Plays sounds from their ends, and says nothing of labels."""

    moves_times = True

    def __call__(self, features: Features, generator: Generator) -> Features:
        return Features(features.values.flip(1), features.mask)


def augmented(ready: Prepared, *augment: Transform, step: int = 0) -> tuple[Batch, list[int]]:
    """A batch of all four sounds, and which rows they are."""
    stream = BatchStream(
        ready.datasets,
        ready.parts["train"],
        batch_size=4,
        mixing=Proportional(),
        augment={"sound": augment},
    )
    batch = stream.batch(step)
    return batch, batch.rows["sound"].tolist()


def test_an_augmentation_that_changes_times_must_say_how(tmp_path: Path) -> None:
    ready = own(tmp_path)
    batch, rows = augmented(ready, Gain())
    assert torch.equal(batch.targets["heard"], ready.datasets["own"].targets["heard"][rows])
    with pytest.raises(ConfigError, match="Backwards can't change the times of labels"):
        augmented(ready, Gain(), Backwards())


@pytest.mark.parametrize("transform", [RandomShift(share=0.4), Speed(amount=0.4)])
def test_labels_move_with_what_they_are_of(tmp_path: Path, transform: Transform) -> None:
    """A sound is loud where it says yes, softer where it says no and silent elsewhere."""
    ready = own(tmp_path)
    for step in range(4):
        batch, rows = augmented(ready, transform, Gain(decibels=0.0), step=step)
        values, mask = batch.inputs["sound"]
        target = batch.targets["heard"]
        assert not torch.equal(target, ready.datasets["own"].targets["heard"][rows])
        for k, row in enumerate(rows):
            samples = values.shape[1] if mask is None else int(mask[k].sum())
            frames = -(-samples // 160)
            if row == 3:
                assert (target[k] == PADDING).all()
                continue
            assert (target[k, :frames] > PADDING).all() and (target[k, frames:] == PADDING).all()
            wave = values[k, : 160 * frames].float()
            wave = torch.nn.functional.pad(wave, (0, 160 * frames - len(wave)))
            level = wave.view(frames, 160)[:, 40:120].abs().amax(1)  # about each frame's middle
            heard = torch.where(level > 7000, 1, torch.where(level > 1500, 0, UNKNOWN))
            wrong = (heard != target[k, :frames]).sum()
            assert int(wrong) <= 2  # where it gets louder or softer, and at its end


def test_a_network_gives_as_many_frames_as_there_are_labels(tmp_path: Path) -> None:
    """At a hop of 10 ms and a stride of 2, whatever a sound's length is."""
    ready = own(tmp_path)
    batch = ready.datasets["own"].gather(torch.arange(3))
    front = LogMelEncoder(8000, mels=8)
    body = RecurrentBackbone(8, width=4, layers=1, stride=2)
    task = ready.tasks[0]
    features: Features = body.stages[0](front(batch.inputs["sound"]))
    assert features.mask is not None and features.mask.sum(1).tolist() == [15, 20, 9]
    loss = task.loss(task.head(8)(features), batch.targets["heard"])
    assert loss.shape == (3,) and bool((loss > 0).all())
    with pytest.raises(DataError, match=r"15 frames of 0\.02 s .* gives 30.*about 0\.01\."):
        task.loss(task.head(8)(front(batch.inputs["sound"])), batch.targets["heard"])


def test_the_phones_of_a_sentence_have_times(tmp_path: Path) -> None:
    table = Timit(path=timit_folder(tmp_path / "timit"), unit="utterance").load()
    marks = "0 0.1 {0} 0.1 0.14 {1} 0.14 0.24 {2} 0.24 0.25 {3} 0.25 0.31 {4} 0.31 0.4 {0}"
    for column, names in {
        "phone_times": ("h#", "sh", "iy", "tcl", "t"),
        "phone39_times": ("sil", "sh", "iy", "sil", "t"),
    }.items():
        assert table.frame[column].tolist() == [marks.format(*names)] * 2
    sound = SoundInput(columns={"timit": "audio"}, sample_rate=16000)
    task = replace(HEARD, target={"timit": "phone39_times"})
    source = Timit(path=tmp_path / "timit", unit="utterance")
    split = Split(fixed=True, validation=0.0)
    ready = prepare({"timit": source}, {"sound": sound}, [task], splits=split)
    target = ready.datasets["timit"].targets["heard"]
    assert target.shape == (2, 20)
    named = [ready.tasks[0].classes[k] for k in target[0].tolist()]  # type: ignore[attr-defined]
    assert named == ["sil"] * 5 + ["sh"] * 2 + ["iy"] * 5 + ["t"] * 3 + ["sil"] * 5


def test_a_glottal_stop_is_none_of_the_39(tmp_path: Path) -> None:
    folder = timit_folder(tmp_path / "timit")
    for path in folder.rglob("*.PHN"):
        path.write_text("0 1600 h#\n1600 3200 q\n3200 6400 iy\n")
    table = Timit(path=folder, unit="utterance").load()
    assert table.frame["phone39_times"].tolist() == ["0 0.1 sil 0.2 0.4 iy"] * 2

"""Sounds from features: frames and waves, lengths, and the two ways to read the head."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from polytask.errors import ConfigError
from polytask.tasks import Synthesis
from polytask.tasks.speaking import Speaker
from polytask.tasks.voices import MelFrames, stretched
from polytask.types import Features
from tests.tasks.kinds import ready

DESCRIPTION = MelFrames(sample_rate=8000, mels=64, window=0.04, hop=0.01)


def synthesis() -> tuple[Synthesis, torch.Tensor, torch.Tensor]:
    task, target, present = ready("synthesis")
    assert isinstance(task, Synthesis)
    return task, target, present


def chirp(seconds: float) -> np.ndarray:
    """A tone that rises and grows louder."""
    time = np.arange(round(seconds * 8000)) / 8000
    return (20000 * time / seconds * np.sin(2 * np.pi * (300 + 900 * time) * time)).astype(np.int16)


def test_a_wave_made_of_frames_has_these_frames() -> None:
    pytest.importorskip("librosa")
    wave = chirp(0.4)
    frames = torch.from_numpy(DESCRIPTION.heard(wave))
    assert frames.shape == (DESCRIPTION.count(0.4), 64) == (40, 64)
    spoken = DESCRIPTION.spoken(frames)
    assert spoken.dtype == np.int16 and len(spoken) == 3200
    again = torch.from_numpy(DESCRIPTION.heard(spoken))
    loud = frames > frames.max() - 30
    assert float((again - frames)[loud].abs().mean()) < 1.5
    assert np.array_equal(spoken, DESCRIPTION.spoken(frames))


def test_twice_the_amplitude_is_six_decibels_more() -> None:
    wave = chirp(0.2)
    louder, quieter = (DESCRIPTION.heard(w) for w in (wave, wave // 2))
    loud = louder > louder.max() - 30
    assert (louder - quieter)[loud] == pytest.approx(20 * np.log10(2), abs=0.1)


def test_a_wave_that_would_leave_full_scale_is_made_quieter() -> None:
    pytest.importorskip("librosa")
    frames = torch.from_numpy(DESCRIPTION.heard(chirp(0.2))) + 40
    assert 32000 < np.abs(DESCRIPTION.spoken(frames).astype(int)).max() <= 32767


def test_stretching_is_interpolation_of_each_example_by_itself() -> None:
    frames = torch.randn(3, 7, 2, generator=torch.Generator().manual_seed(0))
    lengths, wanted = torch.tensor([7, 4, 1]), torch.tensor([5, 9, 3])
    found = stretched(frames, lengths, wanted, 9)
    for row, (had, has) in enumerate(zip(lengths.tolist(), wanted.tolist(), strict=True)):
        alone = F.interpolate(frames[row : row + 1, :had].mT, has, mode="linear").mT[0]
        torch.testing.assert_close(found[row, :has], alone)


def test_loss_is_the_error_of_frames_and_of_the_logarithm_of_the_length() -> None:
    task, target, _ = synthesis()
    target = target[:1]
    count = int(task.known(target).sum())
    assert 0 < count < task.rows
    output = torch.full((1, task.rows, task.mels + 1), 99.0)
    value = (target[0, :count].float() - torch.tensor(task.mean)) / torch.tensor(task.std)
    output[0, :count, :-1] = value + 0.25
    output[0, :, -1] = np.log(count / task.pace) - 0.5
    assert float(task.loss(output, target)) == pytest.approx(0.25 + 0.5 * 0.5, abs=1e-5)
    assert task.guide(target).tolist() == [count]


def test_in_training_lengths_are_true_and_outside_it_speaks_as_well() -> None:
    task, target, present = synthesis()
    head, features = task.head(4), Features(torch.randn(len(target), 5, 4))
    guided = head(features, task.guide(target))
    both = head.eval()(features, task.guide(target))
    alone = head(features)
    assert [x.shape[1] for x in (guided, both, alone)] == [8, 17, 9]
    torch.testing.assert_close(task.loss(guided, target)[present], task.loss(both, target)[present])
    decoded = task.decode(both)
    torch.testing.assert_close(decoded, task.decode(alone), equal_nan=True)
    known = task.known(decoded)
    assert known[:, 0].all() and torch.equal(known, known.cummin(1).values)
    with pytest.raises(ValueError, match=r"should have 8 rows .*Was the head given the targets"):
        task.loss(alone, target)


def test_what_pads_a_batch_and_who_else_is_in_it_changes_nothing() -> None:
    task, _, _ = synthesis()
    head, values = task.head(4).eval(), torch.randn(2, 5, 4)
    mask = (torch.arange(7) < 5).expand(2, -1)
    wide = Features(torch.cat([values, torch.full((2, 2, 4), 9.0)], 1), mask)
    counts = torch.tensor([2, 6])
    whole = head(Features(values), counts)
    torch.testing.assert_close(whole, head(wide, counts))
    # Where neither sound has a frame nothing is compared.
    alone = head(Features(values[:1]), counts[:1])
    torch.testing.assert_close(whole[0, :2], alone[0, :2])
    torch.testing.assert_close(task.decode(whole)[:1], task.decode(alone), equal_nan=True)


def test_a_length_beyond_what_is_possible_is_cut() -> None:
    head = Speaker(3, 2, width=4, rows=6, pace=4.0, dropout=0.0).eval()
    torch.nn.init.zeros_(head.length[2].weight)
    for bias, count in ((9e9, 6), (-9e9, 1), (0.0, 4), (float(np.log(1.25)), 5)):
        torch.nn.init.constant_(head.length[2].bias, bias)
        assert head(Features(torch.randn(1, 3)))[0, :, -1].sum() == count


def test_metrics_tell_frames_from_lengths() -> None:
    task, target, present = synthesis()
    target = target[present]
    perfect = task.metrics()
    perfect.update(target.float(), target)
    found = {name: float(value) for name, value in perfect.compute().items()}
    assert found == {"mel_error": 0.0, "length_error": 0.0, "d2": 1.0}
    one = target[:1]
    count = int(task.known(one).sum())
    louder = torch.full((1, task.rows, task.mels), float("nan"))
    louder[:, : count + 2] = one[:, count - 1 : count].float() + 3
    held = torch.where(task.known(one)[:, :, None], one[:, count - 1 : count], one)
    metrics = task.metrics()
    metrics.update(louder, held)
    assert float(metrics.compute()["mel_error"]) == pytest.approx(3.0, abs=0.05)
    assert float(metrics.compute()["length_error"]) == pytest.approx(2 * 0.008)
    constant = task.metrics()
    mean = torch.tensor(task.mean).expand(1, task.rows, -1)
    constant.update(mean, one)
    assert float(constant.compute()["d2"]) == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("settings", [{"hop": 0.03}, {"hop": 0.0}, {"mels": 0}, {"seconds": 0.0}])
def test_frames_that_cannot_become_a_wave_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="should be"):
        Synthesis(name="t", input="x", target={"t": "y"}, **settings)  # type: ignore[arg-type]

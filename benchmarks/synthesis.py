"""Does a recogniser understand what was synthesised? Every prompt is spoken and listened to.

For each run of `recipes/digits-synthesis.yaml` (or one like it): every prompt of the source becomes
a WAV file, and a recogniser that never heard synthesised sounds says which digit it is: the run's
own, or that of another run. For comparison it hears real recordings of the test part, as they are
and made again from their own log-mel frames, which is the most that a wave from frames can reach.

    polytask train recipes/digits-synthesis.yaml
    python benchmarks/synthesis.py runs/RUN --output FOLDER
    python benchmarks/synthesis.py runs/RUN runs/OTHER-SEED --recogniser runs/ANOTHER
"""

import argparse
import csv
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch

from polytask.run import Run
from polytask.tasks import Synthesis
from polytask.workflow import evaluate_run, for_judging, predict_run

Words = dict[str, tuple[str, str]]  # by prompt: the speaker and the digit


def heard(recogniser: Run, folder: Path, task: str) -> dict[str, str]:
    """What a run understands, by the name of a WAV file in a folder."""
    lines = predict_run(recogniser, folder)
    return {Path(line["input"]).name: str(line[task]) for line in lines}


def spoken(run: Run, words: Words, folder: Path, task: str) -> dict[str, Path]:
    """The WAV file of each prompt."""
    folder.mkdir(parents=True, exist_ok=True)
    prompts = folder / "prompts.csv"
    with prompts.open("w", newline="") as file:
        csv.writer(file).writerows([["prompt"], *([prompt] for prompt in words)])
    lines = predict_run(run, prompts, sounds=folder / "spoken")
    return {prompt: Path(line[task]) for prompt, line in zip(words, lines, strict=True)}


def remade(task: Synthesis, targets: torch.Tensor, names: Sequence[str], folder: Path) -> None:
    """Real sounds, made again from their frames."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, sound in zip(names, task.sounds(targets.float()), strict=True):
        soundfile.write(folder / name, sound.wave, sound.sample_rate)


def draw(task: Synthesis, rows: Sequence[tuple[str, torch.Tensor, Path]], path: Path) -> None:
    """Real frames above those of a synthesised wave, column by column."""
    from matplotlib.figure import Figure

    figure = Figure((1.6 * len(rows), 4.2), layout="constrained")
    axes = figure.subplots(2, len(rows), sharey=True)
    for column, (prompt, real, file) in enumerate(rows):
        wave, _ = soundfile.read(file, dtype="int16")
        frames = real[task.known(real)].float().numpy(), task.description.heard(wave)
        for axis, picture in zip(axes[:, column], frames, strict=True):
            axis.imshow(picture.T, origin="lower", aspect="auto", vmin=-40, vmax=35, cmap="magma")
            axis.set_xlim(0, 60)
            axis.set_yticks([])
        axes[0, column].set_title(prompt, fontsize=8)
    axes[0, 0].set_ylabel("recorded")
    axes[1, 0].set_ylabel("synthesised")
    figure.savefig(path, dpi=110)


def understood(
    run: Run, recogniser: Run, words: Words, folder: Path, names: argparse.Namespace
) -> tuple[dict[str, list[bool]], dict[str, Path]]:
    """Per speaker which of the words are understood, and the file of each prompt."""
    files = spoken(run, words, folder, names.voice)
    found = heard(recogniser, folder / "spoken", names.digit)
    right: dict[str, list[bool]] = defaultdict(list)
    for prompt, (speaker, digit) in words.items():
        right[speaker].append(found[files[prompt].name] == digit)
        if not right[speaker][-1]:
            print(f"  '{prompt}' is understood as {found[files[prompt].name]}")
    return right, files


def measured(run: Run, recogniser: Run, output: Path, names: argparse.Namespace) -> dict[str, Any]:
    """The shares of sounds that are understood, for one run."""
    voice = evaluate_run(run, "test")[names.voice]
    _, prepared, _ = for_judging(run, "test")
    task = next(t for t in prepared.tasks if t.name == names.voice)
    assert isinstance(task, Synthesis)
    (source,) = task.target
    dataset = prepared.datasets[source]
    frame, targets = dataset.table.frame, dataset.targets[task.name]
    columns = zip(frame["prompt"], frame["speaker"], frame["digit"], strict=True)
    words = {prompt: (speaker, digit) for prompt, speaker, digit in sorted(columns)}
    right, files = understood(run, recogniser, words, output, names)

    test = prepared.parts["test"][source]
    some = test[:: names.every]
    called = [f"{row:05d}-{frame['digit'].iloc[row]}.wav" for row in some.tolist()]
    remade(task, targets[some], called, output / "remade")
    again = heard(recogniser, output / "remade", names.digit)

    first = {frame["prompt"].iloc[row]: row for row in reversed(test.tolist())}
    picked = [prompt for prompt, (speaker, _) in words.items() if speaker == min(right)]
    drawn = [(prompt, targets[first[prompt]], files[prompt]) for prompt in picked]
    draw(task, drawn, output / "frames.png")
    return {
        **{f"voice.{key}": voice[key] for key in ("mel_error", "length_error", "d2", "loss")},
        "real recordings": evaluate_run(recogniser, "test")[names.digit]["accuracy"],
        f"made again from their frames ({len(again)})": np.mean(
            [name.endswith(f"-{digit}.wav") for name, digit in again.items()]
        ),
        f"synthesised ({len(words)})": np.mean([r for found in right.values() for r in found]),
        **{f"  {speaker}": np.mean(found) for speaker, found in sorted(right.items())},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path, nargs="+", help="Runs that synthesise.")
    parser.add_argument("--recogniser", type=Path, help="The run that listens; default: the same.")
    parser.add_argument("--voice", default="voice", help="The task that synthesises.")
    parser.add_argument("--digit", default="digit", help="The task that recognises.")
    parser.add_argument("--every", type=int, default=5, help="Every so many test rows are remade.")
    parser.add_argument("--output", type=Path, default=Path("synthesis"), help="Where sounds go.")
    names = parser.parse_args()
    found = []
    for path in names.runs:
        run = Run.open(path)
        print(path)
        listens = run if names.recogniser is None else Run.open(names.recogniser)
        found.append(measured(run, listens, names.output / path.name, names))
    for key in found[0]:
        values = [float(one[key]) for one in found]
        print(f"{key:42s} " + " ".join(f"{value:8.4f}" for value in values))


if __name__ == "__main__":
    main()

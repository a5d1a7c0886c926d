"""What it costs to make data ready: decoding into the cache, changing pictures, waiting.

    POLYTASK_DATA=... python benchmarks/data.py decode    into the cache, against the bare decoders
    python benchmarks/data.py augment                     each transform, ms per 64 pictures
    POLYTASK_DATA=... python benchmarks/data.py wait recipes/cifar10-speech-small.yaml

`decode` opens CIFAR-10's Parquet and the zip of spoken digits with an empty cache, in turns with
the bare decoders (Pillow, soundfile) in as many threads, which read the same bytes and keep
nothing. `wait` trains for a
few steps and measures how long a step waits for its batch. Medians over rounds.
"""

import argparse
import io
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from polytask.config.catalogue import TRANSFORMS
from polytask.data.cache import decoded
from polytask.data.inputs import ImageInput, SoundInput
from polytask.data.media import EncodedMedia
from polytask.data.sources import Table
from polytask.data.speech import SpokenDigits
from polytask.data.vision import Cifar10
from polytask.types import Features


def seconds(work: Callable[..., Any], *given: Any, **named: Any) -> tuple[float, float]:
    """Seconds on the clock and of the processors that a call takes."""
    begun, used = time.perf_counter(), time.process_time()
    work(*given, **named)
    return time.perf_counter() - begun, time.process_time() - used


def bare_pictures(media: EncodedMedia, items: range) -> None:
    from PIL import Image

    for item in items:
        np.asarray(Image.open(io.BytesIO(media.content(item))).convert("RGB"))


def bare_sounds(media: EncodedMedia, items: range) -> None:
    import soundfile

    for item in items:
        soundfile.read(io.BytesIO(media.content(item)), dtype="int16")


def in_threads(workers: int, work: Callable[[Any], None], chunks: Sequence[Any]) -> None:
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(work, chunks))


def decode(rounds: int) -> None:
    cases: list[tuple[str, Table, Any, str, Callable[[EncodedMedia, range], None], int]] = [
        ("pictures", Cifar10().load(), ImageInput(columns={}), "image", bare_pictures, 50_000),
        ("sounds", SpokenDigits().load(), SoundInput(columns={}), "audio", bare_sounds, 3_000),
    ]
    workers = min(8, os.cpu_count() or 1)
    for what, table, reader, column, bare, count in cases:
        table.frame = table.frame.iloc[:count]
        media = table.media[column]
        assert isinstance(media, EncodedMedia)
        media.__class__ = type("First", (type(media),), {"__len__": lambda self, n=count: n})
        chunks = [range(k, min(k + 128, count)) for k in range(0, count, 128)]
        found: dict[str, list[tuple[float, float]]] = {"bare": [], "cache": []}
        for _ in range(rounds):
            found["bare"].append(seconds(in_threads, workers, partial(bare, media), chunks))
            with tempfile.TemporaryDirectory() as folder:
                os.environ["POLYTASK_CACHE"] = folder
                found["cache"].append(seconds(decoded, table, reader, column=column))
        clock = {k: statistics.median(c for c, _ in v) for k, v in found.items()}
        used = {k: statistics.median(u for _, u in v) for k, v in found.items()}
        print(
            f"{count:,} {what}: bare decoders {clock['bare']:.2f} s ({used['bare']:.2f} s of "
            f"{workers} processors), into the cache {clock['cache']:.2f} s "
            f"({used['cache']:.2f} s): {clock['cache'] / clock['bare']:.2f} of the time, "
            f"{used['cache'] / used['bare']:.2f} of the processors'",
            flush=True,
        )


def augment(rounds: int) -> None:
    torch.set_num_threads(1)
    pictures = Features(torch.randint(0, 256, (64, 3, 32, 32)).to(torch.uint8))
    for name, made in TRANSFORMS["image"].items():
        transform, generator = made(), torch.Generator().manual_seed(0)
        transform(pictures, generator)
        times = [seconds(transform, pictures, generator)[1] for _ in range(10 * rounds)]
        print(f"{name}: {1000 * statistics.median(times):.2f} ms")
    try:
        import kornia.augmentation as kornia
    except ModuleNotFoundError:
        return
    others = {
        "brightness to hue": kornia.ColorJiggle(0.2, 0.2, 0.2, 0.05),
        "blur": kornia.RandomGaussianBlur((5, 5), (0.1, 1.0), p=1.0),
        "affine": kornia.RandomAffine(10, (0.05, 0.05), (0.9, 1.1), p=1.0),
        "rand-augment": kornia.auto.RandAugment(n=2, m=15),
    }
    floats = pictures.values.float() / 255
    for name, other in others.items():
        other(floats)
        times = [seconds(other, floats)[1] for _ in range(10 * rounds)]
        print(f"kornia, {name}: {1000 * statistics.median(times):.2f} ms")


def wait(recipe: Path, steps: int) -> None:
    from polytask.config.build import build_model
    from polytask.config.load import load_config
    from polytask.data.stream import Prefetcher
    from polytask.workflow import make_stream, prepare_data

    config = load_config(recipe)
    prepared = prepare_data(config, None)
    model = build_model(config, prepared.inputs, prepared.tasks).train()
    names = [task.name for task in prepared.tasks]
    torch.set_num_threads(1)
    waited, worked = [], []
    with Prefetcher(make_stream(config, prepared, 0, 1)) as stream:
        for step in range(steps):
            begun = time.perf_counter()
            batch = stream.batch(step)
            ready = time.perf_counter()
            sum(output.sum() for output in model(batch.inputs, names).values()).backward()
            waited.append(ready - begun)
            worked.append(time.perf_counter() - ready)
    print(
        f"{recipe.name}: of {statistics.median(worked[2:]) * 1000:.0f} ms a step waits "
        f"{statistics.median(waited[2:]) * 1000:.2f} ms for its batch (at most "
        f"{max(waited[2:]) * 1000:.2f} of {steps - 2} steps)"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("decode", "augment", "wait"))
    parser.add_argument("recipes", type=Path, nargs="*")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=12)
    given = parser.parse_args()
    if given.what == "decode":
        decode(given.rounds)
    elif given.what == "augment":
        augment(given.rounds)
    for recipe in given.recipes:
        wait(recipe, given.steps)


if __name__ == "__main__":
    main()

"""A cache of its own for every test, and small files as their publishers write them."""

import io
import os
import pickle
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    cache = tmp_path / "cache"
    monkeypatch.setenv("POLYTASK_CACHE", str(cache))
    if os.environ.get("POLYTASK_DATA"):
        monkeypatch.setenv("POLYTASK_REAL_DATA", os.environ["POLYTASK_DATA"])
    monkeypatch.delenv("POLYTASK_DATA", raising=False)
    return cache


@pytest.fixture
def real_data(monkeypatch: pytest.MonkeyPatch) -> Path:
    root = os.environ.get("POLYTASK_REAL_DATA")
    if not root:
        pytest.skip("needs real data: set POLYTASK_DATA to the folder that holds it")
    monkeypatch.setenv("POLYTASK_DATA", str(Path(root).resolve()))
    return Path(root).resolve()


def wave(seconds: float = 0.1, rate: int = 8000, pitch: float = 440.0) -> np.ndarray:
    time = np.arange(round(seconds * rate)) / rate
    return (np.sin(2 * np.pi * pitch * time) * 12000).astype(np.int16)


def riff(
    samples: np.ndarray, rate: int = 8000, subtype: str = "PCM_16", kind: str = "WAV"
) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format=kind, subtype=subtype)
    return buffer.getvalue()


def sphere(samples: np.ndarray, rate: int = 16000) -> bytes:
    fields = (
        f"NIST_1A\n   1024\nchannel_count -i 1\nsample_count -i {len(samples)}\n"
        f"sample_rate -i {rate}\nsample_n_bytes -i 2\nsample_byte_format -s2 01\n"
        "sample_sig_bits -i 16\nsample_coding -s3 pcm\nend_head\n"
    )
    return fields.encode().ljust(1024, b" ") + samples.astype("<i2").tobytes()


def png(shade: int = 0, size: tuple[int, int] = (8, 8), kind: str = "PNG") -> bytes:
    pixels = np.full((*size, 3), shade, np.uint8)
    pixels[0, 0] = (255, 0, 0)
    buffer = io.BytesIO()
    options = {"lossless": True} if kind == "WEBP" else {}
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


def cifar_batches(rows: int = 4) -> dict[str, bytes]:
    """The files of the python archive, with few rows each."""
    rng = np.random.default_rng(0)
    files = {}
    for name in [*(f"data_batch_{k}" for k in range(1, 6)), "test_batch"]:
        data = rng.integers(0, 256, (rows, 3072), dtype=np.uint8)
        batch = {"data": data, "labels": [k % 10 for k in range(rows)]}
        files[name] = pickle.dumps(batch, protocol=2)
    names = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse"]
    files["batches.meta"] = pickle.dumps({"label_names": [*names, "ship", "truck"]}, protocol=2)
    return files


def cifar_archive(path: Path, files: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def digits_zip(path: Path, speakers: tuple[str, ...] = ("theo", "lucas"), count: int = 7) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("recordings/README.md", "not a recording")
        for digit in range(10):
            for speaker in speakers:
                for index in range(count):
                    sound = wave(0.05 + 0.01 * index, pitch=200 + 50 * digit)
                    archive.writestr(f"recordings/{digit}_{speaker}_{index}.wav", riff(sound))
    return path


MARKS = "0 1600 h#\n1600 2240 sh\n2240 3840 iy\n3840 4000 tcl\n4000 4960 t\n4960 6400 h#\n"


def timit_folder(root: Path, lower: bool = False) -> Path:
    """Two speakers as the LDC ships them: one wave SPHERE, one RIFF under the same suffix."""
    for k, (part, speaker) in enumerate((("TRAIN", "FCJF0"), ("TEST", "MDAB0"))):
        place = root / part / "DR1" / speaker
        if lower:
            place = Path(str(root / part / "DR1" / speaker).replace(part, part.lower()))
        place.mkdir(parents=True)
        samples = wave(0.4, 16000)
        content = riff(samples, 16000) if k else sphere(samples)
        (place / "SA1.WAV").write_bytes(content)
        (place / "SA1.PHN").write_text(MARKS)
        (place / "SA1.WRD").write_text("1600 6400 she\n")
    return root


def truncated(content: bytes, share: float = 0.5) -> bytes:
    return content[: int(len(content) * share)]

"""A checkpoint is always whole, and loading runs no code."""

import os
import pickle
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import pytest
import torch

from polytask.errors import RunError
from polytask.training.checkpoint import load_state, save_state, write_whole

STATE = {"weights": torch.arange(100_000.0), "progress": {"step": 3, "best": None, "l": [1.5]}}


@contextmanager
def disk_of(size: int) -> Iterator[None]:
    """Inside, no file can grow beyond `size` bytes, as on a full disk."""
    import signal

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    save_state(tmp_path / "c.pt", STATE)
    state = load_state(tmp_path / "c.pt")
    assert torch.equal(state["weights"], STATE["weights"])  # type: ignore[arg-type]
    assert state["progress"] == STATE["progress"]
    assert os.listdir(tmp_path) == ["c.pt"]


@pytest.mark.parametrize("size", [0, 1000, 200_000])
def test_a_full_disk_leaves_the_previous_checkpoint(tmp_path: Path, size: int) -> None:
    path = tmp_path / "c.pt"
    save_state(path, {"step": 1})
    with disk_of(size), pytest.raises(OSError):
        save_state(path, STATE)
    assert load_state(path) == {"step": 1}
    assert os.listdir(tmp_path) == ["c.pt"]


def test_a_writer_that_fails_midway_leaves_the_previous_file(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"whole")

    def fail(file: BinaryIO) -> None:
        file.write(b"half")
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space"):
        write_whole(path, fail)
    assert path.read_bytes() == b"whole" and os.listdir(tmp_path) == ["f"]


def test_a_missing_checkpoint_says_so(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no checkpoint"):
        load_state(tmp_path / "c.pt")


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.999])
def test_a_torn_checkpoint_is_refused(tmp_path: Path, share: float) -> None:
    path = tmp_path / "c.pt"
    save_state(path, STATE)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(RunError, match="cannot be read"):
        load_state(path)


@pytest.mark.parametrize("content", [b"hello", b"{}", bytes(range(256)), b"\x80\x04N."])
def test_another_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "c.pt"
    path.write_bytes(content)
    with pytest.raises(RunError, match=r"c\.pt"):
        load_state(path)


class Intruder:
    """Unpickled, it would leave a file."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.trace),)


@pytest.mark.parametrize("plain", [True, False])
def test_code_in_a_checkpoint_is_not_run(tmp_path: Path, plain: bool) -> None:
    path, trace = tmp_path / "c.pt", tmp_path / "trace"
    if plain:
        path.write_bytes(pickle.dumps(Intruder(trace)))
    else:
        torch.save({"step": Intruder(trace)}, path)
    with pytest.raises(RunError):
        load_state(path)
    assert not trace.exists()

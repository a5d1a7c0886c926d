"""Saving what a run needs to go on, so that a crash at any moment leaves a whole file."""

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import torch

from polytask.errors import RunError


def write_whole(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file so that `path` is always either the old one or the whole new one.

    Args:
        path: The file.
        write: Writes the content to an open binary file.

    Raises:
        OSError: If the disk is full or not writable. What was at `path` is still there.
    """
    scratch = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with scratch.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(scratch, path)
    finally:
        scratch.unlink(missing_ok=True)


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Save a training state: tensors, numbers, text, lists and mappings of them.

    Raises:
        OSError: If the disk is full or not writable. The previous state is still there.
    """

    def write(file: BinaryIO) -> None:
        try:
            torch.save(state, file)
        except RuntimeError as error:
            # torch reports a failing disk as a RuntimeError from its archive writer.
            raise OSError(f"could not write the checkpoint: {error}") from error

    write_whole(path, write)


def load_state(path: Path) -> dict[str, Any]:
    """Load a training state. Loads data only: nothing in the file can run code.

    Raises:
        RunError: If the file is missing or broken.
    """
    if not path.exists():
        raise RunError(f"There is no checkpoint at '{path}'. Start the training anew.")
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
        # What torch says goes on about how to trust a file that may run code.
        reason = (str(error) or type(error).__name__).split("\n")[0].split(". ")[0]
        raise RunError(
            f"The checkpoint '{path}' cannot be read: it is cut off, or no checkpoint of Polytask "
            f"({reason}). Bring it back from a copy, or train anew."
        ) from error
    return state

"""A small right configuration to spoil, and helpers that load text."""

from collections.abc import Callable
from pathlib import Path

import pytest

from polytask.config import Config, load_config
from polytask.errors import ConfigError

FILES = Path(__file__).parent / "files"
SHIPPED = Path(__file__).parents[2] / "recipes"
Load = Callable[..., Config]
Complain = Callable[..., list[str]]

RIGHT = """\
sources:
  photos: {kind: table, path: photos.csv, media: {photo: image}}
  digits: {kind: fsdd}
inputs:
  picture: {kind: image, columns: {photos: photo}, pool: mean, width: 32}
  sound: {kind: sound, columns: {digits: audio}, pool: mean, width: 32}
tasks:
  species: {kind: multiclass, input: picture, target: photos.species}
  digit: {kind: multiclass, input: sound, target: digits.digit}
"""


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Loads the text of a file."""

    def from_text(text: str, *overrides: str) -> Config:
        path = tmp_path / "mine.yaml"
        path.write_text(text, encoding="utf-8")
        return load_config(path, overrides)

    return from_text


@pytest.fixture
def complaints(load: Load, tmp_path: Path) -> Complain:
    """The mistakes in a text, line by line, with the file's folder left out."""

    def of_text(text: str, *overrides: str) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            load(text, *overrides)
        return str(caught.value).replace(f"{tmp_path}/", "").split("\n")

    return of_text

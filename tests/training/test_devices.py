"""How many processes, and who decides."""

import pytest

from polytask.errors import ConfigError
from polytask.training.devices import processes
from polytask.training.settings import Settings


def test_the_settings_say_how_many_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    assert processes(Settings(devices=3)) == (3, 1)


def test_torchrun_says_how_many_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("TORCHELASTIC_RUN_ID", "x"), ("LOCAL_WORLD_SIZE", "2")):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("WORLD_SIZE", "6")
    assert processes(Settings()) == processes(Settings(devices=2)) == (2, 3)
    with pytest.raises(ConfigError, match="found 4, but torchrun started 2"):
        processes(Settings(devices=4))

"""How many processes, and who decides."""

import warnings

import pytest
import torch

from polytask.errors import ConfigError
from polytask.training.devices import kept_precision, processes
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


def test_a_run_of_a_better_machine_is_computed_in_single_precision_here() -> None:
    here = Settings(accelerator="cpu")
    with pytest.warns(UserWarning, match="trained in fp16, for which this machine has no units"):
        assert kept_precision(here, "fp16") == "fp32"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert kept_precision(here, "fp32") == "fp32"
        assert kept_precision(Settings(accelerator="cpu", precision="bf16"), "bf16") == "bf16"
        if torch.ops.mkldnn._is_mkldnn_bf16_supported():
            assert kept_precision(here, "bf16") == "bf16"

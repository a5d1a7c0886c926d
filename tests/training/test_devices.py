"""How many processes, and who decides."""

import os
import platform
import subprocess
import sys
import warnings

import pytest
import torch
from lightning_fabric import Fabric

from polytask.errors import ConfigError
from polytask.training import devices
from polytask.training.devices import (
    PRECISIONS,
    Formatted,
    choose_threads,
    device_of,
    kept_precision,
    leaves_a_core,
    make_fabric,
    named_threads,
    own_cores,
    processes,
    resolve_precision,
    share_of_cores,
)
from polytask.training.settings import Precision, Settings
from tests.networks import TASKS, batch, network
from tests.training.loops import fabric


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


@pytest.mark.parametrize(
    ("says", "torchrun", "named"),
    [
        (None, None, None),
        ("1", None, 1),
        ("4,2", None, 4),
        ("many", None, None),
        ("0", None, None),
        ("1", "1", 1),  # torchrun sets nothing for one process
        ("1", "2", None),  # it does for two
        ("3", "2", 3),
    ],
)
def test_the_environment_names_threads_unless_it_was_torchrun(
    monkeypatch: pytest.MonkeyPatch, says: str | None, torchrun: str | None, named: int | None
) -> None:
    given = {
        "OMP_NUM_THREADS": says,
        "TORCHELASTIC_RUN_ID": torchrun and "x",
        "LOCAL_WORLD_SIZE": torchrun,
    }
    for name, value in given.items():
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    assert named_threads() == named


def test_processes_of_a_machine_share_its_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    monkeypatch.setattr(devices, "own_cores", lambda _=0: 7)
    shares = [share_of_cores(Settings(devices=count)) for count in (1, 2, 3, 8)]
    assert shares == [7, 3, 2, 1]


@pytest.mark.parametrize(
    ("torchrun", "bound", "count", "share"),
    [
        (32, 32, 4, 8),  # nobody is bound
        (32, 8, 4, 8),  # each has cores of its own
        (32, 16, 4, 8),  # two have one half, the others the other
        (32, 4, 4, 4),  # some are left free
        (2, 1, 4, 1),
    ],
)
def test_cores_that_processes_are_bound_to_are_not_divided_again(
    monkeypatch: pytest.MonkeyPatch, torchrun: int, bound: int, count: int, share: int
) -> None:
    def affinity(process: int) -> range:
        return range(torchrun) if process == os.getppid() else range(bound)

    monkeypatch.setattr(os, "sched_getaffinity", affinity, raising=False)
    for name in ("LOCAL_WORLD_SIZE", "WORLD_SIZE"):
        monkeypatch.setenv(name, str(count))
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    assert share_of_cores(Settings()) == share


@pytest.mark.parametrize(("quicker", "chosen"), [("many", 3), ("one", 1)])
def test_threads_are_one_or_all_of_the_share(
    monkeypatch: pytest.MonkeyPatch, quicker: str, chosen: int
) -> None:
    def seconds(*_: object) -> float:
        return torch.get_num_threads() * (1.0 if quicker == "one" else -1.0)

    monkeypatch.setattr(devices, "_pass_seconds", seconds)
    before = torch.get_num_threads()
    try:
        assert choose_threads(fabric(), network(), TASKS, batch(), 3) == chosen
        assert torch.get_num_threads() == chosen
        assert choose_threads(fabric(), network(), TASKS, batch(), 1) == 1
    finally:
        torch.set_num_threads(before)


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


def test_what_a_cpu_computes_in_for_fp16_is_said() -> None:
    asked = Settings(accelerator="cpu", precision="fp16")
    for found in (resolve_precision, lambda settings: kept_precision(settings, "fp16")):
        with pytest.warns(UserWarning, match="a CPU does not compute in fp16.*in bf16 instead"):
            assert found(asked) == "bf16"
    with pytest.warns(UserWarning) as told:
        assert make_fabric(asked).strategy.precision.precision == "bf16-mixed"
    assert len(told) == 1  # Fabric has nothing to add


def test_batches_are_made_beside_the_steps_where_a_core_is_left() -> None:
    assert own_cores() >= 1
    assert not leaves_a_core(torch.device("cpu"), 4, 4)
    assert leaves_a_core(torch.device("cpu"), 3, 4)
    assert leaves_a_core(torch.device("cuda"), 4, 4)


FAULTS = """
import resource, torch
from polytask.training.devices import make_fabric
from polytask.training.settings import Precision, Settings

make_fabric(Settings(accelerator="cpu"))
for _ in range(40):  # small objects settle in the first holes
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(64 << 20, dtype=torch.uint8).add_(1)
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(faults)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library decides itself")
@pytest.mark.parametrize("settled", [False, True])
def test_freed_memory_is_kept_for_the_next_step_unless_the_environment_decides(
    settled: bool,
) -> None:
    env = {k: v for k, v in os.environ.items() if not k.startswith(("MALLOC_", "GLIBC_"))}
    if settled:
        env["MALLOC_MMAP_THRESHOLD_"] = str(1 << 20)
    done = subprocess.run(
        [sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True, env=env
    )
    faults = int(done.stdout)  # 32 huge pages, or 16,384 small ones
    assert faults > 20 if settled else faults == 0


@pytest.mark.filterwarnings("ignore:.*AMP with fp16 is not supported on CPU")
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_outside_training_a_format_is_what_fabric_makes_of_it(precision: Precision) -> None:
    model = network().eval()
    inputs, names = batch(0).inputs, [task.name for task in TASKS]
    theirs = Fabric(accelerator="cpu", devices=1, precision=PRECISIONS[precision])  # type: ignore[arg-type]
    with torch.inference_mode():
        plain = model(inputs, names)
        expected = theirs.setup_module(model)(inputs, names)
        found = Formatted(model, precision, torch.device("cpu"))(inputs, names)
    for name in names:
        assert found[name].dtype == torch.float32
        assert found[name].equal(expected[name]), name
        assert not found[name].equal(plain[name]), name


def test_a_network_in_a_format_has_the_attributes_of_the_network() -> None:
    model = network()
    formatted = Formatted(model, "bf16", torch.device("cpu"))
    assert formatted.trunk is model.trunk
    with pytest.raises(AttributeError, match="nothing"):
        _ = formatted.nothing


def test_outside_training_the_device_is_the_one_of_training(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert device_of(Settings(accelerator="cpu")) == torch.device("cpu")
    assert device_of(Settings(accelerator="auto")).type == fabric().device.type
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="PyTorch sees no GPU here"):
        device_of(Settings(accelerator="cuda"))

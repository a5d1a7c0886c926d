"""Run folders on disks that are full, read-only or no folders at all."""

from pathlib import Path

import pytest

from polytask import run as run_module
from polytask.config.load import load_config
from polytask.config.schema import Config
from polytask.errors import ConfigError, RunError
from polytask.run import Run
from polytask.training.history import EpochRecord
from tests.test_cli import SHAPES


@pytest.fixture
def config(tmp_path: Path) -> Config:
    (tmp_path / "tiny.yaml").write_text(SHAPES)
    return load_config(tmp_path / "tiny.yaml")


def test_a_run_cannot_be_made_where_a_file_is(tmp_path: Path, config: Config) -> None:
    (tmp_path / "runs").write_text("")
    with pytest.raises(RunError, match="--runs"):
        Run.create(config, tmp_path / "runs")


def test_a_full_disk_leaves_no_half_made_run(
    tmp_path: Path, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(run_module, "dump_config", full)
    with pytest.raises(RunError, match=r"No space left.*free some space"):
        Run.create(config, tmp_path / "runs")
    assert list((tmp_path / "runs").iterdir()) == []


def test_settings_that_were_cut_off_are_told(tmp_path: Path, config: Config) -> None:
    run = Run.create(config, tmp_path / "runs")
    whole = (run.path / "config.yaml").read_text()
    lines = whole.splitlines(keepends=True)
    assert sum(not line[0].isspace() for line in lines) > 10  # any of these could be left out
    for number in range(len(lines)):
        (run.path / "config.yaml").write_text("".join(lines[:number]))
        with pytest.raises(ConfigError, match=r"config\.yaml is (cut off|empty)"):
            Run.open(run.path)
    # Runs of before had no such lines, and people may add something.
    for text in ("".join(lines[1:-1]), whole + "compare: {seeds: [1, 2]}\n", whole.rstrip()):
        (run.path / "config.yaml").write_text(text)
        assert Run.open(run.path).config.training == config.training


def test_a_full_disk_leaves_the_scores_of_before(
    tmp_path: Path, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Run.create(config, tmp_path / "runs")
    made.save_scores("test", {"color": {"accuracy": 0.5}})

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    for write in (
        lambda: made.save_scores("validation", {"color": {"accuracy": 0.1}}),
        lambda: made.save_parts({}, {}),
        lambda: made.cut_history(0),
    ):
        with pytest.raises(RunError, match="cannot be written"):
            write()
    assert made.read_json("scores.json") == {"test": {"color": {"accuracy": 0.5}}}


def test_runs_of_one_second_have_their_own_folders(tmp_path: Path, config: Config) -> None:
    assert len({Run.create(config, tmp_path / "runs").path for _ in range(3)}) == 3


def test_broken_files_are_named(tmp_path: Path, config: Config) -> None:
    made = Run.create(config, tmp_path / "runs")
    for name, read in (
        ("model.safetensors", made.weights),
        ("parts.safetensors", made.parts),
        ("history.jsonl", made.history),
    ):
        (made.path / name).write_text('{"epoch": 1')
        with pytest.raises(RunError, match=f"{name}' cannot be read"):
            read()


def test_a_full_disk_leaves_the_history_of_before(
    tmp_path: Path, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Run.create(config, tmp_path / "runs")
    epoch = EpochRecord(1, 10, 1.0, {"color": 1.0}, {}, None, True)
    made.append_history(epoch)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        made.append_history(epoch)
    assert [record["epoch"] for record in made.history()] == [1]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "has no facts.json"),
        (b"", "is not valid JSON"),
        (b"\xff\xfe{}", "is no text: it was changed, or is damaged"),
        (b"[" * 100_000, "is not valid JSON"),
        (b"[1]", "lacks tasks"),
        (b"5", "lacks tasks"),
        (Path(), "cannot be read: Is a directory"),
    ],
)
def test_broken_facts_are_told(
    tmp_path: Path, config: Config, content: bytes | Path | None, said: str
) -> None:
    made = Run.create(config, tmp_path / "runs")
    if isinstance(content, bytes):
        (made.path / "facts.json").write_bytes(content)
    elif content is not None:
        (made.path / "facts.json").mkdir()
    with pytest.raises(RunError, match=said):
        made.read_json("facts.json", needs=["tasks"])

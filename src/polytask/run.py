"""A run: the directory in which everything about one training lives.

config.yaml         the resolved configuration
facts.json          what was learned from the training rows: label names, scales, vocabularies
parts.safetensors   which rows of which source are for training, validation and test
environment.json    versions, machine, number format, threads
model.safetensors   the best weights so far
own_best            with `keep: each`, those of tasks' own best epochs (see `own_best`)
checkpoint.pt       what a resumed training starts from
history.jsonl       a line per epoch
teachers.json       the runs that taught it, with their weights' hashes
start.json          the run whose weights it started from, and which parts were taken
merge.json          the runs of which it was merged, and how
loggers.json        by what names its loggers find their logs again
outcome.json        how it ended, if it is part of a study
scores.json         scores by part, from `polytask evaluate`
"""

import hashlib
import json
import shutil
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from torch import Tensor

from polytask.config.build import build_inputs, build_tasks
from polytask.config.load import dump_config, load_config
from polytask.config.schema import Config
from polytask.data.inputs import Input
from polytask.environment import other_version
from polytask.errors import CannotWrite, ConfigError, RunError, nearest
from polytask.tasks import Task
from polytask.training.checkpoint import write_whole
from polytask.training.history import EpochRecord
from polytask.types import Scores

_FREE = "Free some space."


@dataclass(frozen=True)
class Run:
    """One training's directory.

    Attributes:
        path: The directory.
        config: Its configuration.
    """

    path: Path
    config: Config

    @classmethod
    def create(cls, config: Config, root: Path) -> "Run":
        """A fresh directory under `root`, named by the configuration and the time.

        Raises:
            RunError: If it cannot be written.
        """
        stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
        path = root / f"{config.name}-{stamp}"
        number = 1
        with written(root, "Choose another folder with --runs, or free some space."):
            root.mkdir(parents=True, exist_ok=True)
            while True:
                try:
                    path.mkdir()
                    break
                except FileExistsError:
                    number += 1
                    path = root / f"{config.name}-{stamp}-{number}"
            try:
                dump_config(config, path / "config.yaml")
            except OSError:
                shutil.rmtree(path)
                raise
        return cls(path, config)

    @classmethod
    def at(cls, path: Path, config: Config) -> "Run":
        """The run in this very folder, which is made if there is none.

        Raises:
            RunError: If the run there has another configuration, or it cannot be written.
        """
        if (path / "config.yaml").exists():
            run = cls.open(path)
            if run.config != config:
                raise RunError(
                    f"'{path}' was begun with other settings (see its config.yaml). Choose another "
                    "folder, or remove this one."
                )
            return run
        with written(path, "Choose another folder, or free some space."):
            path.mkdir(parents=True, exist_ok=True)
            scratch = path / "config.yaml.tmp"
            dump_config(config, scratch)
            scratch.replace(path / "config.yaml")
        return cls(path, config)

    @classmethod
    def open(cls, path: Path) -> "Run":
        """An existing run.

        Raises:
            RunError: If there is none.
            ConfigError: If this version of Polytask can't read its settings.
        """
        if not (path / "config.yaml").exists():
            raise RunError(
                f"'{path}' is no run (a run is a folder with a config.yaml). {_instead(path)}"
            )
        try:
            return cls(path, load_config(path / "config.yaml"))
        except ConfigError as error:
            if (told := other_version(path)) is None:
                raise
            raise ConfigError(f"{error}\n{told}: use that one for it, or train anew.") from error

    @classmethod
    def newest(cls, root: Path) -> "Run":
        """The run under `root` that was started last.

        Raises:
            RunError: If there is none.
        """
        runs = list(root.glob("*/config.yaml"))
        if not runs:
            raise RunError(f"There is no run under '{root}'. Start one with: polytask train CONFIG")
        return cls.open(max(runs, key=lambda p: p.stat().st_mtime).parent)

    def write_json(self, name: str, value: Any) -> None:
        """Write a JSON file whole.

        Raises:
            RunError: If it cannot be written. The previous one is whole.
        """
        text = json.dumps(value, indent=2, allow_nan=True) + "\n"
        with written(self.path / name):
            write_whole(self.path / name, lambda file: file.write(text.encode()))

    def read_json(self, name: str, needs: Sequence[str] = ()) -> Any:
        """Read a JSON file of the run.

        Args:
            name: The file's name.
            needs: Keys that it must have.

        Raises:
            RunError: If it is missing or broken.
        """
        path = self.path / name
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise RunError(f"The run '{self.path}' has no {name}.") from None
        except OSError as error:
            raise RunError(f"'{path}' cannot be read: {error.strerror}.") from error
        except UnicodeDecodeError as error:
            raise RunError(f"'{path}' is no text: it was changed, or is damaged.") from error
        except (json.JSONDecodeError, RecursionError) as error:
            raise RunError(f"'{path}' is not valid JSON: {error}.") from error
        missing = [key for key in needs if not isinstance(found, dict) or key not in found]
        if missing:
            raise RunError(f"'{path}' lacks {', '.join(missing)}: it was changed, or cut off.")
        return found

    def save_weights(self, state: Mapping[str, Tensor]) -> None:
        """Keep weights as the run's best."""
        from safetensors.torch import save

        content = save({name: value.contiguous() for name, value in state.items()})
        write_whole(self.path / "model.safetensors", lambda file: file.write(content))

    def weights(self) -> dict[str, Tensor]:
        """The best weights.

        Raises:
            RunError: If no epoch has ended yet, or the file is gone or broken.
        """
        from safetensors.torch import load_file

        path = self._weights_file()
        with readable(path):
            return load_file(path)

    def _weights_file(self) -> Path:
        """The file of the best weights.

        Raises:
            RunError: If it is not there.
        """
        path = self.path / "model.safetensors"
        if path.exists():
            return path
        if ended := len(self.history()):
            raise RunError(
                f"The run '{self.path}' has no model.safetensors, though its epochs so far are "
                f"{ended}: it was removed, or could not be saved. Bring it back from a copy, or "
                f"train anew: polytask train {self.path / 'config.yaml'}"
            )
        raise RunError(
            f"The run '{self.path}' has no weights yet: no epoch has ended. "
            f"Go on with: polytask train --resume {self.path}"
        )

    def fingerprint(self) -> str:
        """A hash of the best weights, by which they are known again.

        Raises:
            RunError: If there are none.
        """
        path = self._weights_file()
        with readable(path), path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def save_parts(self, parts: Mapping[str, Mapping[str, Tensor]], sources: Any) -> None:
        """Keep which rows are for what, and what the sources looked like.

        Raises:
            RunError: If it cannot be written.
        """
        from safetensors.torch import save

        flat = {
            f"{part}/{source}": rows
            for part, by_source in parts.items()
            for source, rows in by_source.items()
        }
        content = save(flat, metadata={k: str(v) for k, v in sources.items()})
        with written(self.path / "parts.safetensors"):
            write_whole(self.path / "parts.safetensors", lambda file: file.write(content))

    def parts(self) -> tuple[dict[str, dict[str, Tensor]], dict[str, str]]:
        """Rows by part and source, and the sources' fingerprints.

        Raises:
            RunError: If data was never prepared for this run, or the file is broken.
        """
        from safetensors import safe_open

        path = self.path / "parts.safetensors"
        if not path.exists():
            raise RunError(
                f"The run '{self.path}' has no parts.safetensors: it never started, or the file "
                f"was removed. Train anew: polytask train {self.path / 'config.yaml'}"
            )
        parts: dict[str, dict[str, Tensor]] = {}
        with readable(path), safe_open(path, framework="pt") as file:
            for key in file.keys():  # noqa: SIM118 - a file, not a mapping
                part, source = key.split("/", 1)
                parts.setdefault(part, {})[source] = file.get_tensor(key)
            return parts, dict(file.metadata() or {})

    def append_history(self, record: EpochRecord) -> None:
        """Add an epoch's line; a full disk leaves no half of one.

        Raises:
            OSError: If the disk is full or not writable. The lines of before are whole.
        """
        path = self.path / "history.jsonl"
        text = path.read_text() if path.exists() else ""
        text += json.dumps(record.as_dict()) + "\n"
        write_whole(path, lambda file: file.write(text.encode()))

    def history(self) -> list[dict[str, Any]]:
        """The epochs so far.

        Raises:
            RunError: If the file is broken.
        """
        path = self.path / "history.jsonl"
        if not path.exists():
            return []
        with readable(path):
            found = [json.loads(line) for line in path.read_text().splitlines()]
            if not all(isinstance(line, dict) and "epoch" in line for line in found):
                raise ValueError("a line of it is no epoch")
            return found

    def cut_history(self, epochs: int) -> list[str]:
        """Forget epochs after the first `epochs`, which a resumed training will do again.

        Returns:
            What to say where some of the first ones are missing.
        """
        lines = [json.dumps(r) + "\n" for r in self.history() if r["epoch"] <= epochs]
        with written(self.path / "history.jsonl"):
            write_whole(
                self.path / "history.jsonl", lambda file: file.write("".join(lines).encode())
            )
        if len(lines) == epochs:
            return []
        return [
            f"'{self.path / 'history.jsonl'}' has {len(lines)} of the {epochs} epochs so far: it "
            "was changed, or could not be written. Reports will lack the others."
        ]

    def save_scores(self, part: str, scores: Scores) -> None:
        """Add the scores of a part to `scores.json`."""
        path = self.path / "scores.json"
        try:
            known = self.read_json("scores.json") if path.exists() else {}
        except RunError as error:
            raise RunError(f"{error} Remove it, and evaluate again.") from error
        self.write_json("scores.json", {**known, part: scores})


def restored(run: Run) -> tuple[dict[str, Input], list[Task]]:
    """The fitted inputs and tasks of a run; warns where another version of Polytask made it."""
    if (run.path / "environment.json").exists():
        known = run.read_json("environment.json", needs=("precision", "threads"))
        if (told := other_version(run.path, known)) is not None:
            # A warning of this very line: a command that comes here twice says it once.
            warnings.warn(f"{told}: what it computes may differ.", stacklevel=1)
    facts = run.read_json("facts.json", needs=("inputs", "tasks"))
    inputs = build_inputs(run.config)
    for name, some in inputs.items():
        some.load_state(facts["inputs"][name])
    tasks = [task.restored(facts["tasks"][task.name]) for task in build_tasks(run.config)]
    return inputs, tasks


def _instead(path: Path) -> str:
    """Which runs somebody may mean who names a folder that is none."""
    inside = sorted(p.parent for p in (*path.glob("*/config.yaml"), *path.glob("*/*/config.yaml")))
    if inside:  # a folder of runs, or a study
        return f"There are runs in it, {len(inside)} of them: name one, such as '{inside[0]}'."
    found = [p.name for p in path.parent.glob("*/") if p != path]
    return nearest(path.name, found)


@contextmanager
def readable(
    path: Path, advice: str = "Bring it back from a copy, or train anew."
) -> Iterator[None]:
    """Inside, a broken file of a run is an error that a person can mend.

    Raises:
        RunError: If what is read is not what a run writes.
    """
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise RunError(f"'{path}' cannot be read ({error!r}). {advice}") from error


@contextmanager
def written(path: Path, advice: str = _FREE) -> Iterator[None]:
    """Inside, a disk that is full or not writable is an error that a person can mend.

    Raises:
        CannotWrite: For every `OSError`.
    """
    try:
        yield
    except (FileExistsError, NotADirectoryError) as error:
        raise CannotWrite(
            f"'{path}' cannot be written, for a file of that name, or of a folder in it, is there. "
            f"{'Name another.' if advice == _FREE else advice}"
        ) from error
    except OSError as error:
        raise CannotWrite(f"'{path}' cannot be written ({error}). {advice}") from error

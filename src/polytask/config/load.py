"""From a file to a configuration: reading, overriding, and all mistakes at once."""

import json
import re
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from polytask.config.build import unbuildable
from polytask.config.checks import mismatches
from polytask.config.document import Document, parse, write
from polytask.config.idle import ConfigWarning, without_effect
from polytask.config.mistakes import Mistake, Steps, from_pydantic, report, shown
from polytask.config.references import expand, section
from polytask.config.schema import MODELS, Config
from polytask.errors import ConfigError, closest, nearest

_BEGIN = "# All settings, written by Polytask up to the line '# end of settings'."
_END = "# end of settings"
# Which section a key names parts of, by where it stands.
_NEEDED: dict[Steps, str] = {
    ("inputs", "columns"): "sources",
    ("tasks", "target"): "sources",
    ("tasks", "input"): "inputs",
    ("batches", "counts"): "sources",
}


def load_config(path: Path, overrides: Sequence[str] = ()) -> Config:
    """Read a configuration.

    Args:
        path: The YAML file. Relative paths in it start at its folder.
        overrides: Changes such as `trunk.backbone.widths=[128]`; the value is YAML.

    Raises:
        ConfigError: With all mistakes, one a line, as `file:line: path.to.key: message`; or if the
            file was written by `dump_config` and has lost its end.
    """
    text = _read(path)
    if text.startswith(_BEGIN) and _END not in text.splitlines():
        raise ConfigError(
            f"{path} is cut off: the line '{_END}', with which Polytask ends such a file, is "
            "missing. Bring the file back from a copy; what it lacks would be left to defaults."
        )
    document = parse(text, str(path))
    if document.value is None:
        raise ConfigError(
            f"{path} is empty. A configuration needs sources, inputs and tasks at least."
        )
    if not isinstance(document.value, dict):
        raise ConfigError(
            f"{path}: expected keys such as 'sources:', found {shown(document.value)}."
        )
    for override in overrides:
        _override(document, override)
    document.value.setdefault("name", re.sub(r"[^A-Za-z0-9._-]+", "-", path.stem).lstrip("._-"))
    config = validated(document, path.parent)
    for sentence in without_effect(config):
        warnings.warn(f"{path}: {sentence}", ConfigWarning, stacklevel=2)
    return config


def dump_config(config: Config, path: Path) -> None:
    """Write a configuration with everything explicit; `load_config` gives it back.

    A file that was cut between two lines would be a whole configuration with other values, so its
    first line promises the last.
    """
    path.write_text(f"{_BEGIN}\n{write(config.resolved())}{_END}\n", encoding="utf-8")


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        folder = path.parent
        if not folder.is_dir():
            raise ConfigError(f"There is no folder {folder}.") from None
        names = [p.name for p in folder.iterdir() if p.suffix in (".yaml", ".yml")]
        raise ConfigError(f"There is no file {path}. {nearest(path.name, names)}") from None
    except IsADirectoryError:
        names = sorted(p.name for p in path.iterdir() if p.suffix in (".yaml", ".yml"))
        raise ConfigError(
            f"{path} is a folder. Name a file in it: {', '.join(names) or '(it has no YAML)'}."
        ) from None
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{path} is not text in UTF-8: found the byte 0x{error.object[error.start]:02x}. "
            "Save it anew, in UTF-8."
        ) from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.") from None


def validated(document: Document, folder: Path) -> Config:
    """The configuration of plain values, or a report of everything that is wrong with them."""
    raw, places = document.value, document.places
    mistakes = [*document.mistakes, *_misnamed(document)]
    mistakes += [*expand(raw, places), *mismatches(raw)]
    config = None
    try:
        config = Config.model_validate_json(
            json.dumps(raw), strict=True, context={"folder": folder.absolute()}
        )
    except ValidationError as error:
        found = from_pydantic(error.errors(include_url=False), raw, Config, MODELS)
        known = {mistake.path for mistake in mistakes}
        mistakes += [mistake for mistake in found if mistake.path not in known]
    mistakes = [mistake for mistake in mistakes if not _follows(mistake.path, raw)]
    if config is not None and not mistakes:
        mistakes = list(unbuildable(config))
    if mistakes or config is None:
        raise ConfigError(report(mistakes, places, document.name))
    return config


def _misnamed(document: Document) -> Iterator[Mistake]:
    """Unknown keys at the top. One that is nearly a section's name is read as that section from
    here on, so that what the rest of the file says of it is no mistake too.
    """
    raw, valid = document.value, Config.model_fields
    for key in [key for key in raw if key not in valid]:
        yield Mistake((key,), f"unknown key. {nearest(key, valid)}")
        given, meant = raw.pop(key), closest(key, valid)
        if meant is not None and meant not in raw:
            raw[meant] = given
            places = list(document.places.items())
            document.places.clear()  # and anew, in the order of the file
            for path, place in places:
                document.places[path] = place
                if path[:1] == (key,):
                    document.places[meant, *path[1:]] = place


def _follows(path: Steps, raw: dict[str, Any]) -> bool:
    """Whether a mistake comes only of sources or inputs that are missing as a whole."""
    needed = _NEEDED.get((path[0], path[2])) if len(path) > 2 else None
    return needed is not None and not section(raw, needed)


def _override(document: Document, override: str) -> None:
    """Apply one `a.b.c=value`; a number among the keys counts the items of a list from 0."""
    key, equals, text = override.partition("=")
    steps = key.strip().split(".")
    if not equals or not all(steps):
        raise ConfigError(f"--set {override}: expected KEY=VALUE, such as training.epochs=5.")
    place = f"--set {key.strip()}"
    given = parse(text, place)
    here: Any = document.value
    path: Steps = ()
    for number, step in enumerate(steps):
        last = number == len(steps) - 1
        if isinstance(here, list) and step.isdigit() and int(step) < len(here):
            at: str | int = int(step)
        elif isinstance(here, dict):
            at = step
            if not last and here.get(step) is None:
                here[step] = {}
        else:
            raise ConfigError(f"{place}: {'.'.join(map(str, path))} has no key '{step}'.")
        path = (*path, at)
        if last:
            here[at] = given.value
        else:
            here = here[at]
    for known in [p for p in document.places if p[: len(path)] == path]:
        del document.places[known]
    document.places |= {path + inner: place for inner in given.places or [()]}
    document.mistakes += [Mistake(path + m.path, m.message) for m in given.mistakes]

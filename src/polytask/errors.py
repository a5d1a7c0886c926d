"""The errors that a person can mend, and the two habits their messages share.

Everything that is wrong with an input (a file, a row, a key, an installation) is a `PolytaskError`
whose message says where it is, what was expected, what was found and what to do. The command line
prints it without a traceback. Anything else that escapes is a bug.
"""

import difflib
import importlib
import math
import unicodedata
from collections.abc import Iterable, Sequence
from types import ModuleType


class PolytaskError(Exception):
    """Something that the person at the keyboard can mend."""


class ConfigError(PolytaskError):
    """A key or value of the configuration is wrong."""


class DataError(PolytaskError):
    """A file, row, column or label is not what was declared."""


class NothingToPredict(DataError):
    """What is to be predicted has no rows.

    Attributes:
        columns: The columns that predictions would have, as far as rows do not decide them.
    """

    def __init__(self, message: str, columns: Sequence[str]) -> None:
        super().__init__(message)
        self.columns = list(columns)


class RunError(PolytaskError):
    """A run directory is missing a part or does not fit what is asked of it."""


class CannotWrite(RunError):
    """A file cannot be written: the disk is full, or refuses."""


class TrainingError(PolytaskError):
    """Training cannot go on: a loss is not finite, or there is nothing to learn from."""


class MissingDependency(PolytaskError, ImportError):
    """An optional package is not installed."""


def nearest(name: str, valid: Iterable[str]) -> str:
    """A sentence that names the nearest valid name, or lists all of them.

    Returns:
        `Did you mean 'label'?` where something is close, else `Valid names: a, b, c.`
    """
    names = sorted({str(v) for v in valid})
    twin = next((n for n in names if n != name and _as_seen(n) == _as_seen(name)), None)
    if twin is not None:
        return f"Did you mean {twin!a}? It looks like {name!a} and is written otherwise."
    if (close := closest(name, names)) is not None:
        return f"Did you mean '{close}'?"
    shown = ", ".join(names[:20]) + (f", ... ({len(names)} in all)" if len(names) > 20 else "")
    return f"Valid names: {shown or '(none)'}."


def closest(name: str, valid: Iterable[str]) -> str | None:
    """The valid name that is most like a name; None where none is close."""
    names = sorted({str(v) for v in valid})
    close = [n for n in names if n.casefold() == name.casefold() and n != name][:1]
    close = close or difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    return close[0] if close else None


def _as_seen(name: str) -> str:
    """A name without marks that nobody sees, and without Unicode's ways to write a letter."""
    shown = "".join(letter for letter in name if unicodedata.category(letter) != "Cf")
    return " ".join(unicodedata.normalize("NFKC", shown).split())


def require_number(
    key: str,
    value: float,
    low: float,
    high: float = math.inf,
    *,
    above: bool = False,
    below: bool = True,
) -> None:
    """Make sure that a setting is a finite number in a range.

    Args:
        key: Its name.
        value: What was found.
        low: The least number that it may be.
        high: The end of the range.
        above: Whether it has to be more than `low`.
        below: Whether it has to be less than `high`.

    Raises:
        ConfigError: If it is not; NaN is in no range.
    """
    low_enough = value > low if above else value >= low
    if low_enough and (value < high if below else value <= high):
        return
    least = f"above {low:g}" if above else f"at least {low:g}"
    most = "" if high == math.inf else f" and {'below' if below else 'at most'} {high:g}"
    found = "finite and " if not math.isfinite(value) and not most else ""
    raise ConfigError(f"`{key}` should be {found}{least}{most}. Found {value}.")


def require(module: str, extra: str) -> ModuleType:
    """Import an optional dependency, or say how to install it.

    Args:
        module: The module to import, such as `soundfile`.
        extra: The extra of this project that brings it, such as `audio`.

    Raises:
        MissingDependency: If the module is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name and error.name.split(".")[0] == module.split(".")[0]:
            raise MissingDependency(
                f"The package '{module}' is needed here and is not installed. "
                f'Install it with: pip install "polytask[{extra}]"'
            ) from error
        raise

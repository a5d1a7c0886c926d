"""The constructor is the schema: a class's keyword-only arguments as the fields of a model.

Positional arguments are facts that the builder supplies, such as the width of what comes in; they
never appear in a file.
"""

import inspect
import math
import os
import re
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, WithJsonSchema
from pydantic.fields import FieldInfo

FieldOf = tuple[Any, FieldInfo]
GREATEST_SEED = 2**63 - 1

_SECTION = re.compile(r"^(Args|Attributes):$", re.MULTILINE)
_ENTRY = re.compile(r"^    (\w+(?:, \w+)*)(?: \([^)]*\))?: +(.*)$")


def settings(made: type, *, supplied: Sequence[str] = ()) -> dict[str, FieldOf]:
    """The fields that describe a class in a file.

    Args:
        made: A class with keyword-only constructor arguments; a dataclass with `kw_only` too.
        supplied: Keyword-only arguments that the builder supplies all the same.

    Returns:
        Per argument its type as a file states it, and a field with default and description.
    """
    constructor = next(vars(c)["__init__"] for c in made.__mro__ if "__init__" in vars(c))
    hints = get_type_hints(constructor)
    described = descriptions(made)
    fields: dict[str, FieldOf] = {}
    for name, argument in inspect.signature(constructor).parameters.items():
        if argument.kind is not inspect.Parameter.KEYWORD_ONLY or name in supplied:
            continue
        extra: dict[str, Any] = {"description": described.get(name)}
        factory = _default_factory(made, name)
        if factory is not None:
            extra["default"] = factory()
        elif argument.default is not inspect.Parameter.empty:
            extra["default"] = argument.default
        if name == "seed":
            extra |= {"ge": 0, "le": GREATEST_SEED}
        fields[name] = (in_file(hints[name]), Field(**extra))
    return fields


def descriptions(made: type) -> dict[str, str]:
    """What the docstrings of a class and of its bases say about each argument."""
    found: dict[str, str] = {}
    for base in reversed(made.__mro__[:-1]):
        for owner in (base, vars(base).get("__init__")):
            found.update(_described(inspect.cleandoc(getattr(owner, "__doc__", None) or "")))
    return found


def summary(made: type) -> str:
    """The first sentence of a class's own docstring."""
    text = inspect.cleandoc(vars(made).get("__doc__") or "").split("\n\n")[0]
    return " ".join(text.split())


def in_file(annotation: Any) -> Any:
    """A constructor's annotation as a file states it: lists for tuples, text for paths."""
    if annotation is str:
        return Text
    if annotation is Path:
        return FilePath
    if annotation is float:
        return Number
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return Annotated[(in_file(inner[0]), *inner[1:])]
    if origin is Literal or not inner:
        return annotation
    if origin in (Union, types.UnionType):
        return Union[tuple(in_file(i) for i in inner)]  # noqa: UP007 (its members are computed)
    if origin is tuple:
        members = tuple(i if i is Ellipsis else in_file(i) for i in inner)
        return types.GenericAlias(tuple, members)
    if origin is list:
        return types.GenericAlias(list, (in_file(inner[0]),))
    if issubclass(origin, Mapping):
        return types.GenericAlias(dict, (inner[0], in_file(inner[1])))
    if issubclass(origin, Sequence):
        return types.GenericAlias(tuple, (in_file(inner[0]), ...))
    raise TypeError(f"Arguments of type {annotation} have no form in a file yet.")


def as_text(value: object) -> object:
    """Numbers and truth values as the text that a label or column of that name has."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value) if isinstance(value, (int, float)) else value


def a_number(value: float) -> float:
    """What it is given, unless that is NaN, of which nothing can be made.

    Raises:
        ValueError: If it is.
    """
    if math.isnan(value):
        raise ValueError("expected a number, found NaN.")
    return value


def anchored(value: Path, info: ValidationInfo) -> Path:
    """A path made absolute.

    A relative one starts at the folder of the file that names it, or at `$POLYTASK_DATA` if there
    is such a file only there.
    """
    folder = (info.context or {}).get("folder")
    path = value.expanduser()
    if folder is None or path.is_absolute():
        return path
    beside = Path(folder) / path
    data = os.environ.get("POLYTASK_DATA")
    if data and not beside.exists():
        known = Path(data).expanduser().absolute() / path
        return known if known.exists() else beside
    return beside


Text = Annotated[
    str,
    BeforeValidator(as_text),
    WithJsonSchema({"type": ["string", "number", "boolean"]}),
]
Number = Annotated[float, AfterValidator(a_number)]
FilePath = Annotated[Path, AfterValidator(anchored), WithJsonSchema({"type": "string"})]


def _default_factory(made: type, name: str) -> Any:
    """The factory of a dataclass field's default, or None."""
    field = getattr(made, "__dataclass_fields__", {}).get(name)
    return field.default_factory if field is not None and callable(field.default_factory) else None


def _described(doc: str) -> dict[str, str]:
    """The entries under `Args:` and `Attributes:` of one docstring."""
    found: dict[str, str] = {}
    for section in list(_SECTION.finditer(doc)):
        names: list[str] = []
        for line in doc[section.end() :].split("\n")[1:]:
            if line and not line.startswith("    "):
                break
            entry = _ENTRY.match(line)
            if entry:
                names = entry[1].split(", ")
                found.update(dict.fromkeys(names, entry[2]))
            elif line.startswith("     "):
                found.update({name: f"{found[name]} {line.strip()}" for name in names})
    return found

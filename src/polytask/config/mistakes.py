"""What is wrong with a file, said so that a person can mend it."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from polytask.config.derive import as_text
from polytask.config.spec import Spec
from polytask.errors import nearest

Steps = tuple[str | int, ...]
TAG = "kind="

_EXPECTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "string_type": "text",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "a mapping (key: value)",
    "model_type": "a mapping (key: value)",
    "model_attributes_type": "a mapping (key: value)",
    "path_type": "a path",
}


@dataclass(frozen=True)
class Mistake:
    """One thing to mend.

    Attributes:
        path: The keys that lead to it.
        message: What was expected and what was found.
    """

    path: Steps
    message: str


def report(mistakes: Iterable[Mistake], places: Mapping[Steps, str], file: str) -> str:
    """All mistakes as lines `file:line: path.to.key: message`, in the order of the file.

    Args:
        mistakes: The mistakes.
        places: Where each path stands.
        file: The name of the whole.
    """
    order = {path: number for number, path in enumerate(places)}
    lines: list[tuple[int, str]] = []
    for mistake in dict.fromkeys(mistakes):
        known = mistake.path
        while known and known not in places:
            known = known[:-1]
        key = f"{'.'.join(map(str, mistake.path))}: " if mistake.path else ""
        line = f"{places.get(known, file)}: {key}{mistake.message}"
        lines.append((order.get(known, -1), line))
    return "\n".join(line for _, line in sorted(lines, key=lambda numbered: numbered[0]))


def from_pydantic(
    errors: Sequence[ErrorDetails],
    raw: Any,
    root: type[BaseModel],
    models: Mapping[str, type[Spec]],
) -> list[Mistake]:
    """The mistakes that a validation found.

    Args:
        errors: What pydantic reports.
        raw: The plain values that were validated.
        root: The model of the whole.
        models: The models by the tag that pydantic reports for their kind.
    """
    walked = [(_walk(error, raw), error) for error in errors]
    # A value that fits no type of a union is reported once per type: the deepest says most.
    deepest = {branch: 0 for (_, branch), _ in walked if branch is not None}
    for (path, branch), _ in walked:
        if branch is not None:
            deepest[branch] = max(deepest[branch], len(path))
    grouped: dict[Steps, list[ErrorDetails]] = {}
    for (path, branch), error in walked:
        if branch is None or len(path) == deepest[branch]:
            grouped.setdefault(path, []).append(error)
    return [_mistake(path, found, root, models) for path, found in grouped.items()]


def _walk(error: ErrorDetails, raw: Any) -> tuple[Steps, Steps | None]:
    """The keys that lead to an error, and where a union's type was chosen on the way, if so."""
    path: list[str | int] = []
    branch: Steps | None = None
    here = raw
    for number, step in enumerate(error["loc"]):
        last = number == len(error["loc"]) - 1
        if isinstance(step, str) and (step.startswith(TAG) or step == "[key]"):
            continue
        if (isinstance(here, dict) and step in here) or (
            isinstance(here, list) and isinstance(step, int) and step < len(here)
        ):
            here = here[step]  # type: ignore[index]
        elif not (last and error["type"] == "missing"):
            branch = tuple(path)
            continue
        path.append(step)
    return tuple(path), branch


def _mistake(
    path: Steps, errors: list[ErrorDetails], root: type[BaseModel], models: Mapping[str, type[Spec]]
) -> Mistake:
    error = errors[0]
    kind, found = error["type"], shown(error["input"])
    if kind == "union_tag_invalid":
        return _unknown_kind(path, error)
    if kind == "extra_forbidden":
        valid = _model_at(error["loc"], root, models).model_fields
        return Mistake(path, f"unknown key. {nearest(str(path[-1]), valid)}")
    if kind == "missing" and isinstance(path[-1], int):
        return Mistake(path[:-1], f"expected a longer list, found {found}.")
    if kind == "missing":
        return Mistake(path, "is needed and missing.")
    if kind == "string_pattern_mismatch":
        return Mistake(
            path,
            f"names begin with a letter and hold letters, digits, '_' and '-'. Found {found}.",
        )
    if kind == "value_error":
        return Mistake(path, str(error["ctx"]["error"]))
    wanted = " or ".join(dict.fromkeys(_expected(e) for e in errors))
    message = f"expected {wanted}, found {found}."
    if kind == "literal_error" and isinstance(error["input"], str):
        close = nearest(error["input"], [w.strip("'") for w in _literals(error)])
        message += f" {close}" if close.startswith("Did") else ""
    return Mistake(path, message)


def _unknown_kind(path: Steps, error: ErrorDetails) -> Mistake:
    part, _, found = error["ctx"]["tag"].removeprefix(TAG).partition(".")
    tags = error["ctx"]["expected_tags"].split(", ")
    valid = [tag.strip("'").removeprefix(TAG).partition(".")[2] for tag in tags]
    listed = f"Valid: {', '.join(valid)}."
    if not isinstance(error["input"], dict):
        return Mistake(
            path,
            f"expected a mapping such as {{kind: {valid[0]}}}, found {shown(error['input'])}. "
            + listed,
        )
    if not found:
        return Mistake(path, f"'kind' is needed and missing. {listed}")
    close = nearest(found, valid)
    hint = f"{close} " if close.startswith("Did") else ""
    return Mistake((*path, "kind"), f"unknown kind '{found}' for {part}. {hint}{listed}")


def _model_at(
    loc: tuple[str | int, ...], root: type[BaseModel], models: Mapping[str, type[Spec]]
) -> type[BaseModel]:
    """The model whose keys the last step of a place names."""
    model = root
    for step in loc[:-1]:
        if step in models:
            model = models[str(step)]
        elif step in model.model_fields:
            field = model.model_fields[str(step)]
            exactly = [m.model for m in field.metadata if hasattr(m, "model")]
            model = next(iter([*exactly, *_sections(field.annotation)]), model)
    return model


def _sections(annotation: Any) -> list[type[BaseModel]]:
    """The models within a field's type, such as those of an optional section."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    exactly = [m.model for m in getattr(annotation, "__metadata__", ()) if hasattr(m, "model")]
    if exactly:  # the type is that of any section, and says by its metadata which
        return exactly
    return [found for inner in get_args(annotation) for found in _sections(inner)]


def _expected(error: ErrorDetails) -> str:
    if error["type"] == "literal_error":
        *others, last = _literals(error)
        return f"{', '.join(others)} or {last}" if others else last
    if error["type"] in ("too_short", "too_long"):
        context = error["ctx"]
        return f"a list of {context.get('min_length', context.get('max_length'))}"
    if error["type"] == "greater_than_equal":
        return f"a number of at least {as_text(error['ctx']['ge'])}"
    if error["type"] == "less_than_equal":
        return f"a number of at most {as_text(error['ctx']['le'])}"
    if error["type"] == "less_than":
        return f"a number below {as_text(error['ctx']['lt'])}"
    return _EXPECTED.get(error["type"], error["msg"][0].lower() + error["msg"][1:])


def _literals(error: ErrorDetails) -> list[str]:
    return re.findall(r"'[^']*'", str(error["ctx"]["expected"]))


def shown(value: object) -> str:
    """A value as it may stand in a file, shortened."""
    if value is None:
        return "nothing (null)"
    text = f"'{value}'" if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= 60 else text[:57] + "..."

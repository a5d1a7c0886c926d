"""The JSON schema and the page that is made of it."""

import json
from pathlib import Path
from typing import Any

import pytest

from polytask.config import json_schema
from polytask.config.document import parse
from polytask.config.reference import reference_markdown

from .conftest import FILES, RIGHT, SHIPPED

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"
TEXTS = [
    RIGHT,
    *(path.read_text() for place in (FILES, SHIPPED) for path in sorted(place.glob("*.yaml"))),
]


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == reference_markdown(), (
        "Write it anew: python -m polytask.config.reference > docs/configuration.md"
    )


def test_the_schema_is_plain_json_and_its_references_resolve() -> None:
    schema = json.loads(json.dumps(json_schema()))
    named = {f"#/$defs/{name}" for name in schema["$defs"]}

    def references(value: Any) -> set[str]:
        inner = value.values() if isinstance(value, dict) else value
        if not isinstance(value, (dict, list)):
            return set()
        own = {value["$ref"]} if isinstance(value, dict) and "$ref" in value else set()
        return own.union(*(references(item) for item in inner))

    assert references(schema) == named


@pytest.mark.parametrize("text", TEXTS)
def test_the_schema_accepts_recipes(text: str) -> None:
    validator = pytest.importorskip("jsonschema").Draft202012Validator(json_schema())
    assert [error.message for error in validator.iter_errors(parse(text, "x").value)] == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("kind: fsdd", "kind: fsd"),
        ("pool: mean", "pool: most"),
        ("path: photos.csv", "paht: photos.csv"),
        ("target: digits.digit", "target: 3.5"),
        ("width: 32", "width: wide"),
    ],
)
def test_the_schema_rejects_mistakes(old: str, new: str) -> None:
    validator = pytest.importorskip("jsonschema").Draft202012Validator(json_schema())
    assert not validator.is_valid(parse(RIGHT.replace(old, new), "x").value)

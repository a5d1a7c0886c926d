"""What a constructor says is what a file may say."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import ValidationError

from polytask.config import catalogue
from polytask.config.derive import descriptions, settings, summary
from polytask.config.schema import MODELS
from polytask.config.spec import Spec, derive


class Base:
    """A base.

    Attributes:
        depth: How deep, told by the base.
        state: No argument at all.
    """


class Made(Base):
    """The first sentence.

    More.

    Args:
        fact: Supplied.
        widths: How wide,
            in a list.
        low, high: The ends.
        depth: How deep.
    """

    def __init__(
        self,
        fact: int,
        *,
        depth: int,
        widths: Sequence[int] = (1, 2),
        low: float = 0.0,
        high: float | None = None,
        how: Literal["a", "b"] = "a",
        named: Mapping[str, float] | None = None,
        path: Path | None = None,
        several: list[Path] | Path = Path("."),
        text: str = "x",
    ) -> None:
        self.arguments = dict(vars(), self=None)
        self.fact = fact


@dataclass(frozen=True, kw_only=True)
class Described:
    """A dataclass.

    Attributes:
        name: Its key.
        factors: By name.
    """

    name: str
    factors: dict[str, float] = field(default_factory=dict)
    pair: tuple[float, float] = (0.1, 0.2)


def test_keyword_arguments_become_fields_and_positional_ones_do_not() -> None:
    fields = settings(Made)
    assert list(fields) == [
        *("depth", "widths", "low", "high", "how", "named", "path", "several", "text")
    ]
    assert fields["depth"][1].is_required()
    assert fields["widths"][1].default == (1, 2)


def test_descriptions_come_from_the_docstrings_of_the_class_and_its_bases() -> None:
    told = descriptions(Made)
    assert told["widths"] == "How wide, in a list."
    assert told["low"] == told["high"] == "The ends."
    assert told["depth"] == "How deep."
    assert summary(Made) == "The first sentence."
    assert descriptions(Described)["factors"] == "By name."


def test_a_dataclass_is_derived_like_a_class() -> None:
    model = derive(Described, supplied=("name",))
    made = model.model_validate_json('{"pair": [1, 2]}', strict=True).make(name="mine")
    assert made == Described(name="mine", pair=(1.0, 2.0))
    assert model().make(name="x").factors == {}


def test_what_a_file_says_arrives_in_the_constructor() -> None:
    model = derive(Made, kind="made")
    said = """{"kind": "made", "depth": 3, "widths": [4], "high": 1, "named": {"a": 2},
               "several": ["p", "q"], "text": 7}"""
    spec = model.model_validate_json(said, strict=True, context={"folder": "/data"})
    arguments = spec.make(11).arguments
    assert arguments["fact"] == 11
    assert arguments["widths"] == (4,)
    assert arguments["high"] == 1.0
    assert arguments["named"] == {"a": 2.0}
    assert arguments["several"] == [Path("/data/p"), Path("/data/q")]
    assert arguments["text"] == "7"


@pytest.mark.parametrize(
    ("said", "where"),
    [
        ('{"depth": 3, "width": 4}', "width"),
        ('{"depth": 3.5}', "depth"),
        ('{"depth": true}', "depth"),
        ('{"depth": "3"}', "depth"),
        ('{"depth": 3, "how": "c"}', "how"),
        ('{"depth": 3, "widths": 4}', "widths"),
        ('{"depth": 3, "text": [1]}', "text"),
        ("{}", "depth"),
    ],
)
def test_what_the_annotation_excludes_is_an_error(said: str, where: str) -> None:
    with pytest.raises(ValidationError) as caught:
        derive(Made).model_validate_json(said, strict=True)
    assert {error["loc"][0] for error in caught.value.errors()} == {where}


def test_specs_do_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        derive(Described)(name="a").name = "b"  # type: ignore[attr-defined]


@pytest.mark.parametrize("tag", MODELS)
def test_every_setting_of_the_catalogue_has_a_description(tag: str) -> None:
    bare = [k for k, f in MODELS[tag].model_fields.items() if k != "kind" and not f.description]
    assert bare == [], f"{MODELS[tag].makes.__name__} says nothing about {bare}"


def facts_of(tag: str) -> dict[str, Any]:
    """Positional and supplied arguments with which a class of the catalogue is tried."""
    from polytask.backbones import PerceptronBackbone

    part = tag.removeprefix("kind=").partition(".")[0]
    return {
        "trunk": {"facts": [lambda: PerceptronBackbone(4), ["a", "b"]]},
        "backbone": {"facts": [4]},
        "image body": {"facts": [3]},
        "sound body": {"facts": [3]},
        "table body": {"facts": [3]},
        "text body": {"facts": [3]},
        "balancer": {"facts": [3]},
        "image encoder": {"facts": [3, [0.5] * 3, [0.2] * 3]},
        "sound encoder": {"facts": [8000]},
        "table encoder": {"facts": [5]},
        "text encoder": {
            "facts": [11, False] if tag.endswith("pretrained") else [5, 4, 1, False, []]
        },
        "task": {"supplied": {"name": "t"}},
    }.get(part, {})


NEEDED: dict[str, dict[str, Any]] = {
    "kind=source.table": {"path": "x.csv"},
    "kind=source.npz": {"path": "x.npz"},
    "kind=source.overlaid": {"path": "x.npz"},
    "kind=source.quarter-turns": {"source": "s"},
    "kind=source.folders": {"path": "x"},
    "kind=source.maps": {"path": "x", "pictures": "a/{name}", "maps": {"m": "b/{name}"}},
    "kind=source.arff": {"path": "x.arff"},
    "kind=source.lines": {"path": "x.txt"},
    "kind=source.columns": {"path": "x.txt", "columns": ["words"]},
    "kind=source.conllu": {"path": "x.conllu"},
    "kind=source.sentences": {"set": "subj"},
    "kind=mixing.counts": {"counts": {"a": 1}},
    "kind=mixing.annealed": {"epochs": 3},
    "kind=resampling.over": {"task": "t"},
    "kind=resampling.under": {"task": "t"},
    "kind=resampling.tomek": {"task": "t"},
    "kind=task.segmentation": {"classes": ["a", "b"]},
}


@pytest.mark.parametrize("tag", MODELS)
def test_every_class_of_the_catalogue_is_made_with_its_defaults(tag: str, tmp_path: Path) -> None:
    model: type[Spec] = MODELS[tag]
    kind = tag.partition(".")[2]
    given: dict[str, Any] = {"kind": kind} | NEEDED.get(tag, {})
    if kind in ("mlflow", "wandb"):
        pytest.importorskip(kind, reason=f'needs pip install "polytask[{kind}]"')
        pytest.importorskip("pytorch_lightning", reason=f'needs pip install "polytask[{kind}]"')
    if kind.startswith("pretrained"):  # skips without transformers
        from tests.backbones import test_pictures, test_pretrained

        if kind == "pretrained":
            test_pretrained.stored("bert", tmp_path)
        else:
            test_pictures.stored("vit", tmp_path)
        given |= {"path": tmp_path}
    if tag.startswith("kind=task."):
        given |= {"input": "i", "target": {"s": "c"}}
    if tag.startswith("kind=input."):
        given |= {"columns": {"s": ["c"] if kind == "table" else "c"}}
    arguments = facts_of(tag)
    if tag == "kind=source.quarter-turns":
        arguments = {"facts": [{}]}
    made = model(**given).make(*arguments.get("facts", ()), **arguments.get("supplied", {}))
    assert type(made) is model.makes


def test_the_catalogues_bodies_are_backbones() -> None:
    assert {name for kinds in catalogue.BODIES.values() for name in kinds} <= set(
        catalogue.BACKBONES
    )
    assert set(catalogue.SHAPES) == set(catalogue.INPUTS) == set(catalogue.ENCODERS)

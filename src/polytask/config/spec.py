"""What a part of the file looks like: settings of one object, or a choice between several kinds."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, Union

from pydantic import BaseModel, ConfigDict, Discriminator, GetCoreSchemaHandler, Tag, create_model
from pydantic_core import CoreSchema

from polytask.config.derive import FieldOf, settings, summary


class Section(BaseModel):
    """A mapping of the file: unknown keys are errors, and nothing changes after loading."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", ser_json_inf_nan="constants", protected_namespaces=()
    )


class Spec(Section):
    """The settings of one object.

    Attributes:
        makes: The class of the object.
        own: Which fields are arguments of its constructor; others describe parts of it.
    """

    makes: ClassVar[type]
    own: ClassVar[tuple[str, ...]] = ()

    @property
    def chosen(self) -> str:
        """The kind that the file chose; empty where there is no choice."""
        return str(getattr(self, "kind", ""))

    def make(self, *facts: Any, **supplied: Any) -> Any:
        """The object.

        Args:
            *facts: The positional arguments, which no file states.
            **supplied: Keyword arguments that no file states.
        """
        own = {name: _made(getattr(self, name)) for name in self.own}
        return self.makes(*facts, **supplied, **own)


def _made(value: Any) -> Any:
    """A value of a field, or the objects that its settings describe."""
    if isinstance(value, tuple):
        return tuple(map(_made, value))
    return value.make() if isinstance(value, Spec) else value


def derive(
    made: type,
    *,
    kind: str | None = None,
    optional: bool = False,
    base: type[Spec] = Spec,
    parts: Mapping[str, FieldOf] | None = None,
    replaced: Mapping[str, FieldOf] | None = None,
    nested: Mapping[str, Any] | None = None,
    supplied: tuple[str, ...] = (),
) -> type[Spec]:
    """The model of a class.

    Args:
        made: The class.
        kind: The name that selects it; None where there is no choice.
        optional: Whether `kind` may be left out.
        base: What the model inherits from.
        parts: Further fields, which are no arguments of the constructor.
        replaced: Other fields in place of arguments', for those that a file may abbreviate.
        nested: The types of arguments that are objects with settings of their own.
        supplied: Keyword-only arguments that the builder supplies.
    """
    own = settings(made, supplied=supplied) | dict(replaced or {})
    own |= {
        name: (kind_of, own[name][1]) for name, kind_of in (nested or {}).items() if name in own
    }
    fields: dict[str, Any] = {}
    if kind is not None:
        fields["kind"] = (Literal[kind], kind) if optional else (Literal[kind], ...)
    fields |= own | dict(parts or {})
    model: type[Spec] = create_model(
        made.__name__, __base__=base, __module__=__name__, __doc__=summary(made), **fields
    )
    model.makes, model.own = made, tuple(own)
    return model


@dataclass(frozen=True, eq=False)
class OneOf:
    """A place of the file where `kind` selects one of several models.

    Attributes:
        part: What the place is called in messages.
        models: The models by kind.
        default: The kind where none is given; None if it has to be given.
    """

    part: str
    models: Mapping[str, type[Spec]]
    default: str | None = None

    def tag(self, kind: object) -> str:
        """What marks a kind of this part in the places that pydantic reports."""
        return f"kind={self.part}.{kind}"

    def usual(self) -> Any:
        """The default kind with default settings."""
        assert self.default is not None
        return self.models[self.default]()

    def _tag_of(self, value: Any) -> str:
        if isinstance(value, Spec):
            return self.tag(value.chosen)
        given = value.get("kind", self.default) if isinstance(value, dict) else None
        return self.tag("" if given is None else given)

    def __get_pydantic_core_schema__(self, _: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        choices = tuple(Annotated[m, Tag(self.tag(kind))] for kind, m in self.models.items())
        schema = handler.generate_schema(
            Annotated[Union[choices], Discriminator(self._tag_of)]  # noqa: UP007
        )
        return schema


@dataclass(frozen=True, eq=False)
class Exactly:
    """A place of the file that has one model.

    Attributes:
        model: The model.
    """

    model: type[Spec]

    def __get_pydantic_core_schema__(self, _: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return handler.generate_schema(self.model)


def choice(
    part: str, kinds: Mapping[str, type], *, default: str | None = None, **options: Any
) -> OneOf:
    """A choice between the classes of a catalogue; `options` are those of `derive`."""
    models = {
        kind: derive(made, kind=kind, optional=kind == default, **options)
        for kind, made in kinds.items()
    }
    return OneOf(part, models, default)

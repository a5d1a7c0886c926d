"""YAML 1.2 to plain values that remember their lines, and back."""

import io
from dataclasses import dataclass, field
from typing import Any

from polytask.config.mistakes import Mistake, Steps
from polytask.errors import ConfigError

_PLAIN = {f"tag:yaml.org,2002:{t}" for t in ("null", "bool", "int", "float")}
_MERGE = "tag:yaml.org,2002:merge"


@dataclass
class Document:
    """Plain values, and where each of them stands.

    Attributes:
        name: The file.
        value: Dicts with text keys, lists and scalars.
        places: `file:line` of every path of keys, in the order of the file.
        mistakes: Keys that are given twice or are no texts, and values that JSON does not have.
    """

    name: str
    value: Any
    places: dict[Steps, str] = field(default_factory=dict)
    mistakes: list[Mistake] = field(default_factory=list)


def parse(text: str, name: str) -> Document:
    """Read YAML.

    Args:
        text: The text.
        name: What messages call it.

    Raises:
        ConfigError: With line and column, if it is no YAML.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    yaml = YAML(typ="safe", pure=True)
    document = Document(name, None)
    try:
        node = yaml.compose(text)
        if node is not None:
            document.value = _Reader(yaml.constructor, document).read(node, (), ())
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        at = f"{name}:{mark.line + 1}:{mark.column + 1}" if mark else name
        said = " ".join(str(p) for p in (error.context, error.problem) if p)
        raise ConfigError(f"{at}: this is not YAML: {said}.") from error
    except RecursionError as error:
        raise ConfigError(f"{name}: lists or mappings are nested too deep to be read.") from error
    except YAMLError as error:
        raise ConfigError(f"{name}: this is not YAML: {error}.") from error
    return document


def write(value: Any) -> str:
    """Plain values as YAML."""
    from ruamel.yaml import YAML

    yaml: Any = YAML(typ="safe", pure=True)
    yaml.default_flow_style = None  # a list of numbers stays on one line
    yaml.sort_base_mapping_type_on_output = False
    yaml.width = 100
    yaml.representer.add_representer(str, _text)
    stream = io.StringIO()
    yaml.dump(value, stream)
    return stream.getvalue()


def _text(representer: Any, value: str) -> Any:
    """A text; with Unicode's own line breaks, which YAML reads as spaces, in escapes."""
    style = '"' if any(mark in value for mark in "\x85\u2028\u2029") else None
    return representer.represent_scalar("tag:yaml.org,2002:str", value, style=style)


class _Reader:
    """Turns nodes into plain values.

    Args:
        constructor: What reads scalars.
        document: Where places and mistakes are noted.
    """

    def __init__(self, constructor: Any, document: Document) -> None:
        self.constructor = constructor
        self.document = document

    def read(self, node: Any, path: Steps, above: tuple[Any, ...]) -> Any:
        """The value of a node."""
        from ruamel.yaml.nodes import MappingNode, SequenceNode

        self.note(node, path)
        if any(node is other for other in above):
            self.document.mistakes.append(Mistake(path, "this alias contains itself."))
            return None
        if isinstance(node, MappingNode):
            return self.mapping(node, path, (*above, node))
        if isinstance(node, SequenceNode):
            return [self.read(n, (*path, i), (*above, node)) for i, n in enumerate(node.value)]
        return self.scalar(node, path)

    def note(self, node: Any, path: Steps) -> None:
        """Remember where a path stands."""
        self.document.places.setdefault(path, f"{self.document.name}:{node.start_mark.line + 1}")

    def mapping(self, node: Any, path: Steps, above: tuple[Any, ...]) -> dict[str, Any]:
        """A mapping; what `<<` merges comes after the keys of its own."""
        values: dict[str, Any] = {}
        merged: list[Any] = []
        lines: dict[str, int] = {}
        for key_node, value_node in node.value:
            if key_node.tag == _MERGE:
                merged += value_node.value if value_node.id == "sequence" else [value_node]
                continue
            if key_node.id != "scalar":
                here = (*path, "?")  # as YAML writes such a key
                self.note(key_node, here)
                told = "a key should be a text, not a list or a mapping."
                self.document.mistakes.append(Mistake(here, told))
                continue
            key = str(key_node.value)
            here = (*path, key)
            if key in values:
                self.document.mistakes.append(
                    Mistake(here, f"this key stands here twice, first in line {lines[key]}.")
                )
            lines[key] = key_node.start_mark.line + 1
            self.document.places[here] = f"{self.document.name}:{lines[key]}"
            values[key] = self.read(value_node, here, above)
        for other in merged:
            if other.id != "mapping" or any(other is node for node in above):
                self.document.mistakes.append(Mistake(path, "'<<' takes other mappings."))
                continue
            for key, value in self.mapping(other, path, above).items():
                values.setdefault(key, value)
        return values

    def scalar(self, node: Any, path: Steps) -> Any:
        """Null, truth values and numbers; everything else is text."""
        if str(node.tag) in _PLAIN:
            return self.constructor.construct_object(node)
        if str(node.tag).startswith("!"):
            self.document.mistakes.append(
                Mistake(path, f"tags such as {node.tag} have no meaning here.")
            )
        return str(node.value)

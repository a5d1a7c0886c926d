"""What a search may try: dotted keys of a configuration with ranges, and kinds with their own keys.

A key that ends in `.kind` exchanges a whole part: the new kind keeps what the file says of the part
as far as it has such settings, and defaults elsewhere. Keys below such a part count only where the
chosen kind has them.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from polytask.config.schema import Config, Range
from polytask.config.spec import OneOf, Spec
from polytask.config.variants import varied
from polytask.errors import ConfigError, nearest

Values = Mapping[str, Any]

# Scores of trainings that differ in these cannot be compared with each other.
JUDGES = ("name", "tune", "compare", "training.monitor")


class Space:
    """The configurations that a search may try.

    Args:
        config: The configuration, with its `tune`.

    Raises:
        ConfigError: With all mistakes in keys, one a line.
    """

    def __init__(self, config: Config) -> None:
        if not config.tune:
            raise ConfigError(
                "The file has no 'tune:'. Say what may be tried, such as "
                "tune: {optimizer.lr: {low: 0.0001, high: 0.1, log: true}}."
            )
        self.config = config
        self.ranges: dict[str, Range] = dict(config.tune)
        kinds = [key for key in self.ranges if _last(key) == "kind"]
        self.kinds = sorted(kinds, key=lambda key: key.count("."))
        self.others = [key for key in self.ranges if key not in kinds]
        mistakes = list(self._mistakes())
        if mistakes:
            raise ConfigError("\n".join(mistakes))

    def chosen(self, suggest: Callable[[str, Range], Any]) -> Config:
        """The configuration of a trial.

        Args:
            suggest: Gives the value of a key; asked only for keys that count.

        Raises:
            ConfigError: If values do not go together.
        """
        config = self.config
        for key in self.kinds:
            if self._place(config, key) is not None:
                config = with_kind(config, _above(key), suggest(key, self.ranges[key]))
        found = [key for key in self.others if self._place(config, key) is not None]
        changes = {key: suggest(key, self.ranges[key]) for key in found}
        changed = varied(config, {**changes, "tune": None})
        return changed

    def _place(self, config: Config, key: str) -> Any:
        """What holds a key; None where the chosen kind of a part does not have it."""
        here = part_at(config, _above(key))
        if here is None or not has(here, _last(key)):
            return None
        return here

    def _mistakes(self) -> Iterator[str]:
        """What is wrong with keys and choices, each on its own."""
        for key, range_ in self.ranges.items():
            if key in JUDGES or (key.startswith("sources.") and ".split" in key):
                yield f"tune.{key}: trials that differ in it cannot be compared. Leave it out."
            elif _last(key) == "kind":
                yield from self._wrong_kinds(key, range_)
        for key in self.others:
            if key not in JUDGES:
                yield from self._wrong_key(key)

    def _wrong_kinds(self, key: str, range_: Range) -> Iterator[str]:
        place = place_of(self.config, _above(key))
        if place is None:
            yield f"tune.{key}: there is no choice of kinds at '{_above(key)}'."
            return
        if range_.choices is None:
            yield f"tune.{key}: kinds are given as {{choices: [...]}}."
        for kind in range_.choices or ():
            if kind not in place.models:
                yield f"tune.{key}: unknown kind '{kind}'. {nearest(str(kind), place.models)}"

    def _wrong_key(self, key: str) -> Iterator[str]:
        """A key that no reachable configuration has, or whose values none takes."""
        names: set[str] = set()
        refusals: list[str] = []
        for config in self._reachable(key):
            here = part_at(config, _above(key))
            if here is None:
                continue
            if not has(here, _last(key)):
                names.update(keys_of(here))
                continue
            try:
                for value in ends(self.ranges[key]):
                    varied(config, {key: value})
                return
            except ConfigError as error:
                refusals.append(str(error))
        if refusals:
            yield f"tune.{key}: {refusals[0]}"
        elif names:
            yield f"tune.{key}: unknown key '{_last(key)}'. {nearest(_last(key), names)}"
        else:
            yield f"tune.{key}: {unknown_above(self.config, key)}"

    def _reachable(self, key: str) -> Iterator[Config]:
        """The configuration, and with each kind of each part above a key."""
        configs = [self.config]
        for kind in self.kinds:
            choices = self.ranges[kind].choices
            place = place_of(self.config, _above(kind))
            if not key.startswith(f"{_above(kind)}.") or choices is None or place is None:
                continue
            fresh = []
            for config in configs:
                for choice in choices:
                    try:
                        fresh.append(with_kind(config, _above(kind), str(choice)))
                    except ConfigError:
                        continue  # told with the kinds, or in the trial that meets it
            configs = fresh
        yield from configs


def with_kind(config: Config, key: str, kind: str) -> Config:
    """A configuration with another kind of the part at a key.

    Raises:
        ConfigError: If there is no such kind, or it needs settings that the file does not give.
    """
    here, place = part_at(config, key), place_of(config, key)
    if not isinstance(here, Spec) or place is None or kind not in place.models:
        valid = () if place is None else place.models
        raise ConfigError(f"{key}.kind: unknown kind '{kind}'. {nearest(kind, valid)}")
    if here.chosen == kind:
        return config
    stated = here.model_dump(mode="json", include=set(here.model_fields_set))
    known = place.models[kind].model_fields
    # A part within a part has all of its settings stated, whatever a file left out.
    kept = {name: value for name, value in stated.items() if name in known and name != "kind"}
    usual = here.model_dump(mode="json")
    for name, field in type(here).model_fields.items():
        part_of_it = any(isinstance(mark, OneOf) for mark in field.metadata)
        if part_of_it and name in known:
            kept[name] = usual[name]
    return varied(config, {key: {"kind": kind, **kept}})


def part_at(config: Config, key: str) -> Any:
    """What stands at a dotted key; None if there is no such place."""
    here: Any = config
    for step in key.split(".") if key else ():
        if isinstance(here, BaseModel) and step in type(here).model_fields:
            here = getattr(here, step)
        elif isinstance(here, Mapping) and step in here:
            here = here[step]
        elif isinstance(here, (list, tuple)) and step.isdigit() and int(step) < len(here):
            here = here[int(step)]
        else:
            return None
    return here


def place_of(config: Config, key: str) -> OneOf | None:
    """The choice of kinds at a dotted key; None if there is none."""
    here = part_at(config, _above(key))
    if not isinstance(here, BaseModel):
        return None
    field = type(here).model_fields.get(_last(key))
    marks = [] if field is None else [m for m in field.metadata if isinstance(m, OneOf)]
    return marks[0] if marks else None


def has(here: Any, step: str) -> bool:
    """Whether a key can be set there."""
    if isinstance(here, (list, tuple)):
        return step.isdigit() and int(step) < len(here)
    return step in keys_of(here)


def keys_of(here: Any) -> list[str]:
    """The keys that can be set in a part."""
    if isinstance(here, BaseModel):
        return list(type(here).model_fields)
    return list(here) if isinstance(here, Mapping) else []


def unknown_above(config: Config, key: str) -> str:
    """Which step on the way to a key does not exist."""
    steps = key.split(".")
    for number in range(len(steps)):
        here = part_at(config, ".".join(steps[:number]))
        if not has(here, steps[number]):
            return f"unknown key '{steps[number]}'. {nearest(steps[number], keys_of(here))}"
    return "it has no keys of its own."


def ends(range_: Range) -> list[Any]:
    """Values that stand for all: the ends of a range, or all choices."""
    return list(range_.choices) if range_.choices is not None else [range_.low, range_.high]


def suggested(trial: Any, key: str, range_: Range) -> Any:
    """An Optuna trial's value of a key.

    Optuna keeps plain values only, so lists and mappings among choices are kept as JSON.
    """
    if range_.choices is not None:
        plain = all(isinstance(c, (str, int, float, bool, type(None))) for c in range_.choices)
        if plain:
            return trial.suggest_categorical(key, list(range_.choices))
        return json.loads(trial.suggest_categorical(key, [json.dumps(c) for c in range_.choices]))
    if isinstance(range_.low, int) and isinstance(range_.high, int):
        return trial.suggest_int(key, range_.low, range_.high, log=range_.log)
    return trial.suggest_float(key, range_.low, range_.high, log=range_.log)


def _last(key: str) -> str:
    return key.rpartition(".")[2]


def _above(key: str) -> str:
    return key.rpartition(".")[0]

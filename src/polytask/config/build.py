"""From a configuration to objects."""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from polytask.backbones.base import Backbone
from polytask.balancing import Balancer
from polytask.config.mistakes import Mistake, Steps
from polytask.config.schema import PARTS_OF_CLEANING, STACK, Config, InputSpec
from polytask.config.spec import Spec
from polytask.config.task_keys import numbered
from polytask.data.blending import Blending
from polytask.data.inputs import Input
from polytask.data.mixing import Mixing
from polytask.data.resampling import Resampling
from polytask.data.sources import Source
from polytask.data.splits import Split
from polytask.data.transforms import Transform
from polytask.distillation import Lesson
from polytask.encoders import StackedEncoder
from polytask.errors import ConfigError, MissingDependency
from polytask.model import MultiTaskModel
from polytask.tasks import Task
from polytask.training.loggers import LoggerSpec
from polytask.training.optim import OptimizerSpec, Schedule
from polytask.training.settings import Settings

# What constructors raise over numbers that they cannot work with; torch raises RuntimeError.
REFUSALS = (TypeError, ValueError, IndexError, ArithmeticError, RuntimeError)


class BuildError(ConfigError):
    """A constructor refused its settings.

    Attributes:
        path: The keys that lead to the settings.
        reason: What the constructor said.
    """

    def __init__(self, path: Steps, reason: str) -> None:
        super().__init__(f"{'.'.join(map(str, path))}: {reason}")
        self.path = path
        self.reason = reason


@contextmanager
def blaming(*path: str | int) -> Iterator[None]:
    """Within this context, what a constructor refuses is the fault of the settings at `path`."""
    try:
        yield
    except (BuildError, MissingDependency):
        raise
    except (ConfigError, *REFUSALS) as error:
        reason = str(error)
        if not isinstance(error, ConfigError):  # PyTorch goes on with where in its code it was.
            reason = reason.partition("\n")[0]
        raise BuildError(path, reason) from error


def made(spec: Spec, *path: str | int, facts: Sequence[Any] = (), **supplied: Any) -> Any:
    """The object that settings describe; refusals name their place."""
    with blaming(*path):
        return spec.make(*facts, **supplied)


def read_sources(config: Config) -> list[str]:
    """The sources that an input reads; of the others only further sources are made."""
    read = {source for spec in config.inputs.values() for source in spec.model_dump()["columns"]}
    return [name for name in config.sources if name in read]


def build_sources(config: Config) -> dict[str, Source]:
    """The sources that an input reads, by name; nothing is read yet."""
    built: dict[str, Source] = {}
    for name, spec in config.sources.items():
        built[name] = made(spec, "sources", name, facts=_others(spec, built))
    return {name: built[name] for name in read_sources(config)}


def _others(spec: Spec, built: dict[str, Source]) -> list[dict[str, Source]]:
    """All sources, for one that is made of others; it looks at them when it loads."""
    return [built] if positional(spec.makes) else []


def build_splits(config: Config) -> dict[str, Split]:
    """How each source that an input reads is divided."""
    return {
        name: made(config.sources[name].split, "sources", name, "split")
        for name in read_sources(config)
    }


def build_inputs(config: Config) -> dict[str, Input]:
    """The inputs by name, not fitted."""
    return {name: build_input(spec, name) for name, spec in config.inputs.items()}


def build_input(spec: InputSpec, name: str) -> Input:
    """One input, not fitted."""
    cleaning: Spec | None = getattr(spec, "clean", None)
    if cleaning is None:
        found: Input = made(spec, "inputs", name)
        return found
    at = ("inputs", name, "clean")
    parts = {
        key: made(given, *at, key)
        for key in PARTS_OF_CLEANING
        if (given := getattr(cleaning, key)) is not None
    }
    result: Input = made(spec, "inputs", name, clean=made(cleaning, *at, **parts))
    return result


def build_augment(config: Config) -> dict[str, list[Transform]]:
    """The transforms of each input, in order."""
    return {
        name: [
            made(spec, "inputs", name, "augment", number)
            for number, spec in enumerate(getattr(given, "augment", ()))
        ]
        for name, given in config.inputs.items()
    }


def build_blend(config: Config) -> dict[str, Blending]:
    """How the examples of inputs are blended, for those of which they are."""
    chosen = {name: getattr(given, "blend", None) for name, given in config.inputs.items()}
    return {name: made(spec, "inputs", name, "blend") for name, spec in chosen.items() if spec}


def build_tasks(config: Config) -> list[Task]:
    """The tasks, not fitted."""
    return [made(spec, "tasks", name, name=name) for name, spec in config.tasks.items()]


def build_mixing(config: Config) -> Mixing:
    """How the sources share a step."""
    mixing: Mixing = made(config.batches.mixing, "batches", "mixing")
    return mixing


def build_resampling(config: Config) -> Resampling | None:
    """How often training rows are drawn, if not once each."""
    spec = config.batches.resample
    found: Resampling | None = None if spec is None else made(spec, "batches", "resample")
    return found


def build_balancer(config: Config, num_tasks: int) -> Balancer:
    """How the losses become one update."""
    spec = numbered(config.balancer, list(config.tasks))
    balancer: Balancer = made(spec, "balancer", facts=[num_tasks])
    return balancer


def build_optimizer(config: Config) -> OptimizerSpec:
    """The description of the optimiser."""
    optimizer: OptimizerSpec = made(config.optimizer, "optimizer")
    return optimizer


def build_schedule(config: Config) -> Schedule:
    """The learning rate over time."""
    schedule: Schedule = made(config.schedule, "schedule")
    return schedule


def build_settings(config: Config) -> Settings:
    """How long and how to train."""
    settings: Settings = made(config.training, "training")
    return settings


def build_lessons(config: Config) -> list[Lesson]:
    """Which runs teach, and how."""
    return [made(spec, "teachers", number) for number, spec in enumerate(config.teachers)]


def build_loggers(config: Config) -> list[LoggerSpec]:
    """What is shown the history.

    Raises:
        MissingDependency: If a package that one needs is not installed.
    """
    return [made(spec, "loggers", number) for number, spec in enumerate(config.loggers)]


def build_model(
    config: Config, inputs: Mapping[str, Input], tasks: Sequence[Task]
) -> MultiTaskModel:
    """The network, with fresh weights.

    Args:
        config: The configuration.
        inputs: Fitted.
        tasks: Fitted.

    Raises:
        ConfigError: If a part refuses its settings, or inputs that meet in the trunk differ in
            width.
    """
    encoders = {
        name: build_encoder(spec, inputs[name], name) for name, spec in config.inputs.items()
    }
    width = _common_width(encoders)

    def backbone() -> Backbone:
        network: Backbone = made(config.trunk.backbone, "trunk", "backbone", facts=[width])
        return network

    trunk = made(config.trunk, "trunk", facts=[backbone, [task.name for task in tasks]])
    return MultiTaskModel(encoders, trunk, tasks)


def build_encoder(spec: InputSpec, fitted: Input, name: str) -> StackedEncoder:
    """An input's own network: front end, body, pooling, projection.

    Args:
        spec: The settings of the input.
        fitted: The input, which knows what the front end needs.
        name: The input's name, for messages.
    """
    facts = [fitted.features[fact] for fact in positional(spec.encoder.makes)]
    front = made(spec.encoder, "inputs", name, "encoder", facts=facts)
    body = None
    if spec.body is not None:
        body = made(spec.body, "inputs", name, "body", facts=[front.out_features])
    with blaming("inputs", name):
        return StackedEncoder(front, body, **{key: getattr(spec, key) for key in STACK})


def positional(built: Callable[..., Any]) -> list[str]:
    """The names of the facts that a class takes as positional arguments."""
    return [
        name
        for name, argument in inspect.signature(built).parameters.items()
        if argument.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
    ]


def _common_width(encoders: Mapping[str, StackedEncoder]) -> int:
    widths = {name: encoder.out_features for name, encoder in encoders.items()}
    if len(set(widths.values())) > 1:
        found = ", ".join(f"inputs.{name} gives {width}" for name, width in widths.items())
        raise ConfigError(
            f"Inputs that meet in one trunk need features of one width, and {found}. "
            f"Give each of them the same 'width', such as 'width: {max(widths.values())}'."
        )
    return next(iter(widths.values()))


def unbuildable(config: Config) -> Iterator[Mistake]:
    """What constructors refuse, as far as they need no data to do so."""
    attempts: list[Callable[[], Any]] = [
        *(
            lambda n=n, s=s: made(s, "sources", n, facts=_others(s, {}))
            for n, s in config.sources.items()
        ),
        *(lambda n=n, s=s: made(s.split, "sources", n, "split") for n, s in config.sources.items()),
        *(lambda n=n, s=s: _try_input(n, s) for n, s in config.inputs.items()),
        *(lambda n=n, s=s: made(s, "tasks", n, name=n) for n, s in config.tasks.items()),
        lambda: build_augment(config),
        lambda: build_blend(config),
        lambda: build_mixing(config),
        lambda: build_balancer(config, len(config.tasks)),
        lambda: build_optimizer(config),
        lambda: build_schedule(config),
        lambda: build_settings(config),
        lambda: build_lessons(config),
        lambda: made(config.trunk.backbone, "trunk", "backbone", facts=[_SOME_WIDTH]),
    ]
    with torch.random.fork_rng(devices=[]):
        for attempt in attempts:
            try:
                attempt()
            except BuildError as error:
                yield Mistake(error.path, error.reason)


_SOME_WIDTH = 8  # features that enter a network, where the number is not known yet


def _try_input(name: str, spec: InputSpec) -> None:
    """Make an input and what of its network can be made before it is fitted."""
    known = build_input(spec, name).features
    facts = positional(spec.encoder.makes)
    if known.keys() >= set(facts):
        made(spec.encoder, "inputs", name, "encoder", facts=[known[fact] for fact in facts])
    if spec.body is not None:
        made(spec.body, "inputs", name, "body", facts=[_SOME_WIDTH])

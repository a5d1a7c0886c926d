"""Settings that were given and change nothing."""

from collections.abc import Iterator

from polytask.backbones import ResidualBackbone
from polytask.config.build import read_sources
from polytask.config.schema import Config, InputSpec
from polytask.config.spec import Section, Spec
from polytask.data.inputs import SoundInput
from polytask.tasks import Regression


class ConfigWarning(UserWarning):
    """A setting has no effect."""


# A class, its setting, and the other setting's values under which it counts.
_ONLY_IF: tuple[tuple[type, str, str, tuple[str, ...]], ...] = (
    (Regression, "delta", "criterion", ("huber",)),
    (ResidualBackbone, "stem_width", "stem", ("conv3", "conv7")),
    (SoundInput, "silence_below", "silence", ("trim", "remove")),
)


def without_effect(config: Config) -> Iterator[str]:
    """What is set to something else than its default, and has no effect for certain."""
    for path, spec in specs(config):
        for made, setting, decider, values in _ONLY_IF:
            given = getattr(spec, decider, None)
            if spec.makes is made and given not in values and is_set(spec, setting):
                yield f"{path}.{setting} has no effect with {decider}: {given}."
    for name, task in config.tasks.items():
        feeds = config.inputs[task.input]
        tokens = config.trunk.backbone.chosen == "transformer"
        pools = "pool" in type(task).model_fields
        if (
            pools
            and is_set(task, "pool")
            and not tokens
            and (is_set(feeds, "pool") or is_vector(feeds))
        ):
            yield (
                f"tasks.{name}.pool has no effect: its input '{task.input}' gives one vector "
                "per example already."
            )
    for name, feeds in config.inputs.items():
        if is_vector(feeds) and is_set(feeds, "pool"):
            yield f"inputs.{name}.pool has no effect: a table gives one vector per example already."
    if len(read_sources(config)) == 1 and config.batches.mixing.chosen in (
        *("uniform", "temperature", "annealed"),
        *("capped", "round-robin", "validation-loss"),
    ):
        yield "batches.mixing has no effect with a single source."
    used = {task.input for task in config.tasks.values()}
    adversary = config.trunk.chosen == "shared-private" and getattr(
        config.trunk, "adversarial", False
    )
    if adversary and len(used) == 1 and len(config.tasks) > 1:
        yield (
            "trunk.adversarial has no effect: all tasks read one input, and the adversary tells "
            "inputs apart. Set it to 0, or use another kind of trunk."
        )
    if is_set(config, "balancer") and not shares_anything(config):
        heads = getattr(config.balancer, "weight_heads", False)
        if config.balancer.chosen != "equal" and not heads:
            yield (
                "balancer has no effect: no part of the network that learns is shared by two "
                "tasks, and a balancer acts on shared parts."
            )


def shares_anything(config: Config) -> bool:
    """Whether any part of the network that learns serves two tasks."""
    still = getattr(config.training, "freeze", ())
    frozen = getattr(config.trunk, "freeze", False) or "trunk" in still
    if config.trunk.chosen not in ("independent", "soft") and not frozen:
        return len(config.tasks) > 1
    inputs = [task.input for task in config.tasks.values()]
    return len(set(inputs)) < len(inputs) and "encoders" not in still


def is_vector(feeds: InputSpec) -> bool:
    """Whether an input gives one vector per example before it is pooled."""
    tokens = feeds.body is not None and feeds.body.chosen == "transformer"
    return feeds.chosen == "table" and not tokens


def is_set(section: Section, setting: str) -> bool:
    """Whether a setting differs from its default."""
    field = type(section).model_fields[setting]
    return bool(getattr(section, setting) != field.default)


def specs(section: Section, path: str = "") -> Iterator[tuple[str, Spec]]:
    """All specs inside a section, with the keys that lead to them."""
    if isinstance(section, Spec):
        yield path.removeprefix("."), section
    for key in type(section).model_fields:
        value = getattr(section, key)
        if isinstance(value, dict):
            inner = [(f"{path}.{key}.{name}", item) for name, item in value.items()]
        elif isinstance(value, tuple):
            inner = [(f"{path}.{key}.{number}", item) for number, item in enumerate(value)]
        else:
            inner = [(f"{path}.{key}", value)]
        for at, item in inner:
            if isinstance(item, Section):
                yield from specs(item, at)

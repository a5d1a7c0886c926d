"""One YAML file to everything that a run is made of."""

from polytask.config.build import (
    build_augment,
    build_balancer,
    build_blend,
    build_inputs,
    build_mixing,
    build_model,
    build_optimizer,
    build_schedule,
    build_settings,
    build_sources,
    build_splits,
    build_tasks,
)
from polytask.config.idle import ConfigWarning
from polytask.config.load import dump_config, load_config
from polytask.config.schema import Config, json_schema

__all__ = [
    "Config",
    "ConfigWarning",
    "build_augment",
    "build_balancer",
    "build_blend",
    "build_inputs",
    "build_mixing",
    "build_model",
    "build_optimizer",
    "build_schedule",
    "build_settings",
    "build_sources",
    "build_splits",
    "build_tasks",
    "dump_config",
    "json_schema",
    "load_config",
]

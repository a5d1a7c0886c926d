"""Polytask: one model for many tasks, trained, judged and shipped.

In a loop of one's own:

    from polytask.balancing import MGDA, backward    # the losses of several tasks as one update
    from polytask.sharing import CrossStitch         # ways to share a network, as plain modules
    from polytask.backbones import SequentialBackbone    # modules of one's own, for those
    from polytask.balancing import Conflict          # how tasks pull at what they share
    from polytask.distillation import soft_cross_entropy    # learning from other models
    from polytask.merging import ties                # several models as one
    from polytask.inspection import cka              # how alike two representations are

`BALANCERS` and `TRUNKS` of the first two have all methods by name. On the command line `polytask`
trains, judges and ships from one YAML file.

The package itself imports nothing: ``import polytask.balancing`` costs what ``import torch`` costs.
What `__all__` names is imported when it is first asked for.
"""

import importlib
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from polytask import (
        affinity,
        backbones,
        balancing,
        distillation,
        encoders,
        inspection,
        merging,
        sharing,
        tasks,
        types,
    )

__version__ = "0.1.0"

__all__ = [
    "affinity",
    "backbones",
    "balancing",
    "distillation",
    "encoders",
    "inspection",
    "merging",
    "sharing",
    "tasks",
    "types",
]


def __getattr__(name: str) -> ModuleType:
    if name in __all__:
        return importlib.import_module(f"polytask.{name}")
    raise AttributeError(
        f"module 'polytask' has no attribute '{name}'. Its parts are {', '.join(__all__)}."
    )


def __dir__() -> list[str]:
    return [*__all__, "__version__"]

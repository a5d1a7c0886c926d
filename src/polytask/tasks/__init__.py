"""Tasks: frozen descriptions of what to predict."""

from polytask.tasks.base import LabelError, PooledTask, Task
from polytask.tasks.classification import Binary, Multiclass
from polytask.tasks.multilabel import Multilabel
from polytask.tasks.regression import Regression
from polytask.tasks.tagging import Tagging

__all__ = [
    "Binary",
    "LabelError",
    "Multiclass",
    "Multilabel",
    "PooledTask",
    "Regression",
    "Tagging",
    "Task",
]

"""Tasks: frozen descriptions of what to predict."""

from polytask.tasks.base import LabelError, Task
from polytask.tasks.classification import Binary, Multiclass
from polytask.tasks.multilabel import Multilabel
from polytask.tasks.regression import Regression

__all__ = ["Binary", "LabelError", "Multiclass", "Multilabel", "Regression", "Task"]

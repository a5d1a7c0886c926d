"""Tasks: frozen descriptions of what to predict."""

from polytask.tasks.base import PooledTask, Task
from polytask.tasks.binary import Binary
from polytask.tasks.classification import Multiclass
from polytask.tasks.generation import Generation
from polytask.tasks.labels import LabelError
from polytask.tasks.multilabel import Multilabel
from polytask.tasks.ordinal import Ordinal
from polytask.tasks.probabilistic import Gaussian, Quantile
from polytask.tasks.recognition import Recognition
from polytask.tasks.reconstruction import Reconstruction
from polytask.tasks.regression import Regression
from polytask.tasks.segmentation import Edges, Segmentation
from polytask.tasks.similarity import Similarity
from polytask.tasks.surfaces import DenseRegression, Normals
from polytask.tasks.synthesis import Synthesis
from polytask.tasks.tagging import Tagging

__all__ = [
    "Binary",
    "DenseRegression",
    "Edges",
    "Gaussian",
    "Generation",
    "LabelError",
    "Multiclass",
    "Multilabel",
    "Normals",
    "Ordinal",
    "PooledTask",
    "Quantile",
    "Recognition",
    "Reconstruction",
    "Regression",
    "Segmentation",
    "Similarity",
    "Synthesis",
    "Tagging",
    "Task",
]

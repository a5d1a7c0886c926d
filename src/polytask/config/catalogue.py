"""Every name that a configuration can give as a `kind`, and the class behind it."""

from typing import Any

from polytask.backbones import (
    NgramBackbone,
    PerceptronBackbone,
    PretrainedBackbone,
    PretrainedPictures,
    RecurrentBackbone,
    ResidualBackbone,
    TransformerBackbone,
    UNetBackbone,
)
from polytask.backbones.base import Backbone
from polytask.balancing import BALANCERS
from polytask.data.arff import ArffFile
from polytask.data.arrays import ArrayFile
from polytask.data.blending import Blending, CutMix, MixUp
from polytask.data.camvid import CamVid
from polytask.data.class_folders import ClassFolders
from polytask.data.conll import Columns, UniversalDependencies
from polytask.data.inputs import ImageInput, Input, SoundInput
from polytask.data.mapped_pictures import MappedPictures
from polytask.data.mixing import (
    Annealed,
    Capped,
    Counts,
    Mixing,
    Proportional,
    RoundRobin,
    Temperature,
    Uniform,
)
from polytask.data.overlaid import Overlaid
from polytask.data.random_augment import RandAugment
from polytask.data.recoloring import Blur, Contrast, Grey, Hue, PixelNoise, Saturation
from polytask.data.resampling import Over, Resampling, Tomek, Under
from polytask.data.sentences import Chunks, EnglishWeb, Lines, Questions, Sentences
from polytask.data.shapes import Shapes
from polytask.data.sound_transforms import Gain, Noise, RandomShift, Speed
from polytask.data.sources import Source
from polytask.data.speech import SpokenDigits
from polytask.data.steering import ValidationLoss
from polytask.data.table_cleaning import (
    ByModel,
    Components,
    DropRows,
    Fill,
    Forest,
    IterativeFill,
    LocalDensity,
    Missing,
    NearestFill,
    Outliers,
    RobustZ,
    Selection,
    Univariate,
    Variance,
)
from polytask.data.tables import TableFile
from polytask.data.tabular import TableInput
from polytask.data.tabular_sets import Adult, Landmine, School, Tox21
from polytask.data.text import TextInput
from polytask.data.timit import Timit
from polytask.data.transforms import (
    Brightness,
    Cutout,
    HorizontalFlip,
    RandomCrop,
    Shrink,
    Transform,
)
from polytask.data.turning import QuarterTurns
from polytask.data.vision import Cifar10
from polytask.data.warping import Affine
from polytask.encoders import (
    EmbeddingEncoder,
    Encoder,
    LogMelEncoder,
    MFCCEncoder,
    PixelEncoder,
    PretrainedWords,
    VectorEncoder,
    WaveEncoder,
)
from polytask.sharing import TRUNKS
from polytask.tasks import (
    Binary,
    DenseRegression,
    Edges,
    Gaussian,
    Generation,
    Multiclass,
    Multilabel,
    Normals,
    Ordinal,
    Quantile,
    Recognition,
    Reconstruction,
    Regression,
    Segmentation,
    Similarity,
    Synthesis,
    Tagging,
    Task,
)
from polytask.training.loggers import LOGGERS
from polytask.training.optim import OPTIMIZERS, SCHEDULES

__all__ = [
    "BACKBONES",
    "BALANCERS",
    "BLENDINGS",
    "BODIES",
    "ENCODERS",
    "INPUTS",
    "LOGGERS",
    "MISSING",
    "MIXINGS",
    "NEEDS",
    "OPTIMIZERS",
    "OUTLIERS",
    "PER_TASK",
    "RESAMPLINGS",
    "SCHEDULES",
    "SELECTIONS",
    "SHAPES",
    "SOURCES",
    "TASKS",
    "TASK_FACTS",
    "TASK_NAMES",
    "TRANSFORMS",
    "TRUNKS",
]

SOURCES: dict[str, type[Source]] = {
    "shapes": Shapes,
    "cifar10": Cifar10,
    "fsdd": SpokenDigits,
    "timit": Timit,
    "camvid": CamVid,
    "table": TableFile,
    "lines": Lines,
    "columns": Columns,
    "conllu": UniversalDependencies,
    "sentences": Sentences,
    "questions": Questions,
    "conll2000": Chunks,
    "ewt": EnglishWeb,
    "npz": ArrayFile,
    "overlaid": Overlaid,
    "quarter-turns": QuarterTurns,
    "folders": ClassFolders,
    "maps": MappedPictures,
    "arff": ArffFile,
    "tox21": Tox21,
    "school": School,
    "landmine": Landmine,
    "adult": Adult,
}
INPUTS: dict[str, type[Input]] = {
    "image": ImageInput,
    "sound": SoundInput,
    "table": TableInput,
    "text": TextInput,
}
# By the kind of input.
ENCODERS: dict[str, dict[str, type[Encoder]]] = {
    "image": {"pixels": PixelEncoder},
    "sound": {"logmel": LogMelEncoder, "mfcc": MFCCEncoder, "wave": WaveEncoder},
    "table": {"vector": VectorEncoder},
    "text": {"embedding": EmbeddingEncoder, "pretrained": PretrainedWords},
}
TRANSFORMS: dict[str, dict[str, type[Transform]]] = {
    "image": {
        "crop": RandomCrop,
        "flip": HorizontalFlip,
        "cutout": Cutout,
        "brightness": Brightness,
        "contrast": Contrast,
        "saturation": Saturation,
        "hue": Hue,
        "grey": Grey,
        "blur": Blur,
        "noise": PixelNoise,
        "affine": Affine,
        "rand-augment": RandAugment,
        "shrink": Shrink,
    },
    "sound": {"shift": RandomShift, "gain": Gain, "noise": Noise, "speed": Speed},
    "table": {},
    "text": {},
}
BLENDINGS: dict[str, dict[str, type[Blending]]] = {
    "image": {"mixup": MixUp, "cutmix": CutMix},
    "sound": {"mixup": MixUp},
    "table": {},
    "text": {},
}
# How the numbers of a table are cleaned.
MISSING: dict[str, type[Missing]] = {
    "fill": Fill,
    "knn": NearestFill,
    "iterative": IterativeFill,
    "drop": DropRows,
}
OUTLIERS: dict[str, type[Outliers]] = {
    "robust-z": RobustZ,
    "isolation-forest": Forest,
    "local-outlier-factor": LocalDensity,
}
SELECTIONS: dict[str, type[Selection]] = {
    "pca": Components,
    "univariate": Univariate,
    "model": ByModel,
    "variance": Variance,
}
BACKBONES: dict[str, type[Backbone]] = {
    "ngrams": NgramBackbone,
    "perceptron": PerceptronBackbone,
    "pretrained": PretrainedBackbone,
    "pretrained-pictures": PretrainedPictures,
    "recurrent": RecurrentBackbone,
    "residual": ResidualBackbone,
    "transformer": TransformerBackbone,
    "unet": UNetBackbone,
}
# What an encoder gives by the kind of input, and which backbones can take it.
SHAPES: dict[str, str] = {
    "image": "map",
    "sound": "sequence",
    "table": "vector",
    "text": "sequence",
}
BODIES: dict[str, tuple[str, ...]] = {
    "map": ("residual", "unet", "pretrained-pictures"),
    "sequence": ("recurrent", "perceptron", "transformer", "pretrained", "ngrams"),
    "vector": ("perceptron", "transformer"),
}
TASKS: dict[str, type[Task]] = {
    "multiclass": Multiclass,
    "binary": Binary,
    "multilabel": Multilabel,
    "regression": Regression,
    "tagging": Tagging,
    "ordinal": Ordinal,
    "quantile": Quantile,
    "gaussian": Gaussian,
    "ctc": Recognition,
    "generation": Generation,
    "synthesis": Synthesis,
    "similarity": Similarity,
    "segmentation": Segmentation,
    "edges": Edges,
    "dense_regression": DenseRegression,
    "normals": Normals,
    "reconstruction": Reconstruction,
}
# What the features of a task must be, where not every kind will do.
NEEDS: dict[str, str] = {
    "tagging": "sequence",
    "ctc": "sequence",
    "segmentation": "map",
    "edges": "map",
    "dense_regression": "map",
    "normals": "map",
    "reconstruction": "map",
}
# Fields of a task that no file states: its key is its name, and training rows give the others.
TASK_FACTS = (
    "name",
    "counts",
    "above",
    "known",
    "thresholds",
    "mean",
    "std",
    "levels",
    "size",
    "shape",
    "pace",
)
_Task = int | str
# Settings of balancers that are tasks by number, and in a file by name too: their type there, and
# what they are where none of the named tasks is left.
TASK_NAMES: dict[str, dict[str, tuple[Any, Any]]] = {
    "uw": {"classification": (tuple[_Task, ...], [])},
    "auto-lambda": {"primary": (tuple[_Task, ...] | None, None)},
    "metabalance": {"primary": (_Task | None, None)},
}
# Settings of balancers that are one number per task, or null.
PER_TASK = ("weights", "min_losses", "preference", "ideal")
# How often training rows are drawn, by the classes of a task.
RESAMPLINGS: dict[str, type[Resampling]] = {"over": Over, "under": Under, "tomek": Tomek}
MIXINGS: dict[str, type[Mixing]] = {
    "proportional": Proportional,
    "uniform": Uniform,
    "temperature": Temperature,
    "annealed": Annealed,
    "capped": Capped,
    "round-robin": RoundRobin,
    "validation-loss": ValidationLoss,
    "counts": Counts,
}

"""Train, evaluate and predict, each as one call over a run."""

from polytask.workflow.judging import (
    EVALUATION_BATCH,
    answering_model,
    as_in_training,
    best_model,
    evaluate_run,
    evaluation_batch,
    fitting_weights,
    for_judging,
    predict_run,
    score,
    validator,
)
from polytask.workflow.opening import SAMPLE, Part, make_stream, prepare_data, reopen_data, sample
from polytask.workflow.training import make_trainer, train
from polytask.workflow.watching import Silent, Watcher

__all__ = [
    "EVALUATION_BATCH",
    "SAMPLE",
    "Part",
    "Silent",
    "Watcher",
    "answering_model",
    "as_in_training",
    "best_model",
    "evaluate_run",
    "evaluation_batch",
    "fitting_weights",
    "for_judging",
    "make_stream",
    "make_trainer",
    "predict_run",
    "prepare_data",
    "reopen_data",
    "sample",
    "score",
    "train",
    "validator",
]

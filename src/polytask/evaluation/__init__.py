"""Judging a model."""

from polytask.evaluation.evaluate import evaluate

__all__ = ["evaluate"]

"""Learning from other models: their predictions or features, which a student learns to match.

    soft = soft_cross_entropy(student(x), teacher(x).detach(), temperature=2.0)  # [B]
    loss = loss + soft.mean()

These losses need nothing else. `Teaching` is for models of this library and their batches.
"""

from polytask.distillation.agreement import (
    SOFT_LOSSES,
    SoftLoss,
    as_label,
    feature_distance,
    filled,
    in_terms_of,
    soft_binary,
    soft_cross_entropy,
    squared,
)
from polytask.distillation.teachers import Lesson, Lessons, Teacher, Teaching

__all__ = [
    "SOFT_LOSSES",
    "Lesson",
    "Lessons",
    "SoftLoss",
    "Teacher",
    "Teaching",
    "as_label",
    "feature_distance",
    "filled",
    "in_terms_of",
    "soft_binary",
    "soft_cross_entropy",
    "squared",
]

"""Many trainings that belong together: run, stopped and taken up again, side by side."""

from polytask.study.runs import Job, Outcome, outcome_of, work

__all__ = ["Job", "Outcome", "outcome_of", "work"]

"""What a comparison found, in sentences."""

import math
from collections.abc import Sequence

from polytask.evaluation.intervals import Difference
from polytask.study.judge import Row, TaskResult, Verdicts


def headline(found: Verdicts) -> str:
    """Whom sharing helps, whom it hurts, and of whom nothing can be told: one sentence."""
    if found.chosen is None:
        return "Nothing can be said yet: no way to share has finished."
    results = list(found.chosen.tasks.values())
    helps = [r.task for r in results if r.verdict == "helps"]
    hurts = [r.task for r in results if r.verdict == "hurts"]
    unclear = [r for r in results if r.verdict == "cannot tell"]
    parts = []
    if helps:
        parts.append(f"share {listed(helps)}")
    if hurts:
        parts.append(f"keep {listed(hurts)} apart")
    if unclear:
        parts.append(f"cannot tell for {listed([r.task for r in unclear])}")
    return capital("; ".join(parts)) + "."


def reasons(found: Verdicts) -> list[str]:
    """A sentence for each task of the chosen way to share."""
    if found.chosen is None:
        return []
    return [reason(result) for result in found.chosen.tasks.values()]


def reason(result: TaskResult) -> str:
    """What was measured of a task, and what would settle it."""
    if result.difference is None:
        return f"{result.task}: no seed finished both in the shared model and alone."
    word = {
        "helps": "sharing helps",
        "hurts": "sharing hurts",
        "cannot tell": "cannot tell",
    }[result.verdict]
    return (
        f"{result.task}: {word}. {number(result.score)} shared, {number(result.base)} alone; "
        f"the difference is {interval(result.difference)}.{more(result)}"
    )


def more(result: TaskResult) -> str:
    """How many seeds would settle what cannot be told."""
    d = result.difference
    if result.verdict != "cannot tell" or d is None:
        return ""
    if d.spread.seed_count < 2:
        return " One seed says nothing of what another would have given: take three or more."
    if result.wanted is None:
        return " With two seeds nobody can say how many it would take: take three or more."
    if result.wanted == "examples":
        return (
            " No number of seeds would settle a difference this small: the test part is too small."
        )
    if result.wanted == "more":
        return " If it is real, it is too small for 30 seeds to show."
    extra = result.wanted - d.spread.seed_count
    return f" If it is real, about {extra} more seed{'s' if extra > 1 else ''} would show it."


def chosen_sentence(found: Verdicts) -> str:
    """Which way to share is spoken of."""
    if found.chosen is None:
        return ""
    row = found.chosen
    gain = "" if row.gain is None else f" Mean gain over every task alone: {interval(row.gain)}."
    return (
        f"Chosen on validation rows, before the test part was opened: {row.candidate.name} "
        f"({plural(len(row.seeds), 'seed')}).{gain}"
    )


def balancing_sentence(found: Verdicts) -> str:
    """Whether adaptive balancing was worth it."""
    if found.balancing is None:
        return ""
    ours, theirs, d = found.balancing
    start = (
        f"Adaptive balancing ({ours.candidate.name}) against fixed weights "
        f"({theirs.candidate.name}), each the best of its sort on validation rows: "
    )
    if d is None:
        return start + "no seed finished both."
    said = "cannot tell which is better"
    if d.p <= 0.05:
        said = "adaptive is better" if d.mean > 0 else "fixed weights are better"
    return start + f"{said}; the mean gain differs by {interval(d)}."


def interval(d: Difference) -> str:
    """A difference with its interval."""
    if math.isinf(d.high):
        return f"{signed(d.mean)} (nothing is known of how it varies)"
    return f"{signed(d.mean)} (95 %: {signed(d.low)} to {signed(d.high)})"


def signed(value: float) -> str:
    """A number with its sign."""
    return f"{value:+.4f}".replace("-", "−")


def number(value: float) -> str:
    """A score."""
    return "–" if math.isnan(value) else f"{value:.4f}"


def listed(names: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def plural(count: int, noun: str) -> str:
    """`1 seed`, `2 seeds`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def capital(text: str) -> str:
    """A sentence's beginning."""
    return text[:1].upper() + text[1:]


def duration(seconds: float) -> str:
    """Seconds as people say them."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def helped(row: Row) -> str:
    """The verdicts of a candidate's tasks in few words."""
    groups: dict[str, list[str]] = {}
    for result in row.tasks.values():
        groups.setdefault(result.verdict, []).append(result.task)
    order = ("helps", "hurts", "cannot tell")
    return "; ".join(f"{word}: {', '.join(groups[word])}" for word in order if word in groups)

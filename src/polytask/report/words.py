"""What a comparison found, in sentences."""

import math
from collections.abc import Iterable, Sequence

from polytask.evaluation.intervals import LEVEL, MOST_SEEDS, Difference, error_of
from polytask.evaluation.ranking import slope
from polytask.study.judge import Row, TaskResult, Verdicts

# The space before a sign of percent, at which no line is broken.
NARROW = "\u202f"
# More names than this are not all written out.
MANY = 8
# What the single-task networks are called where they stand beside ways to share.
ALONE = "every task alone"
# So many standard errors of a difference should be less than the score, or shares of it are chance.
STEADY = 4


def headline(found: Verdicts) -> str:
    """Whom sharing helps, whom it hurts, and of whom nothing can be told: one sentence."""
    if found.left:
        return f"Nothing can be said yet: {found.left}."
    if found.chosen is None:
        return "Nothing can be said: no way to share all tasks finished beside every task alone."
    results = telling(found.chosen.tasks.values())
    helps, hurts, unclear = (
        [r.task for r in results if r.verdict == verdict]
        for verdict in ("helps", "hurts", "cannot tell")
    )
    parts = []
    many = len(unclear) > MANY
    if helps:
        parts.append(f"share {listed(helps)}")
    if hurts:
        parts.append(f"keep {listed(hurts)} apart")
    if unclear and parts:
        whom = plural(len(unclear), "other") if many else listed(unclear)
        parts.append(f"cannot tell for {whom}")
    elif unclear:
        whom = f"any of the {len(unclear)} tasks" if many else listed(unclear, "or")
        parts.append(f"cannot tell whether sharing helps {whom}")
    if unclear and len(results) > 1 and (whole := on_the_whole(found)):
        parts.append(whole)
    return capital("; ".join(parts)) + "."


def on_the_whole(found: Verdicts) -> str:
    """What can be said of all tasks together where one by one leaves it open; may be nothing."""
    gain = None if found.chosen is None else found.chosen.gain
    if gain is None or gain.p > error_of(LEVEL, found.looks):
        return ""
    return f"on the whole sharing {'helps' if gain.mean > 0 else 'hurts'}"


def reasons(found: Verdicts, most: int = 6) -> list[str]:
    """A sentence for each task of the chosen way to share, first those of which something can be
    said.

    Args:
        found: What was found.
        most: Tasks of which there is a sentence; the others are counted.
    """
    if found.chosen is None or found.left:
        return []
    results = telling(found.chosen.tasks.values())
    said = sum(result.difference is not None for result in results)
    told = [reason(result, said, found.looks) for result in results[:most]]
    left = len(results) - most
    return told if left <= 0 else [*told, f"And {plural(left, 'task')} more: see the table."]


def telling(results: Iterable[TaskResult]) -> list[TaskResult]:
    """Results in the order in which they tell: verdicts first, then the least likely chances."""

    def key(result: TaskResult) -> tuple[bool, float]:
        d = result.difference
        return result.verdict == "cannot tell", 2.0 if d is None else d.p

    return sorted(results, key=key)


def reason(result: TaskResult, said: int = 1, looks: int = 1) -> str:
    """What was measured of a task, and what would settle it.

    Args:
        result: What was measured.
        said: Of how many tasks something is said at once.
        looks: Which look at the test part it is, counted from 1.
    """
    if result.difference is None:
        return f"{result.task}: no seed finished both in the shared model and alone."
    word = {
        "helps": "sharing helps",
        "hurts": "sharing hurts",
        "cannot tell": "cannot tell",
    }[result.verdict]
    turned = "" if result.higher_is_better else ", turned round because less is better,"
    return (
        f"{result.task}: {word}. Its {result.metric} is {number(result.score)} shared and "
        f"{number(result.base)} alone; the difference{turned} is {interval(result.difference)}."
        f"{strayed(result, said, looks)}{more(result)}"
    )


def strayed(result: TaskResult, said: int, looks: int) -> str:
    """Why nothing is told although the interval keeps clear of 0."""
    d = result.difference
    if d is None or result.verdict != "cannot tell" or d.low <= 0 <= d.high:
        return ""
    why = [f"{said} tasks"] * (said > 1) + [f"{looks} looks"] * (looks > 1)
    if not why:
        return ""
    return f" By itself that would be clear; among {' and '.join(why)} one may do so by chance."


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
        return f" If it is real, more than {MOST_SEEDS} seeds would show it, or more test rows."
    extra = result.wanted - d.spread.seed_count
    return f" If it is real, about {extra} more seed{'s' if extra > 1 else ''} would show it."


def chosen_sentence(found: Verdicts) -> str:
    """Which way to share is spoken of, and what it is worth to all tasks."""
    if found.chosen is None:
        return ""
    if found.left:
        return ""
    row = found.chosen
    ways = sum(r.validation is not None for r in found.rows)
    best = "" if ways < 2 else f", of {ways} ways the best on validation rows"
    gain = ""
    if row.gain is not None:
        gain = f" Its mean gain over training every task alone is {percent(row.gain)}."
        gain += unsteady(row)
    return (
        f"This is about {row.candidate.name} ({plural(len(row.seeds), 'seed')}){best}; the test "
        f"part was opened after that choice.{again(found.looks)}{gain}"
    )


def again(looks: int) -> str:
    """That seeds were added after a look."""
    if looks < 2:
        return ""
    times = "once" if looks == 2 else f"{looks - 1} times"
    return f" Seeds were added {times} after a look at it, so a verdict takes more than before."


def unsteady(row: Row) -> str:
    """Of which tasks the gain in percent says little: their score alone is small for its spread."""
    names = [
        r.task
        for r in row.tasks.values()
        if (d := r.difference) is not None
        and STEADY * math.hypot(d.spread.seeds, d.spread.examples) * steepness(r) > 1
    ]
    if not names or len(row.tasks) < 2:
        return ""
    return (
        f" That counts {listed(names)}, whose score alone is small beside how it varies, so that "
        "its share is mostly chance: look at the differences."
    )


def steepness(result: TaskResult) -> float:
    """How much a difference counts in percent."""
    return slope(result.base, higher_is_better=result.higher_is_better)


def others_sentence(found: Verdicts, most: int = 3) -> str:
    """Other ways to share that help or hurt a task; those that do the same are told together.

    Args:
        found: What was found.
        most: Names of ways that are written out where there are more.
    """
    if found.chosen is None or found.left:
        return ""
    same: dict[str, list[str]] = {}
    for row in found.rows:
        said = [
            f"{word} {listed(names)}"
            for word in ("help", "hurt")
            if (names := [r.task for r in row.tasks.values() if r.verdict == f"{word}s"])
        ]
        if said and row is not found.chosen:
            same.setdefault(" and ".join(said), []).append(row.candidate.name)
    told = []
    for what, names in same.items():
        if len(names) == 1:
            told.append(f"{names[0]} would {what}")
        else:
            some = f"{', '.join(names[:most])}{', ...' if len(names) > most else ''}"
            told.append(f"{len(names)} would {what} ({some})")
    return f"Of the other ways to share, {'; '.join(told)}." if told else ""


def balancing_sentence(found: Verdicts) -> str:
    """Whether adaptive balancing was worth it."""
    if found.balancing is None or found.left:
        return ""
    ours, theirs, d = found.balancing
    start = (
        f"Adaptive balancing ({ours.candidate.name}) against fixed weights "
        f"({theirs.candidate.name}), each the best of its sort on validation rows: "
    )
    if d is None:
        return start + "no seed finished both."
    said = "cannot tell which is better"
    if d.p <= error_of(LEVEL, found.looks):
        said = "adaptive is better" if d.mean > 0 else "fixed weights are better"
    return start + f"{said}; the mean gain differs by {interval(d)}."


def interval(d: Difference) -> str:
    """A difference with its interval."""
    if math.isinf(d.high):
        return f"{signed(d.mean)} (nothing is known of how it varies)"
    return f"{signed(d.mean)} (95{NARROW}%: {signed(d.low)} to {signed(d.high)})"


def percent(d: Difference) -> str:
    """A relative difference with its interval, in percent."""
    if math.isinf(d.high):
        return f"{in_percent(d.mean)} (one seed: no interval)"
    low = in_percent(d.low).removesuffix(f"{NARROW}%")
    return f"{in_percent(d.mean)} (95{NARROW}%: {low} to {in_percent(d.high)})"


def in_percent(value: float) -> str:
    """A share in percent, with its sign."""
    return f"{100 * value:+.1f}{NARROW}%".replace("-", "−")


def signed(value: float) -> str:
    """A number with its sign."""
    return f"{value:+.4f}".replace("-", "−")


def number(value: float) -> str:
    """A score; what is far from one in its unit keeps its first digits."""
    usual = value == 0 or 1e-4 <= abs(value) < 1e7
    return "–" if math.isnan(value) else f"{value:.4{'f' if usual else 'g'}}".replace("-", "−")


def listed(names: Sequence[str], last: str = "and", most: int = MANY) -> str:
    """`a`, `a and b`, `a, b and c`, `a, b and 3 more`.

    Args:
        names: At least one.
        last: The word before the last one.
        most: Names that are written out where there are more.
    """
    if len(names) > most:
        names = [*names[: most - 1], f"{len(names) - most + 1} more"]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} {last} {names[-1]}"


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
    """The verdicts of a candidate's tasks in few words; of many that leave it open, how many."""
    groups: dict[str, list[str]] = {}
    for result in row.tasks.values():
        groups.setdefault(result.verdict, []).append(result.task)
    order = ("helps", "hurts", "cannot tell")
    many = len(groups.get(order[-1], ())) > MANY
    named = {
        w: f"{len(g)} tasks" if w == order[-1] and many else listed(g) for w, g in groups.items()
    }
    return "; ".join(f"{word}: {named[word]}" for word in order if word in named)

"""Sentences about a comparison: what can be said is said first, and nothing else."""

from dataclasses import replace
from typing import cast

from polytask.evaluation.intervals import Difference, Spread, Verdict
from polytask.report.study_figures import _neighbours, _reach
from polytask.report.words import (
    chosen_sentence,
    headline,
    helped,
    listed,
    others_sentence,
    percent,
    reasons,
)
from polytask.study.judge import Row, TaskResult, Verdicts
from polytask.study.plan import Candidate
from polytask.study_terminal import seeds_to_add

SPREAD = Spread(0.01, 3, 0.01, 100)
# The mean gain of every `row` below is clear.
HURTS = "on the whole sharing hurts."


def row(name: str, **said: str) -> Row:
    """A candidate with a verdict for each task."""
    d = Difference(-0.05, -0.07, -0.03, 0.01, 0.001, SPREAD)
    results = {
        task: TaskResult(task, "accuracy", True, 0.85, 0.9, d, cast(Verdict, verdict), None)
        for task, verdict in said.items()
    }
    candidate = Candidate(name, "shared", tuple(said))
    return Row(candidate, results, d, 0.1, 1.0, 10, 0.1, (0, 1, 2), {})


def found(*rows: Row) -> Verdicts:
    return Verdicts(rows, rows[0], None)


def test_the_headline_says_whom_to_share_and_whom_to_keep_apart() -> None:
    mixed = row("m", a="helps", b="hurts", c="cannot tell", d="helps")
    assert headline(found(mixed)) == "Share a and d; keep b apart; cannot tell for c; " + HURTS
    unclear = row("u", a="cannot tell", b="cannot tell")
    assert headline(found(unclear)) == "Cannot tell whether sharing helps a or b; " + HURTS
    assert headline(Verdicts((), None, None)).startswith("Nothing can be said: no way")
    tasks = [f"t{n}" for n in range(40)]
    every = row("m", **dict.fromkeys(tasks, "cannot tell"))
    said = "Cannot tell whether sharing helps any of the 40 tasks"
    assert headline(found(every)) == f"{said}; {HURTS}"
    most = row("m", best="helps", **dict.fromkeys(tasks, "cannot tell"))
    assert headline(found(most)) == "Share best; cannot tell for 40 others; " + HURTS


def test_all_tasks_together_are_spoken_of_where_that_is_clear_and_single_ones_are_not() -> None:
    unclear = row("u", a="cannot tell", b="cannot tell")
    assert unclear.gain is not None
    better = replace(unclear, gain=replace(unclear.gain, mean=0.05, low=0.03, high=0.07))
    assert headline(found(better)).endswith("a or b; on the whole sharing helps.")
    chance = replace(unclear, gain=replace(unclear.gain, p=0.2))
    assert headline(found(chance)) == headline(found(replace(unclear, gain=None)))
    assert headline(found(chance)) == "Cannot tell whether sharing helps a or b."
    again = replace(unclear, gain=replace(unclear.gain, p=0.04))
    assert headline(found(again)).endswith(HURTS)
    assert HURTS not in headline(replace(found(again), looks=2))  # each look has half the level
    assert headline(found(row("m", a="hurts", b="hurts"))) == "Keep a and b apart."
    assert headline(found(row("m", a="cannot tell"))) == "Cannot tell whether sharing helps a."


def test_many_tasks_that_leave_it_open_are_counted() -> None:
    many = {f"t{n}": "cannot tell" for n in range(9)}
    assert helped(row("m", best="helps", **many)) == "helps: best; cannot tell: 9 tasks"
    assert helped(row("m", a="cannot tell", b="hurts")) == "hurts: b; cannot tell: a"


def test_nothing_is_told_of_a_study_that_is_under_way() -> None:
    half = replace(found(row("m", a="helps"), row("n", a="hurts")), left="3 of 9 runs have scores")
    assert headline(half) == "Nothing can be said yet: 3 of 9 runs have scores."
    assert (chosen_sentence(half), reasons(half), others_sentence(half)) == ("", [], "")


def test_an_interval_without_0_that_is_no_verdict_says_why() -> None:
    several = row("m", a="cannot tell", b="cannot tell", c="cannot tell")
    assert "clear; among 3 tasks one may do so by chance." in reasons(found(several))[0]
    assert "by chance" not in reasons(found(row("m", a="cannot tell")))[0]
    again = replace(found(row("m", a="cannot tell")), looks=2)
    assert "clear; among 2 looks one may do so by chance." in reasons(again)[0]
    assert "Seeds were added once after a look at it" in chosen_sentence(again)
    wide = replace(several.tasks["a"].difference, low=-0.2, high=0.1)
    crossing = replace(several, tasks={"a": replace(several.tasks["a"], difference=wide)})
    assert "by chance" not in reasons(found(crossing))[0]


def test_tasks_that_make_a_mean_gain_chance_are_named() -> None:
    both = row("m", a="cannot tell", luck="cannot tell")
    assert "counts" not in chosen_sentence(found(both))
    wide = replace(both.tasks["luck"].difference, spread=Spread(0.04, 3, 0.01, 100))
    near = replace(both.tasks["luck"], base=-0.02, difference=wide)
    said = chosen_sentence(found(replace(both, tasks={**both.tasks, "luck": near})))
    assert "That counts luck, whose score alone is small beside" in said


def test_tasks_of_which_something_is_known_come_first_and_the_rest_is_counted() -> None:
    many = row("m", **{f"t{n}": "cannot tell" for n in range(8)}, last="hurts")
    told = reasons(found(many), most=3)
    assert told[0].startswith("last: sharing hurts. Its accuracy is 0.8500 shared and 0.9000 alone")
    assert len(told) == 4 and told[-1] == "And 6 tasks more: see the table."
    error = replace(many.tasks["last"], metric="mae", higher_is_better=False)
    turned = replace(many, tasks={"last": error})
    assert "turned round because less is better" in reasons(found(turned))[0]


def test_other_ways_that_say_the_same_are_told_together() -> None:
    chosen = row("best", a="cannot tell")
    others = [row(f"way {n}", a="hurts", b="hurts") for n in range(4)]
    assert others_sentence(
        found(chosen, *others, row("x", a="helps"), row("y", a="cannot tell"))
    ) == (
        "Of the other ways to share, 4 would hurt a and b (way 0, way 1, way 2, ...); "
        "x would help a."
    )
    assert others_sentence(found(chosen)) == ""


def test_gains_are_told_in_percent_with_their_interval() -> None:
    d = Difference(-0.0446, -0.0573, 0.0318, 0.01, 0.001, SPREAD)
    assert percent(d).replace("\u202f", " ") == "−4.5 % (95 %: −5.7 to +3.2 %)"
    one = replace(d, low=float("-inf"), high=float("inf"))
    assert "no interval" in percent(one)
    assert "of 2 ways the best" in chosen_sentence(found(row("a", t="hurts"), row("b", t="hurts")))


def test_long_lists_are_cut() -> None:
    assert listed(["a"]) == "a" and listed(["a", "b"], "or") == "a or b"
    assert listed([str(n) for n in range(20)], most=3) == "0, 1 and 18 more"


def test_the_axis_is_as_wide_as_usual_intervals() -> None:
    """A mean near 0 had made an axis on which its own interval could not be seen."""

    def of(mean: float, width: float) -> Difference:
        return Difference(mean, mean - width, mean + width, 0.5, 1.0, SPREAD)

    assert _reach([of(0.001, 0.25)]) > 0.25
    assert 0.2 < _reach([of(0.001, 0.1), of(0.002, 0.12), of(0.0, 9.0)]) < 0.3
    unknown = Difference(0.1, float("-inf"), float("inf"), 0.5, 1.0, SPREAD)
    assert 0.1 < _reach([unknown]) < 0.2


def test_numbers_that_would_cover_each_other_are_written_together() -> None:
    points = [(1, 0.0, 0.0), (2, 0.5, 0.5), (3, 0.05, 0.01), (4, 0.1, 0.0), (5, 0.5, 0.9)]
    groups = _neighbours(points, (0.0, 1.0), (0.0, 1.0))
    assert sorted([number for number, *_ in group] for group in groups) == [[1, 3, 4], [2], [5]]


def test_so_many_seeds_are_advised_as_would_tell_all_that_seeds_may() -> None:
    one = row("m", a="cannot tell", b="cannot tell", c="helps", d="cannot tell")
    wanted = {"a": 7, "b": "examples", "c": None, "d": 9}
    tasks = {name: replace(one.tasks[name], wanted=wanted[name]) for name in wanted}  # type: ignore[arg-type]
    assert seeds_to_add(replace(one, tasks=tasks)) == 9 - 3
    assert seeds_to_add(replace(one, tasks={"c": tasks["c"], "b": tasks["b"]})) == 0
    two = replace(tasks["a"].difference, spread=Spread(0.01, 2, 0.01, 100))
    unknown = replace(tasks["a"], wanted=None, difference=two)
    assert seeds_to_add(replace(one, tasks={"a": unknown})) == 1

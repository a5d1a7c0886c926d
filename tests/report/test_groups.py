"""What `group` says: what to train, in one sentence, and gains of scores in percent."""

from typing import Any

from polytask.report.groups import verdict


def found(*groups: list[str], gain: float = 0.021) -> dict[str, Any]:
    """Groups that were found, and tried beside all together and each alone."""
    tasks = [task for members in groups for task in members]
    tried = [
        {"groups": list(groups), "validation_gain": gain, "chosen": True},
        {"groups": [tasks], "validation_gain": -0.1, "chosen": False},
        {"groups": [[task] for task in tasks], "validation_gain": 0.0, "chosen": False},
    ]
    return {
        "tasks": tasks,
        "groups": [{"trains": members, "serves": members} for members in groups],
        "tried": tried,
        "measure": "cka",
        "unit": "likeness",
        "exact": True,
        "mean_gain": {"groups": 0.9, "together": 0.8, "apart": 0.0},
        "cost": {"examples": 9600, "trainings": 3, "epochs": 1},
    }


def test_it_says_what_to_train() -> None:
    assert verdict(found(["a", "b"], ["c"])).startswith("Train 2 models: a + b; c.\n")
    assert verdict(found(["a"], ["b"], ["c"])).startswith("Train each of the 3 tasks alone.\n")
    assert verdict(found(["a", "b", "c"])).startswith("Train one model of all 3 tasks.\n")
    many = [[f"a long name of a task {n}.{k}" for k in range(2 + n % 2)] for n in range(20)]
    assert verdict(found(*many)).startswith("Train 20 models, of 2 to 3 tasks each: see the table")


def test_gains_of_scores_are_percent_and_what_was_tried_is_counted() -> None:
    said = verdict(found(["a", "b"], ["c"])).replace("\u202f", " ")
    assert "a mean gain of +2.1 % over each alone" in said
    # The pair, and all three; tasks alone were trained for the measure.
    assert "Of 3 groupings" in said and "2 models of several tasks were trained" in said
    assert "3 trainings of 1 epoch, 9,600 training examples" in said


def test_tasks_alone_are_told_by_how_much_the_others_lose() -> None:
    alone = found(["a"], ["b"], gain=0.0)
    said = verdict(alone).replace("\u202f", " ")
    assert "the mean gain of the next best over it is +0.0 %" in said  # alone once more
    alone["tried"].pop()
    said = verdict(alone).replace("\u202f", " ")
    assert "the mean gain of the next best over it is −10.0 %" in said
    alone["tried"][1]["validation_gain"] = None
    assert "no other could be measured" in verdict(alone)

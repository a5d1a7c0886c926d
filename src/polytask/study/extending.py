"""More seeds for a study that is over: nothing is trained again, and verdicts ask for more.

Who adds seeds because nothing could be told, and looks again, gives chance another chance: with
three seeds and then eight, two models that are alike would be told apart in 9 % of studies instead
of 5 %, and in 14 % after four looks. So each further look has half the level of the one before
(`intervals.verdicts`), which leaves 8 % however often somebody looks.
"""

from copy import deepcopy

from polytask.errors import RunError
from polytask.study.crew import standing
from polytask.study.folder import RECORD, Study, write_json


def extended(study: Study, count: int) -> Study:
    """The study with more seeds; what it has trained, searched, frozen and chosen stays.

    Args:
        study: It is over.
        count: How many more seeds.

    Raises:
        RunError: If the study is not over, or nothing in it finished.
    """
    if not standing(study).over:
        raise RunError(
            f"'{study.path}' is not over yet. Let it come to its end first: polytask compare "
            f"--resume {study.path}"
        )
    if study.choose()["chosen"] is None:
        raise RunError(
            f"No way to share finished in '{study.path}', so more seeds would not tell more. Its "
            f"reasons: polytask report {study.path}"
        )
    seeds = list(study.compare.seeds)
    fresh = [max(seeds) + number for number in range(1, count + 1)]
    facts = deepcopy(dict(study.facts))
    # As many trials as it began with, so that the search has the same winner.
    wanted = {"seeds": seeds + fresh, "trials": study.plan.trial_count}
    facts["config"]["compare"] = {**(facts["config"].get("compare") or {}), **wanted}
    facts["added"] = [*study.added, fresh]
    write_json(study.path / RECORD, facts)
    return Study.open(study.path)

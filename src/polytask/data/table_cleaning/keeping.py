"""What scikit-learn fitted, as text that a run can keep and that runs no code when it is read."""

import base64
import functools
from typing import Any

from polytask.errors import RunError, require

# Types of scikit-learn and NumPy that skops leaves to us to trust; none runs code when it is made.
_TRUSTED = (
    "numpy.dtype",
    "sklearn.impute._iterative.IterativeImputer",
    "sklearn.impute._iterative._ImputerTriplet",
    "sklearn.metrics._dist_metrics.EuclideanDistance64",
    "sklearn.neighbors._kd_tree.KDTree",
    "sklearn.tree._tree.Tree",
)


def kept(fitted: Any) -> str:
    """A fitted estimator as text."""
    content: bytes = require("skops.io", "tables").dumps(fitted)
    return base64.b64encode(content).decode("ascii")


@functools.lru_cache(maxsize=16)
def opened(text: str) -> Any:
    """The estimator that `kept` wrote.

    Raises:
        RunError: If it holds a type that nobody vouches for.
    """
    skops = require("skops.io", "tables")
    content = base64.b64decode(text)
    strange = [t for t in skops.get_untrusted_types(data=content) if t not in _TRUSTED]
    if strange:
        raise RunError(
            "The run's facts.json holds types that were not written by this program: "
            f"{', '.join(strange)}. Bring it back from a copy, or train anew."
        )
    return skops.loads(content, trusted=list(_TRUSTED))

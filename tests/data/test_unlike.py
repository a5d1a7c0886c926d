"""Tables to predict that are unlike those of training as a whole."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from polytask.data.tables import TableFile
from polytask.data.tabular import TableInput
from polytask.data.unlike import unlike_training


def table(path: Path, **columns: list[object]) -> TableFile:
    pd.DataFrame(columns).to_csv(path, index=False)
    return TableFile(path=path)


@pytest.fixture
def fitted(tmp_path: Path) -> TableInput:
    rng = np.random.default_rng(0)
    height = rng.normal(1.7, 0.1, size=40).tolist()
    sex = ["m", "f"] * 20
    seen = table(tmp_path / "seen.csv", height=height, sex=sex).load()
    read = TableInput(columns={seen.name: ["height", "sex"]})
    read.load_state(read.fit([(seen, None, np.arange(40))]))
    return read


@pytest.mark.parametrize(
    ("height", "sex", "said"),
    [
        ([1.6, 1.8], ["f", "m"], []),
        ([1.6, 180.0], ["x", "m"], []),  # One strange cell among others.
        (
            [160.0, 180.0],
            ["f", "m"],
            ["'height' is far .* from 160 to 180: is it in the same unit"],
        ),
        (
            [1.6, 1.8],
            [1, 2],
            ["'sex' has none of the categories .*'[fm]', '[fm]'.* Found '1', '2'"],
        ),
        ([None, None], ["f", "m"], ["'height' is blank in all rows"]),
        ([170.0, None], [0, None], ["'height' is far", "'sex' has none"]),
    ],
)
def test_a_column_that_says_nothing_is_told(
    fitted: TableInput, height: list[object], sex: list[object], said: list[str], tmp_path: Path
) -> None:
    new = table(tmp_path / "new.csv", height=height, sex=sex).load()
    found = list(unlike_training(fitted, new, ["height", "sex"]))
    assert len(found) == len(said)
    for sentence, pattern in zip(found, said, strict=True):
        assert pd.Series([sentence]).str.contains(pattern).all(), sentence

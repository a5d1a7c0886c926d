"""Broken data that a draft or a profile is asked for: refused in words, as by a check."""

import io
from pathlib import Path

import pandas as pd
import pytest

from polytask.data.tables import TableFile
from polytask.errors import DataError
from polytask.survey.drafting import draft
from polytask.survey.profile import profile_data
from tests.data.broken import FOREIGN, put


def stored() -> bytes:
    """A table as Parquet."""
    buffer = io.BytesIO()
    pd.DataFrame({"x": range(60), "kind": ["cat", "dog"] * 30}).to_parquet(buffer)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "it is empty"),
        (b"PAR1", "it was cut off"),
        (stored()[:-300], "it was cut off"),
        (b"x,kind\n1,cat\n", "it does not begin as Parquet does. If it is text"),
    ],
)
def test_parquet_that_is_none(content: bytes, told: str, tmp_path: Path) -> None:
    put(tmp_path, "t.parquet", content)
    asked = (
        lambda: draft(tmp_path / "t.parquet", ["kind"], tmp_path / "c.yaml"),
        lambda: profile_data(tmp_path / "t.parquet"),
    )
    for ask in asked:
        with pytest.raises(DataError, match=f"t.parquet cannot be read as Parquet: {told}") as said:
            ask()
        assert not FOREIGN.search(str(said.value))


def test_parquet_to_predict_that_was_cut(tmp_path: Path) -> None:
    put(tmp_path, "t.csv", "x,kind\n1,cat\n")
    put(tmp_path, "n.parquet", stored()[:-300])
    with pytest.raises(DataError, match=r"n.parquet cannot be read as Parquet: it was cut off"):
        TableFile(path=tmp_path / "t.csv").another(tmp_path / "n.parquet", ["x"])

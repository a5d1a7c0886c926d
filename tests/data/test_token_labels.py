"""Labels that are lists: one per token of a row."""

import numpy as np
import pytest

from polytask.data.labels import encode_cells, require_token_labels
from polytask.errors import DataError
from polytask.tasks import Multilabel, Tagging
from polytask.tasks.labels import Cells
from tests.tasks.kinds import cells

TABLE = cells(("A", "B"), None, np.array(["B", None, "A"], dtype=object), ("A", "B"), "B A")
TASK = Tagging(name="tag", input="words", target={"s": "tags"}).fit(TABLE)


def where(row: int) -> str:
    """Names a row as a table would."""
    return f"table.jsonl row {row + 1}"


def encoded(table: Cells) -> tuple[list[list[int]], list[bool], int]:
    """Targets, presence and number of unknown labels, as plain values."""
    target, present, missed = encode_cells(TASK, table, unknown="error", describe=where)
    return target.tolist(), present.tolist(), missed


def test_lists_and_arrays_are_encoded_row_by_row() -> None:
    target, present, missed = encoded(TABLE)
    assert target == [[0, 1, -2], [-2, -2, -2], [1, -1, 0], [0, 1, -2], [1, 0, -2]]
    assert present == [True, False, True, True, True] and not missed


def test_each_unknown_label_is_counted_and_blanks_are_none() -> None:
    table = cells((None, None), np.array([None], dtype=object), ("C", "A"), ("C",))
    target, present, missed = encode_cells(TASK, table, unknown="skip", describe=where)
    assert target.tolist() == [[-1, -1], [-1, -2], [-1, 0], [-1, -2]]
    assert present.tolist() == [False, False, True, False] and missed == {"C": 2}


def test_an_unknown_label_in_a_list_names_its_row_and_column() -> None:
    with pytest.raises(DataError, match=r"table.jsonl row 2, column 'tags': .*label 'C'"):
        encoded(cells(("A",), ("A", "C")))


def test_another_number_of_labels_than_tokens_names_the_row() -> None:
    target, present, _ = encode_cells(TASK, TABLE, unknown="error", describe=where)
    tokens = np.array([2, 7, 3, 2, 2])
    require_token_labels(TASK, target, present, tokens, where)
    require_token_labels(TASK, target, present, None, where)
    tokens[3] = 4
    with pytest.raises(DataError, match=r"row 4, column 'tags'.*2 labels for 4 tokens"):
        require_token_labels(TASK, target, present, tokens, where)


def test_a_strange_cell_in_one_of_several_columns_is_counted() -> None:
    task = Multilabel(name="m", input="x", target={"t": ("a", "b")})
    task = task.fit(cells([1, 0], [0, 1]))
    table = cells([1, "maybe"], [0, None], ["maybe", "perhaps"])
    _, present, missed = encode_cells(task, table, unknown="skip", describe=where)
    assert present.tolist() == [True, True, False]
    assert missed == {"maybe": 2, "perhaps": 1}

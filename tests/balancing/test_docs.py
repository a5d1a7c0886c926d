"""The table in the docs is that of the code."""

import importlib.util
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "docs" / "balancing"


def test_the_table_is_up_to_date() -> None:
    spec = importlib.util.spec_from_file_location("make_table", FOLDER / "make_table.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert (FOLDER / "methods.md").read_text() == module.table(), (
        "python docs/balancing/make_table.py"
    )

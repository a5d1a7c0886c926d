"""The pages about balancers are those of the code, and what they show runs."""

import re
from pathlib import Path

import pytest
import torch

from polytask.balancing import BALANCERS
from polytask.balancing.table import PAPERS, table

DOCS = Path(__file__).parents[2] / "docs" / "balancing"
PAGE = DOCS / "how-to-choose.md"
COMMAND = "python -m polytask.balancing.table > docs/balancing/methods.md"


def test_every_balancer_has_its_paper_and_no_other() -> None:
    assert set(PAPERS) == set(BALANCERS)


def test_the_table_is_up_to_date() -> None:
    assert (DOCS / "methods.md").read_text(encoding="utf-8") == table(), COMMAND


def test_the_code_of_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its blocks one after the other, as a reader would type them."""
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.M | re.S)
    assert len(blocks) >= 5
    names: dict[str, object] = {}
    for number, block in enumerate(blocks):
        exec(compile(block, f"{PAGE.name}, block {number}", "exec"), names)


def test_the_page_names_only_what_exists() -> None:
    known = set(BALANCERS)
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if line.startswith("| "):
            for name in re.findall(r"`([a-z-]+)`", line.split("|")[2]):
                assert name in known, name

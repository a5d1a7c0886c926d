"""Write `methods.md`, the table of all balancers, from their docstrings.

python docs/balancing/make_table.py
"""

import inspect
import re
from pathlib import Path

from polytask.balancing import BALANCERS, Balancer, GradientBalancer, LossBalancer

HEAD = """# Balancers

Made by `make_table.py` from the docstrings; the classes say more. *Sees* is what a method is
shown, which decides its cost: `losses` cost one backward, `products` and `gradients` one trunk
backward per task (`products` a single one with `at: features`). T tasks, P shared parameters.

| name | class | sees | needs | state | paper | year |
|---|---|---|---|---|---|---|
"""


def row(name: str, cls: type[Balancer]) -> str:
    """One line of the table."""
    text = re.sub(r"\s+", " ", inspect.getdoc(cls) or "")
    sees = "losses" if issubclass(cls, LossBalancer) else "products"
    sees = "gradients" if issubclass(cls, GradientBalancer) else sees
    needs, state = (_field(text, word) for word in ("Needs", "State"))
    body = text.split("Needs:")[0]
    title = re.search(r"\*([A-Z][^*]+)\*", body)
    year = re.search(r"\b((?:19|20)\d\d)\)", body)
    paper = title.group(1) if title else ""
    return f"| `{name}` | {cls.__name__} | {sees} | {needs} | {state} | {paper} | {_of(year)} |"


def _field(text: str, word: str) -> str:
    found = re.search(word + r": (.*?)\.(?: |$)", text)
    assert found is not None, word
    return found.group(1).replace("|", "/")


def _of(match: re.Match[str] | None) -> str:
    return match.group(1) if match else ""


def table() -> str:
    """The whole page."""
    return HEAD + "\n".join(row(name, cls) for name, cls in BALANCERS.items()) + "\n"


if __name__ == "__main__":
    Path(__file__).with_name("methods.md").write_text(table())

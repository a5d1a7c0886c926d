"""What somebody sees first: names, help, and code of pages and docstrings, which runs."""

import ast
import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import polytask
from polytask import balancing, distillation, sharing
from polytask.backbones import SequentialBackbone
from polytask.balancing import BALANCERS, MGDA, Conflict, StackedHeads, backward
from polytask.sharing import TRUNKS, CrossStitch
from polytask.types import Features

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCKS = [
    pytest.param(block, id=f"{page.stem}-{number}")
    for page in PAGES
    for number, block in enumerate(
        re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S)
    )
]


def test_the_package_loads_nothing_until_it_is_asked() -> None:
    code = (
        "import sys, polytask; assert 'torch' not in sys.modules; "
        "assert 'balancing' in dir(polytask); print(polytask.balancing.MGDA.__name__)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "MGDA"


@pytest.mark.parametrize("name", polytask.__all__)
def test_every_part_is_there_and_says_what_it_is(name: str) -> None:
    part = getattr(polytask, name)
    assert isinstance(part, ModuleType) and inspect.getdoc(part)
    for public in getattr(part, "__all__", ()):
        thing = getattr(part, public)
        if inspect.isclass(thing) or inspect.isfunction(thing):
            assert inspect.getdoc(thing), f"{name}.{public}"


def test_what_is_not_there_is_told_with_what_is() -> None:
    with pytest.raises(AttributeError, match="balancing, distillation"):
        polytask.MGDA  # noqa: B018
    with pytest.raises(KeyError, match=r"no balancer 'cagard'\. Did you mean 'cagrad'\?"):
        BALANCERS["cagard"]
    with pytest.raises(KeyError, match=r"no way to share 'crossstitch'\. .*'cross-stitch'"):
        TRUNKS["crossstitch"]
    for wrong in (0, 2.0, ["a", "b"]):
        with pytest.raises(ValueError, match=r"how many tasks there are\. Found"):
            MGDA(wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("block", BLOCKS)
def test_code_of_pages_is_python_and_imports_what_exists(block: str) -> None:
    for node in ast.walk(ast.parse(block)):
        if isinstance(node, ast.ImportFrom):
            module = importlib.import_module(node.module or "")
            assert all(hasattr(module, alias.name) for alias in node.names), ast.unparse(node)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                importlib.import_module(alias.name)


def loop() -> dict[str, Any]:
    """What examples call by name: a trunk, two tasks' losses, an optimizer."""
    torch.manual_seed(0)
    trunk, heads = nn.Linear(4, 3), nn.ModuleList(nn.Linear(3, 1) for _ in range(2))
    z = trunk(torch.randn(5, 4)).tanh()
    loss_a, loss_b = ((head(z) - 1).square().mean() for head in heads)
    parameters = [*trunk.parameters(), *heads.parameters()]
    return {
        "torch": torch,
        "nn": nn,
        "trunk": trunk,
        "loss_a": loss_a,
        "loss_b": loss_b,
        "losses": [loss_a, loss_b],
        "balancer": MGDA(2),
        "optimizer": torch.optim.SGD(parameters, lr=0.1),
    }


def test_the_loop_of_the_first_page_moves_what_is_shared() -> None:
    (block,) = re.findall(r"```python\n(.*?)```", PAGES[0].read_text(encoding="utf-8"), re.S)
    names = loop()
    before = names["trunk"].weight.detach().clone()
    exec(block, names)
    assert not torch.equal(names["trunk"].weight, before)


def example(thing: object) -> str:
    """The indented lines of a docstring, above its arguments."""
    text = (inspect.getdoc(thing) or "").split("\nArgs:")[0]
    return inspect.cleandoc("\n" + "\n".join(re.findall(r"^    .*", text, re.M)))


def test_examples_in_docstrings_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    names = loop()
    exec(example(balancing), {**names, "MGDA": MGDA, "backward": backward})
    names = loop()
    exec(example(Conflict), {**names, "Conflict": Conflict})
    assert (tmp_path / "conflict.png").exists()
    exec(example(polytask), {})
    net, x = nn.Linear(3, 2), torch.randn(4, 3)
    soft = {"student": net, "teacher": nn.Linear(3, 2), "x": x, "loss": net(x).square().mean()}
    exec(example(distillation), {**soft, "soft_cross_entropy": distillation.soft_cross_entropy})


def test_the_example_of_topologies_runs() -> None:
    def loss_of(output: Tensor) -> Tensor:
        return (output - 1).square().mean()

    names: dict[str, Any] = {
        "nn": nn,
        "SequentialBackbone": SequentialBackbone,
        "CrossStitch": CrossStitch,
        "Features": Features,
        "rows": torch.randn(5, 20),
        "heads": {task: nn.Linear(32, 1) for task in ("age", "income")},
        "loss_of": loss_of,
        "backward": backward,
        "balancer": MGDA(2),
    }
    exec(example(sharing), names)
    assert all(p.grad is not None for p in names["trunk"].shared_parameters())


def test_the_example_of_stacked_heads_runs() -> None:
    trunk = nn.Linear(4, 3)
    names = {
        "z": trunk(torch.randn(5, 4)),
        "T": 6,
        "B": 5,
        "heads": StackedHeads(6, 3, 2),
        "F": nn.functional,
        "labels": torch.randint(0, 2, (5, 6)),
        "backward": backward,
        "balancer": MGDA(6),
        "trunk": trunk,
    }
    exec(example(StackedHeads), names)
    assert trunk.weight.grad is not None

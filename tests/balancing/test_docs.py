"""The pages about balancers are those of the code, and what they show runs."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from polytask.balancing import BALANCERS, backward
from polytask.balancing.table import PAPERS, table
from tests.processes import grouped, in_two_processes

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
    blocks = blocks_of(PAGE)
    assert len(blocks) >= 5
    names: dict[str, object] = {}
    for number, block in enumerate(blocks):
        exec(compile(block, f"{PAGE.name}, block {number}", "exec"), names)


def blocks_of(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S)


class Shared(nn.Module):
    """A trunk and two heads, the same in every process."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.trunk = nn.Sequential(nn.Linear(4, 3), nn.Tanh())
        self.heads = nn.ModuleList(nn.Linear(3, 1) for _ in range(2))

    def forward(self, x: Tensor) -> list[Tensor]:
        z = self.trunk(x)
        return [head(z) for head in self.heads]


def follow_the_page(rank: int, port: int) -> None:
    """Three steps as the page has them, on half of the rows, and three in one process on all."""
    grouped(rank, port)
    names: dict[str, Any] = {"torch": torch, "backward": backward}
    (block,) = (block for block in blocks_of(PAGE) if "def distributed_step" in block)
    exec(block, names)
    rows = torch.randn(8, 4, generator=torch.Generator().manual_seed(1))
    here = rows[:4] if rank == 0 else rows[4:]

    def losses_of(model: nn.Module, x: Tensor) -> list[Tensor]:
        return [(output - t).square().mean() for t, output in enumerate(model(x), 1)]

    for name in ("uw", "famo", "mgda", "graddrop"):
        alone, together = Shared(), Shared()
        for net, x, distributed in ((alone, rows, False), (together, here, True)):
            balancer = BALANCERS[name](2)
            model = nn.parallel.DistributedDataParallel(net) if distributed else net
            everything = [*net.parameters(), *balancer.parameters()]
            optimizer = torch.optim.SGD(everything, lr=0.1)
            for _ in range(3):
                if distributed:
                    names["distributed_step"](
                        model,
                        net.trunk.parameters(),
                        list(net.heads.parameters()),
                        lambda m, x=x: losses_of(m, x),
                        balancer,
                        optimizer,
                    )
                else:
                    optimizer.zero_grad()
                    backward(losses_of(model, x), balancer, net.trunk.parameters())
                    optimizer.step()
                if name == "famo":
                    with torch.no_grad():
                        after = torch.stack(losses_of(net, x))
                    balancer.update(names["mean"](after) if distributed else after)
        for one, other in zip(alone.parameters(), together.parameters(), strict=True):
            torch.testing.assert_close(one, other, msg=lambda m, n=name: f"{n}: {m}")


def test_the_step_for_several_processes_is_that_of_one() -> None:
    in_two_processes(follow_the_page)


def test_the_page_names_only_what_exists() -> None:
    known = set(BALANCERS)
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if line.startswith("| "):
            for name in re.findall(r"`([a-z-]+)`", line.split("|")[2]):
                assert name in known, name

"""The house's floors: a package imports from lower floors only."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import polytask

ROOT = Path(polytask.__file__).parent
FLOORS = {
    0: {"types", "errors"},
    1: {"tasks", "encoders", "backbones", "sharing", "balancing"},
    2: {"data", "model", "distillation", "affinity", "transfer", "merging"},
    3: {"training", "evaluation", "environment"},
    4: {
        *("config", "run", "own_best", "origin", "workflow", "assembly", "tuning", "tracking"),
        "study",
    },
    5: {
        *("cli", "terminal", "data_terminal", "study_terminal", "report", "inspection"),
        *("serve", "export", "survey"),
    },
}
FLOOR = {name: floor for floor, names in FLOORS.items() for name in names}
ARROWS = {
    ("types", "errors"),
    ("sharing", "backbones"),
    ("tasks", "encoders"),
    ("affinity", "balancing"),
    ("transfer", "model"),
    ("distillation", "model"),
    ("origin", "run"),
    ("workflow", "origin"),
    ("assembly", "config"),
    ("assembly", "origin"),
    ("assembly", "run"),
    ("study", "config"),
    ("study", "run"),
    ("study", "workflow"),
    ("run", "config"),
    ("workflow", "config"),
    ("workflow", "run"),
    ("own_best", "config"),
    ("own_best", "run"),
    ("workflow", "own_best"),
    ("workflow", "tuning"),
    ("workflow", "tracking"),
    ("tracking", "run"),
    ("tuning", "run"),
    *((above, beside) for above in FLOORS[5] for beside in FLOORS[5]),
}
FOREIGN = (
    "lightning_fabric",
    "pydantic",
    "typer",
    "fastapi",
    "torchmetrics",
    "pandas",
    "sklearn",
)


def modules() -> Iterator[tuple[str, Path]]:
    """Every module of the package but the package itself, with its room."""
    for path in sorted(ROOT.rglob("*.py")):
        room = path.relative_to(ROOT).parts[0].removesuffix(".py")
        if not room.startswith("__"):
            yield room, path


def imported(path: Path) -> Iterator[str]:
    """The rooms that a module imports when it runs, wherever the import stands."""
    nodes: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            nodes.extend(node.orelse)
            continue
        nodes.extend(ast.iter_child_nodes(node))
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            first, *rest = name.split(".")
            if first == "polytask" and rest and not rest[0].startswith("__"):
                yield rest[0]


def test_every_room_has_a_floor_and_none_is_called_utils() -> None:
    rooms = {room for room, _ in modules()}
    assert rooms <= FLOOR.keys(), f"rooms without a floor: {rooms - FLOOR.keys()}"
    files = {path.stem for _, path in modules()}
    assert not files & {"utils", "util", "helpers", "misc", "common"}


def test_imports_point_downwards() -> None:
    wrong = {
        f"{path.relative_to(ROOT)} imports polytask.{other}"
        for room, path in modules()
        for other in imported(path)
        if other != room and (room, other) not in ARROWS and FLOOR[other] >= FLOOR[room]
    }
    assert not wrong, "\n".join(sorted(wrong))


def test_balancers_never_import_distribution() -> None:
    for path in (ROOT / "balancing").glob("*.py"):
        assert "torch.distributed" not in path.read_text(encoding="utf-8"), path


def test_balancing_and_sharing_need_torch_only() -> None:
    code = (
        "import sys, polytask.balancing, polytask.sharing; "
        f"print([m for m in {FOREIGN!r} if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"

"""Tasks whose classes are kinds of another's: what they say together, from files to predictions."""

import csv
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from typer.testing import CliRunner

from polytask.cli import app
from polytask.config import load_config
from polytask.config.variants import with_tasks
from polytask.data.dataset import Prepared
from polytask.errors import ConfigError, DataError
from polytask.run import Run
from polytask.tasks import Multiclass, Task
from polytask.tasks.hierarchy import Hierarchies
from polytask.workflow import prepare_data
from tests.networks import batch, network

# Animals: families, genera and species; and sizes, which are kinds of families as well.
FILE = """\
name: animals
sources:
  seen: {kind: table, path: seen.csv, split: {test: 0.2, validation: 0.1}}
inputs:
  measures: {kind: table, columns: [a, b, c]}
tasks:
  species: {kind: multiclass, target: species, parent: genus}
  genus: {kind: multiclass, target: genus, parent: family}
  family: {kind: multiclass, target: family}
  size: {kind: multiclass, target: size, parent: family}
trunk: {backbone: {kind: perceptron, widths: [16]}}
batches: {size: 32}
optimizer: {kind: adam, lr: 0.01}
training: {epochs: 2, precision: fp32, threads: 1, accelerator: cpu}
"""


def animals(folder: Path, rows: int = 200) -> pd.DataFrame:
    """A table of them, and beside it a file; a third of each label is missing."""
    rng = np.random.default_rng(0)
    species = rng.integers(0, 8, rows)
    table = pd.DataFrame(rng.normal(size=(rows, 3)), columns=["a", "b", "c"])
    table["a"] += species
    table["species"] = [f"s{k}" for k in species]
    table["genus"] = [f"g{k // 2}" for k in species]
    table["family"] = [f"f{k // 4}" for k in species]
    table["size"] = [f"{'little' if k % 2 else 'large'} f{k // 4}" for k in species]
    for column in ("species", "genus", "family", "size"):
        table.loc[rng.random(rows) < 0.3, column] = None
    table.to_csv(folder / "seen.csv", index=False)
    (folder / "animals.yaml").write_text(FILE)
    return table


def polytask(*arguments: object) -> None:
    """A command that has to come to its end."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output


def prepared(folder: Path) -> Prepared:
    return prepare_data(load_config(folder / "animals.yaml"), None)


def tree(*parents: int, sizes: list[int], seed: int) -> tuple[list[Task], dict[str, Tensor]]:
    """Tasks of which the k-th lies under the `parents[k - 1]`-th, and outputs of their heads."""
    random = torch.Generator().manual_seed(seed)
    tasks: list[Task] = []
    for k, size in enumerate(sizes):
        above: tuple[str, ...] = ()
        if k:
            drawn = torch.randint(sizes[parents[k - 1]], (size,), generator=random)
            above = tuple(map(str, drawn.tolist()))
        tasks.append(
            Multiclass(
                name=f"t{k}",
                input="picture",
                target={},
                classes=tuple(map(str, range(size))),
                parent=f"t{parents[k - 1]}" if k else None,
                above=above,
            )
        )
    outputs = {t.name: 3 * torch.randn(5, t.outputs, generator=random) for t in tasks}
    return tasks, outputs


@given(st.data())
@settings(deadline=None, max_examples=60)
def test_kinds_add_up_to_their_class(data: st.DataObject) -> None:
    sizes = data.draw(st.lists(st.integers(2, 6), min_size=2, max_size=5))
    parents = [data.draw(st.integers(0, k)) for k in range(len(sizes) - 1)]
    tasks, outputs = tree(*parents, sizes=sizes, seed=data.draw(st.integers(0, 99)))
    order = data.draw(st.permutations(tasks))
    agreed = Hierarchies(order).agreed(outputs)
    for task in tasks:
        assert isinstance(task, Multiclass)
        mine = agreed[task.name].exp()
        torch.testing.assert_close(mine.sum(1), torch.ones(5))
        if task.parent is None:
            continue
        kinds = torch.zeros(5, agreed[task.parent].shape[1])
        kinds.index_add_(1, torch.tensor([*map(int, task.above)]), mine)
        some = [c for c in range(kinds.shape[1]) if str(c) in task.above]
        theirs = agreed[task.parent].exp()[:, some]
        torch.testing.assert_close(kinds[:, some], theirs / theirs.sum(1, keepdim=True))


@pytest.mark.parametrize("certainty", [1.0, 100.0, 1000.0])
def test_however_sure_heads_are_kinds_add_up(certainty: float) -> None:
    """Where float32 has no probability as small as what a head says of a class."""
    tasks, outputs = tree(0, sizes=[3, 7], seed=3)
    assert isinstance(tasks[1], Multiclass)
    large = {name: certainty * o for name, o in outputs.items()}
    large["t0"].requires_grad_()
    agreed = Hierarchies(tasks).agreed(large)
    above = torch.tensor([*map(int, tasks[1].above)])
    sums = torch.zeros(5, 3).index_add(1, above, agreed["t1"].exp())
    torch.testing.assert_close(sums, agreed["t0"].exp(), atol=1e-5, rtol=1e-4)
    agreed["t1"].sum().backward()
    assert large["t0"].grad is not None and bool(large["t0"].grad.isfinite().all())


def test_two_levels_say_the_geometric_mean() -> None:
    tasks, outputs = tree(0, sizes=[3, 7], seed=3)
    assert isinstance(tasks[1], Multiclass)
    above = [*map(int, tasks[1].above)]
    assert {*above} == {0, 1, 2}
    agreed = Hierarchies(tasks).agreed(outputs)
    p, q = (outputs[name].softmax(1) for name in ("t0", "t1"))
    for row in range(5):
        sums = [sum(float(q[row, f]) for f in range(7) if above[f] == c) for c in range(3)]
        pooled = [(float(p[row, c]) * sums[c]) ** 0.5 for c in range(3)]
        for c in range(3):
            expected = pooled[c] / sum(pooled)
            assert float(agreed["t0"][row, c].exp()) == pytest.approx(expected, rel=1e-5)
        for f in range(7):
            c = above[f]
            expected = pooled[c] / sum(pooled) * float(q[row, f]) / sums[c]
            assert float(agreed["t1"][row, f].exp()) == pytest.approx(expected, rel=1e-5)


def test_heads_that_agree_are_left_as_they_are() -> None:
    tasks, outputs = tree(0, 1, sizes=[2, 4, 8], seed=1)
    for name, below in (("t1", "t2"), ("t0", "t1")):
        task = next(t for t in tasks if t.name == below)
        assert isinstance(task, Multiclass)
        sums = torch.zeros_like(outputs[name])
        above = torch.tensor([*map(int, task.above)])
        outputs[name] = sums.index_add(1, above, outputs[below].softmax(1)).log()
    agreed = Hierarchies(tasks).agreed(outputs)
    for name, output in outputs.items():
        torch.testing.assert_close(agreed[name].exp(), output.softmax(1), atol=1e-6, rtol=1e-5)


def test_a_class_without_kinds_is_for_its_own_head_to_say() -> None:
    tasks = [
        Multiclass(name="t0", input="picture", target={}, classes=("a", "b", "c")),
        Multiclass(
            name="t1", input="picture", target={}, classes=("x", "y"), parent="t0", above=("a", "a")
        ),
    ]
    outputs = {"t0": torch.tensor([[0.0, 1.0, 2.0]]), "t1": torch.tensor([[0.5, 0.0]])}
    agreed = Hierarchies(tasks).agreed(outputs)
    own = outputs["t0"].softmax(1)[0]
    assert float(agreed["t0"][0, 1] - agreed["t0"][0, 2]) == pytest.approx(-1.0, abs=1e-5)
    pooled = torch.stack([own[0].sqrt(), own[1], own[2]])
    torch.testing.assert_close(agreed["t0"][0].exp(), pooled / pooled.sum())


def test_a_model_answers_the_same_whichever_tasks_are_asked_for() -> None:
    tasks, _ = tree(0, sizes=[3, 5], seed=0)
    alone = Multiclass(name="else", input="picture", target={}, classes=("x", "y"))
    for trunk in ("hard", "independent"):
        model = network((*tasks, alone), trunk=trunk).eval()
        inputs = {"picture": batch().inputs["picture"]}
        both = model(inputs, ["t0", "t1", "else"])
        for name in ("t0", "t1", "else"):
            assert model(inputs, [name])[name].equal(both[name])
        rows = {"t0": torch.tensor([True, False] * 4), "t1": torch.tensor([False] * 7 + [True])}
        some = model(inputs, ["t0", "t1"], rows=rows)
        for name, read in rows.items():
            torch.testing.assert_close(some[name][read], both[name][read])
        model.train()  # While training every head is told by its own labels alone.
        heads = network((*(t for t in (tasks[0], alone)),), trunk=trunk)
        assert not heads.hierarchies
        assert not model(inputs, ["t0"])["t0"].logsumexp(1).allclose(torch.zeros(8), atol=1e-3)


def test_which_class_is_a_kind_of_which_is_read_off_training_rows(tmp_path: Path) -> None:
    animals(tmp_path)
    tasks = {t.name: t for t in prepared(tmp_path).tasks if isinstance(t, Multiclass)}
    assert tasks["species"].above == ("g0", "g0", "g1", "g1", "g2", "g2", "g3", "g3")
    assert tasks["genus"].above == ("f0", "f0", "f1", "f1")
    assert tasks["size"].classes == ("large f0", "large f1", "little f0", "little f1")
    assert tasks["size"].above == ("f0", "f1", "f0", "f1")
    assert tasks["family"].above == () and "above" not in tasks["family"].facts()


def test_a_class_of_two_classes_is_an_error_that_names_rows(tmp_path: Path) -> None:
    table = animals(tmp_path)
    there = table.dropna(subset=["species", "genus"])
    row = next(r for r in there.index if there.species[r] == "s0")
    table.loc[row, "genus"] = "g3"
    table.to_csv(tmp_path / "seen.csv", index=False)
    text = FILE.replace("test: 0.2, validation: 0.1", "test: 0.0, validation: 0.0")
    (tmp_path / "animals.yaml").write_text(text)
    with pytest.raises(DataError, match=r"'s0' of 'g[03]' \(.*\) and of 'g[03]' \(.*\)") as error:
        prepared(tmp_path)
    assert f"{row + 2}" in str(error.value) and "tasks.species.parent" in str(error.value)


def test_a_class_that_never_meets_its_parent_is_an_error(tmp_path: Path) -> None:
    table = animals(tmp_path)
    table.loc[table.species == "s5", "genus"] = None
    table.to_csv(tmp_path / "seen.csv", index=False)
    with pytest.raises(DataError, match=r"'parent: genus', and no training row .* kinds: s5\."):
        prepared(tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("parent: genus", "parent: genius", r"tasks\.species\.parent: .*'genius'.*Did you mean"),
        ("parent: genus", "parent: species", r"tasks\.species\.parent: there is no other"),
        ("target: family}", "target: family, parent: species}", r"is itself below '\w+'"),
        ("target: family}", "target: family, parent: [species]}", r"tasks\.family\.parent: exp"),
        ("target: family}", "target: family, criterion: one-vs-rest}", r"needs 'criterion: soft"),
        ("parent: genus", "parent: genus, criterion: one-vs-rest", r"`parent` goes with"),
        ("{kind: multiclass, target: genus, parent: family}", "{kind: multilabel, target: genus}",
         r"tasks\.species\.parent: there is no other multiclass task 'genus'"),
    ],
)  # fmt: skip
def test_mistakes_are_told(tmp_path: Path, old: str, new: str, told: str) -> None:
    animals(tmp_path)
    assert old in FILE
    (tmp_path / "animals.yaml").write_text(FILE.replace(old, new))
    with pytest.raises(ConfigError, match=told):
        load_config(tmp_path / "animals.yaml")


def test_some_of_the_tasks_keep_the_next_one_above(tmp_path: Path) -> None:
    animals(tmp_path)
    config = load_config(tmp_path / "animals.yaml")

    def parents(*names: str) -> dict[str, str | None]:
        tasks = with_tasks(config, names).resolved()["tasks"]
        return {name: task["parent"] for name, task in tasks.items()}

    assert parents("species", "family") == {"species": "family", "family": None}
    assert parents("species") == {"species": None}
    with pytest.raises(ConfigError, match="which is none of the multiclass tasks"):
        network([t for t in tree(0, sizes=[2, 3], seed=0)[0] if t.name == "t1"])


def test_from_a_file_to_predictions_that_add_up(tmp_path: Path) -> None:
    animals(tmp_path)
    polytask("train", tmp_path / "animals.yaml", "--runs", tmp_path / "runs")
    run = Run.newest(tmp_path / "runs")
    polytask("evaluate", run.path)
    assert run.read_json("scores.json")["test"]["species"]["count"] > 0
    said = tmp_path / "said.csv"
    polytask("predict", run.path, "--input", tmp_path / "seen.csv", "--output", said)
    with said.open() as file:
        for row in csv.DictReader(file):
            for family in ("f0", "f1"):
                whole = float(row[f"family.{family}"])
                genera = ("g0", "g1") if family == "f0" else ("g2", "g3")
                sizes = (f"large {family}", f"little {family}")
                assert sum(float(row[f"genus.{g}"]) for g in genera) == pytest.approx(whole, 1e-4)
                assert sum(float(row[f"size.{s}"]) for s in sizes) == pytest.approx(whole, 1e-4)
    # Fewer rows, in which a species is not met any more, go on from the run.
    table_of = pd.read_csv(tmp_path / "seen.csv")
    table_of[table_of.species != "s5"].to_csv(tmp_path / "seen.csv", index=False)
    more = tmp_path / "more"
    polytask("train", tmp_path / "animals.yaml", "--runs", more, "--from", run.path)
    facts = Run.newest(more).read_json("facts.json")["tasks"]["species"]
    assert facts["above"] == [f"g{k // 2}" for k in range(8)] and "s5" in facts["classes"]

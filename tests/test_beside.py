"""Networks with a linear part beside them: what each learns, and what they say together."""

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from torch import Tensor

from polytask.backbones import NgramBackbone
from polytask.balancing import EqualWeighting, backward
from polytask.config import load_config
from polytask.config.catalogue import TRUNKS
from polytask.encoders import EmbeddingEncoder, StackedEncoder, VectorEncoder
from polytask.errors import ConfigError
from polytask.inspection.attribution import attribute, replaced
from polytask.inspection.page import inspect_run
from polytask.model import Boundary, MultiTaskModel
from polytask.run import Run
from polytask.tasks import Binary, Multiclass, Task
from polytask.tasks.wide import Wide
from polytask.training.losses import task_losses
from polytask.transfer import start_from
from polytask.types import Batch, Features
from polytask.workflow import Silent, evaluate_run, predict_run, train
from tests.test_following import Stopping
from tests.training.loops import fabric

COMMON: dict[str, Any] = {"input": "said", "target": {"a": "y"}}
TASKS: tuple[Multiclass | Binary, ...] = (
    Multiclass(name="mood", classes=("p", "q", "r"), counts=(1, 1, 1), **COMMON),
    Binary(name="liked", classes=("no", "yes"), **COMMON),
)
WIDE = Wide(buckets=64, dropout=0.0)
BOTH: tuple[Task, ...] = (replace(TASKS[0], wide=WIDE), TASKS[1])


def network(tasks: Sequence[Task], kind: str = "hard") -> MultiTaskModel:
    torch.manual_seed(0)
    front = EmbeddingEncoder(20, 0, 1, False, [], width=6)
    trunk = TRUNKS[kind](lambda: NgramBackbone(6, spans=(1, 2), filters=4), [t.name for t in tasks])
    made = MultiTaskModel({"said": StackedEncoder(front)}, trunk, tasks)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if ".wide." in name:
                parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return made


def batch(missing: bool = True) -> Batch:
    generator = torch.Generator().manual_seed(2)
    numbers = torch.randint(2, 20, (8, 6), generator=generator)
    mask = torch.arange(6) < torch.randint(1, 7, (8, 1), generator=generator)
    present = torch.arange(8) % 2 == 0 if missing else torch.ones(8, dtype=torch.bool)
    return Batch(
        {"said": Features(numbers * mask, mask)},
        {"mood": torch.arange(8) % 3, "liked": (torch.arange(8) % 2).float()},
        {"mood": present, "liked": ~present if missing else present},
    )


def learned(model: MultiTaskModel, tasks: Sequence[Task]) -> tuple[Tensor, dict[str, Tensor]]:
    """Losses, and the gradients of a step."""
    boundary = Boundary()
    losses, _ = task_losses(fabric(), model, batch(), tasks, boundary)
    shared = list(model.shared_parameters())
    features = [boundary.aliases[task.name] for task in tasks]
    backward(losses, EqualWeighting(num_tasks=2), shared, features=features)
    found = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    return torch.stack([loss.detach() for loss in losses]), found


@pytest.mark.parametrize("kind", ["hard", "independent", "mmoe"])
def test_the_network_learns_and_balancers_see_what_they_would_without_it(kind: str) -> None:
    losses, plain = learned(network(TASKS, kind), TASKS)
    with_it, found = learned(network(BOTH, kind), BOTH)
    torch.testing.assert_close(with_it, losses)
    assert found.keys() - plain.keys() == {"heads.mood.wide.weight", "heads.mood.wide.bias"}
    for name, gradient in plain.items():
        torch.testing.assert_close(found[name], gradient)


@pytest.mark.parametrize("kind", ["hard", "independent"])
def test_the_part_learns_from_its_own_answers_about_labelled_rows(kind: str) -> None:
    _, found = learned(network(BOTH, kind), BOTH)
    part, given = BOTH[0].beside(), batch()
    assert part is not None
    part.load_state_dict(network(BOTH, kind).heads["mood"].get_submodule("wide").state_dict())
    there = given.present["mood"]
    said = part(given.inputs["said"])[there]
    BOTH[0].loss(said, given.targets["mood"][there]).mean().backward()
    for name in ("weight", "bias"):
        torch.testing.assert_close(found[f"heads.mood.wide.{name}"], getattr(part, name).grad)


@pytest.mark.parametrize("kind", ["hard", "independent"])
def test_both_answer_by_their_mean_whichever_rows_are_asked_for(kind: str) -> None:
    model, plain = network(BOTH, kind).eval(), network(TASKS, kind).eval()
    given = batch()
    raw, names = given.inputs, ["mood", "liked"]
    found, alone = model(raw, names), plain(raw, names)
    said = model.heads["mood"].get_submodule("wide")(raw["said"])
    torch.testing.assert_close(found["mood"], (alone["mood"] + said) / 2)
    torch.testing.assert_close(found["liked"], alone["liked"])
    some = model(raw, names, rows=given.present)
    there = given.present["mood"]
    torch.testing.assert_close(some["mood"][there], found["mood"][there])
    # A teacher is asked for its answers with a boundary, for its features.
    taught = model(raw, names, Boundary())
    torch.testing.assert_close(taught["mood"], found["mood"])


def test_kinds_of_kinds_answer_together_by_the_means_of_both() -> None:
    fine = Multiclass(
        name="fine", parent="mood", wide=WIDE, classes=("1", "2", "3", "4"), counts=(1,) * 4,
        above=("p", "q", "q", "r"), **COMMON,
    )  # fmt: skip
    tasks = (BOTH[0], fine)
    model, raw = network(tasks).eval(), batch().inputs
    found = model(raw, ["fine"])["fine"]
    apart = model._each(raw, ["mood", "fine"], None, None, None)
    torch.testing.assert_close(found, model.hierarchies.agreed(apart)["fine"])
    torch.testing.assert_close(found.exp().sum(1), torch.ones(8))


def test_labels_that_are_added_are_new_rows_of_the_part() -> None:
    more = replace(TASKS[0], wide=WIDE, classes=("p", "q", "r", "s"), counts=(1,) * 4)
    before, after = network(BOTH), network((more, TASKS[1]))
    start = start_from(after, before.state_dict(), (more, TASKS[1]), BOTH)
    assert "heads.mood.wide.weight" in start.grown
    ours, theirs = (m.heads["mood"].get_parameter("wide.weight") for m in (after, before))
    assert torch.equal(ours[:3], theirs)


def test_an_input_that_is_no_text_is_refused() -> None:
    trunk = TRUNKS["hard"](lambda: NgramBackbone(6), ["mood"])
    with pytest.raises(ConfigError, match="'wide', which is of n-grams of a text"):
        MultiTaskModel({"said": VectorEncoder(6)}, trunk, BOTH[:1])


def test_units_speak_for_an_answer_by_what_their_ngrams_say_too() -> None:
    model, raw = network(BOTH).eval(), batch().inputs["said"]
    found = attribute(model, BOTH[0], raw)
    added = model.by_unit("mood", raw)
    assert added is not None and model.by_unit("liked", raw) is None
    answers = model({"said": raw}, ["mood"])["mood"]
    chosen = answers.argmax(1, keepdim=True)
    front = model.encoders["said"].get_submodule("front")
    with torch.no_grad(), replaced(front, Features(torch.zeros(8, 6, 6), raw.mask)):
        of_nothing = model({"said": raw}, ["mood"])["mood"] - added.sum(1)
    total = (answers - of_nothing).gather(1, chosen).flatten()
    torch.testing.assert_close(found.values.sum((1, 2)), total, atol=2e-2, rtol=2e-2)


FILE = """\
name: small
sources:
  films: {kind: table, path: films.csv, split: {test: 0.2, validation: 0.2}}
inputs:
  said: {kind: text, columns: review, min_count: 1, LEVEL encoder: {width: 6}}
tasks:
  liked: {kind: multiclass, target: liked, wide: {buckets: 256}}
  stars: {kind: regression, target: stars, wide: {spans: [1], buckets: 99, dropout: 0.1}}
  rank: {kind: ordinal, target: stars, wide: {}}
  spread: {kind: gaussian, target: stars, wide: {buckets: 64}}
  tags: {kind: multilabel, target: [good, bad], wide: {buckets: 64}}
trunk: {kind: independent, backbone: {kind: ngrams, spans: [1], filters: 4}}
batches: {size: 8}
optimizer: {kind: adamw, lr: 0.03, factors: {heads.liked.wide: 2.0}}
training: {epochs: 4, threads: 1}
"""


def written(folder: Path, level: str) -> Path:
    """A configuration over opinions."""
    rows = [
        {
            "review": f"a {word} film!",
            "liked": word == "good",
            "stars": 5 if word == "good" else 1 if n % 5 else None,
            "good": int(word == "good"),
            "bad": int(word == "bad"),
        }
        for n, word in enumerate(("good", "bad") * 20)
    ]
    pd.DataFrame(rows).to_csv(folder / "films.csv", index=False)
    (folder / "small.yaml").write_text(FILE.replace("LEVEL", level))
    return folder / "small.yaml"


@pytest.mark.parametrize("level", ["characters: 4,", "level: subwords, vocabulary: 40,"])
def test_from_a_file_to_predictions(level: str, tmp_path: Path) -> None:
    file = written(tmp_path, level)
    assert train(load_config(file, ()), tmp_path / "runs", Silent(), sys.argv)
    run = Run.newest(tmp_path / "runs")
    assert run.weights()["heads.liked.wide.weight"].any()
    scores = evaluate_run(run, "test")
    assert scores["liked"]["accuracy"] == 1.0 and scores["tags"]["count"]
    (tmp_path / "new.txt").write_text("a good film\n\na bad film!\n")
    lines = list(predict_run(run, tmp_path / "new.txt"))
    assert [str(line["liked"]).lower() for line in lines] == ["true", "false"]
    _, found = inspect_run(run)
    numbers = found["sharing"]["parameters"]["head liked"]
    assert numbers["private"] > 2 * 256 and numbers["shared"] == 0
    assert json.dumps(found["attribution"]["liked"])


def test_a_stop_and_a_resume_change_nothing(tmp_path: Path) -> None:
    config = load_config(written(tmp_path, "characters: 4,"))
    whole, stopped = Stopping(), Stopping(5)
    assert train(config, tmp_path / "whole", whole, [])
    assert not train(config, tmp_path / "stopped", stopped, [])
    torch.manual_seed(99)
    assert train(Run.open(stopped.run), tmp_path, Silent(), [])
    ours, theirs = (Run.open(run).weights() for run in (stopped.run, whole.run))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)

"""What tasks look at, drawn: words of texts, pixels of pictures, and answers that are pictures."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from polytask.backbones import SequentialBackbone
from polytask.encoders import Encoder
from polytask.inspection.answers import Answers, answered
from polytask.inspection.attribution import Attribution, attribute
from polytask.inspection.looking import picked, spread
from polytask.inspection.page import inspect_run
from polytask.inspection.places import places_drawn
from polytask.inspection.words import MOST, WIDTH, broken, words_drawn
from polytask.model import MultiTaskModel
from polytask.sharing import HardSharing
from polytask.tasks import Multiclass, Segmentation
from polytask.types import Batch, Features
from tests.report.conftest import made
from tests.tasks.kinds import EXAMPLES, guess, ready

TEXT = """\
name: text
sources:
  rows: {kind: table, path: rows.csv, split: {validation: 0.3}}
inputs:
  said: {kind: text, column: said, min_count: 1, LEVEL encoder: {width: 8}}
tasks:
  kind: {kind: multiclass, target: kind}
trunk: {kind: hard, backbone: {kind: ngrams, spans: [1], filters: 8}}
batches: {size: 16}
training: {epochs: 12, threads: 1}
optimizer: {kind: adamw, lr: 0.02}
"""


@pytest.mark.parametrize("level", ["", "level: characters,", "level: subwords, vocabulary: 40,"])
def test_a_text_is_shown_as_its_words_and_the_one_that_matters_speaks_loudest(
    level: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [
        f"some {('wet', 'dry')[n % 2]} day{'s' * (n % 3)} <&>,{'ab'[n % 2]}" for n in range(60)
    ]
    (tmp_path / "rows.csv").write_text("\n".join(["said,kind", *lines]))
    monkeypatch.chdir(tmp_path)
    page, found = inspect_run(made(tmp_path, text=TEXT.replace("LEVEL", level)))
    (drawing,) = page.sections[-1].figures
    assert drawing.name == "looks-said"
    examples = found["attribution"]["kind"]["words"]
    assert len(examples) == 4
    for example in examples:
        units = [unit for unit, _ in example["words"]]
        assert re.fullmatch(r"[ab] \([ab]\)", example["answer"])
        if not level:
            assert units[0] == "some" and units[-1] == ">" and len(units) == 6
            loudest = max(example["words"], key=lambda pair: abs(pair[1]))
            assert loudest[0] in ("wet", "dry")
            assert re.search(rf">\s*{loudest[0]}\s*<", drawing.svg)
    assert "&lt;" in drawing.svg


def test_lines_of_words_are_no_wider_than_a_line_and_only_so_many() -> None:
    text = ["word"] * 200 + ["x" * 300]
    lines = broken(text, None)
    assert len(lines) == MOST
    assert all(sum(width for _, _, width in line) <= WIDTH for line in lines)
    assert [place for line in lines for place, _, _ in line] == list(range(16 * MOST))
    under = broken(["a", "b"], ["B-LONG-TAG", "O"])
    assert under == [[(0, "a", 11), (1, "b", 2)]]
    assert broken([], None) == [[]]
    ((_, cut, width),) = broken(["x" * 300], None)[0]
    assert cut.endswith("…") and len(cut) == WIDTH // 2 == width - 1


def test_answers_for_every_word_stand_under_the_words() -> None:
    values = torch.randn(2, 3, 4)
    mask = torch.tensor([[True] * 3, [True, False, False]])
    of = Attribution(values, values, mask, torch.zeros(2))
    tags = {"tags": Answers(["", ""], [["DT", "NN", "VB"], ["UH"]])}
    drawing = words_drawn("w", [["the", "cat", "sat"], ["oh"]], {"tags": of}, tags)
    for word in ("the", "cat", "sat", "oh", "DT", "NN", "VB", "UH"):
        assert re.search(rf">\s*{word}\s*<", drawing.svg), word
    assert "under it" in drawing.caption


class Pixels(Encoder):
    """Pixels as they come."""

    out_features = 1

    def forward(self, raw: Features) -> Features:
        return raw


def dense() -> tuple[MultiTaskModel, Batch, list[Segmentation | Multiclass]]:
    """A network whose segmentation tells bright pixels from dark ones, and another task."""
    torch.manual_seed(0)
    one = Segmentation(name="parts", input="x", target={"a": "m"}, classes=("dark", "bright"))
    parts = replace(one, size=(4, 6))
    what = Multiclass(name="what", input="x", target={"a": "c"}, classes=("p", "q"), counts=(1, 1))
    trunk = HardSharing(lambda: SequentialBackbone([nn.Identity()], (1,)), ["parts", "what"])
    model = MultiTaskModel({"x": Pixels()}, trunk, [parts, what]).eval()
    convolution: nn.Conv2d = model.heads["parts"].convolution  # type: ignore[assignment]
    with torch.no_grad():
        convolution.weight.copy_(torch.tensor([-1.0, 1.0]).view(2, 1, 1, 1))
        convolution.bias.zero_()  # type: ignore[union-attr]
    values = torch.randn(3, 1, 4, 6)
    target = (values[:, 0] > 0).to(torch.uint8)
    batch = Batch(
        {"x": Features(values)},
        {"parts": target, "what": torch.tensor([0, 1, 1])},
        {"parts": torch.tensor([True, True, False]), "what": torch.ones(3, dtype=torch.bool)},
        {"x": torch.arange(3)},
    )
    return model, batch, [parts, what]


def test_pixels_are_attributed_to_the_class_that_each_of_them_gets() -> None:
    model, batch, tasks = dense()
    zero = torch.zeros(1, 1, 4, 6)
    found = attribute(model, tasks[0], batch.inputs["x"], zero)
    # Each pixel's own class scores |x|, and nothing else of the picture matters to it.
    torch.testing.assert_close(found.values, batch.inputs["x"].values.abs())


def test_answers_that_are_pictures_are_shown_beside_the_labels() -> None:
    model, batch, tasks = dense()
    rows = torch.tensor([0, 2])
    raw = picked(batch.inputs["x"], rows)
    answers = answered(model, tasks, batch, raw, rows)
    pictures, truths = answers["parts"].pictures, answers["parts"].truths
    assert pictures is not None and truths[1] is None and truths[0] is not None
    assert (pictures[0].pixels == truths[0].pixels).all()
    assert answers["what"].titles[0].endswith("(p)") and answers["what"].pictures is None
    found = {task.name: attribute(model, task, raw) for task in tasks}
    (drawing,) = places_drawn("x", found, answers)
    assert "no label" in drawing.svg and "they stand before it" in drawing.caption
    several = {f"parts{n}": found["parts"] for n in range(3)}
    shown = places_drawn("x", several, dict.fromkeys(several, answers["parts"]))
    assert [one.name for one in shown] == ["looks-x", "looks-x-2", "looks-x-3"]


def test_examples_are_spread_over_the_batch_and_cut_to_their_longest() -> None:
    assert spread(10, 4).tolist() == [0, 3, 6, 9]
    assert spread(2, 4).tolist() == [0, 1] and spread(1, 4).tolist() == [0]
    mask = torch.arange(5) < torch.tensor([[5], [2], [3]])
    some = picked(Features(torch.randn(3, 5, 2), mask), torch.tensor([1, 2]))
    assert some.values.shape == (2, 3, 2) and some.mask is not None
    assert some.mask.sum(1).tolist() == [2, 3]


@pytest.mark.parametrize("kind", [kind for kind in EXAMPLES if kind not in ("generation",)])
def test_scores_have_a_place_for_every_answer(kind: str) -> None:
    task, target, _ = ready(kind)
    output: Tensor = guess(task, len(target))
    found = task.scores(output)
    assert found.ndim == 3 and len(found) == len(target)
    decoded = task.decode(output)
    if kind in ("multiclass", "balanced"):
        assert torch.equal(found.argmax(2)[:, 0], decoded.argmax(1))
    if kind == "segmentation":
        assert torch.equal(found.argmax(2), decoded.flatten(1).long())
    if kind == "tagging":
        there = decoded >= 0
        assert torch.equal(found.argmax(2)[there], decoded[there].long())
        assert not found[~there].any()

"""Which words of a text speak for a task's answer, drawn as the words themselves."""

from collections.abc import Mapping, Sequence
from typing import Any

from polytask.inspection.answers import Answers
from polytask.inspection.attribution import Attribution
from polytask.report.figures import Drawing, drawn, styled

WIDTH = 84  # letters in a line
LETTER = 0.085  # inches of a letter
LINE = 0.24  # inches of a line
MOST = 5  # lines of a text, which is cut there
_WHERE = {
    "title": "In bold the answer, and the label in brackets.",
    "tags": "In bold the answer, and the label in brackets; an answer for every word is under it.",
}


def words_drawn(
    name: str,
    texts: Sequence[Sequence[str]],
    found: Mapping[str, Attribution],
    answers: Mapping[str, Answers],
) -> Drawing:
    """A text per example and task, each word on the colour of what it speaks for.

    Args:
        name: The input.
        texts: Per example its words, characters or pieces.
        found: Per task how much each of them speaks for its answer.
        answers: What the tasks answer; answers for each word stand under the words.
    """
    from matplotlib.figure import Figure

    blocks = [
        (task, row, broken(text, None if tags is None else tags[row]))
        for row, text in enumerate(texts)
        for task, tags in ((task, answers[task].tags) for task in found)
    ]
    heights = [
        1.3 + len(lines) * (1.0 if answers[task].tags is None else 1.8) for task, _, lines in blocks
    ]
    with styled():
        size = (WIDTH * LETTER, sum(heights) * LINE)
        figure = Figure(figsize=size)
        axis = figure.add_axes((0.0, 0.0, 1.0, 1.0))
        axis.set_xlim(0, WIDTH)
        axis.set_ylim(sum(heights), 0)
        axis.axis("off")
        top = 0.0
        for (task, row, lines), height in zip(blocks, heights, strict=True):
            weights = found[task].example(row).sum(1).tolist()
            title = f"{task}: {answers[task].titles[row]}".removesuffix(": ")
            axis.text(0, top + 0.65, title, va="center", fontsize=9, fontweight="bold")
            tags = answers[task].tags
            _write(axis, top + 1.0, lines, weights, None if tags is None else tags[row])
            top += height
        return drawn(
            figure,
            name=f"looks-{name}",
            alt=f"Which words of {len(texts)} examples of {name} speak for each task's answer",
            caption=f"{name}: what speaks for each task's answer (red) and against it (blue). "
            + _WHERE["tags" if any(answers[task].tags for task in found) else "title"]
            + f" Colours have each text's own scale; of long texts the first {MOST} lines.",
        )


def broken(text: Sequence[str], under: Sequence[str] | None) -> list[list[tuple[int, str, int]]]:
    """A text in lines: per word its place in the text, what is written, and how wide it is.

    Args:
        text: The words.
        under: What stands under each, which may be wider.
    """
    lines: list[list[tuple[int, str, int]]] = [[]]
    used = 0
    for place, word in enumerate(text):
        shown = word if len(word) <= WIDTH // 2 else f"{word[: WIDTH // 2 - 1]}…"
        width = max(len(shown), len(under[place]) if under else 0, 1) + 1
        if used + width > WIDTH:
            if len(lines) == MOST:
                break
            lines.append([])
            used = 0
        lines[-1].append((place, shown, width))
        used += width
    return lines


def _write(
    axis: Any,
    top: float,
    lines: Sequence[Sequence[tuple[int, str, int]]],
    weights: Sequence[float],
    under: Sequence[str] | None,
) -> None:
    """Lines of words on their colours, from a height downwards."""
    from matplotlib import colormaps
    from matplotlib.patches import Rectangle

    limit = max(map(abs, weights), default=0.0) or 1.0
    step = 1.0 if under is None else 1.8
    for number, line in enumerate(lines):
        at, high = 0.0, top + number * step
        for place, word, width in line:
            red, green, blue, _ = colormaps["RdBu_r"](0.5 + 0.5 * weights[place] / limit)
            axis.add_patch(
                Rectangle((at + 0.1, high + 0.06), width - 0.2, 0.88, facecolor=(red, green, blue))
            )
            bright = 0.299 * red + 0.587 * green + 0.114 * blue > 0.5
            axis.text(
                at + width / 2,
                high + 0.52,
                word,
                ha="center",
                va="center",
                fontsize=9,
                family="monospace",
                color="#000000" if bright else "#ffffff",
            )
            if under is not None:
                axis.text(
                    at + width / 2,
                    high + 1.3,
                    under[place],
                    ha="center",
                    va="center",
                    fontsize=7,
                    family="monospace",
                )
            at += width

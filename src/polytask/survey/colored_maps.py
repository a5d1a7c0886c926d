"""A task about maps whose classes are colours, and the names that a file gives these."""

import re
from collections import Counter
from pathlib import Path

from polytask.data.files import files_in
from polytask.errors import DataError
from polytask.survey.lines import quoted
from polytask.tasks.colors import Color, color_of

# Files that say which colour is which class: class_dict.csv, label_colors.txt, labelmap.txt
_LEGEND = re.compile(r"class|label|colou?r|palette|legend", re.IGNORECASE)
_BYTES = r"(?P<red>\d{1,3})[\s,;]+(?P<green>\d{1,3})[\s,;]+(?P<blue>\d{1,3})"
_NAME = r"\"?(?P<name>[^\W\d][^,;:\t\"]*?)\"?"
# A line with its name first, or last.
_LINES = (
    re.compile(rf"{_NAME}[\s,;:=]+{_BYTES}[\s,;:]*"),
    re.compile(rf"{_BYTES}[\s,;:]+{_NAME}[\s,;:]*"),
)
_LONGEST = 1000  # lines of such a file
_UNLABELLED = re.compile(r"(void|unlabell?ed|unknown|ignored?|border)", re.IGNORECASE)
_BORDER = (224, 224, 192)  # what VOC draws around its objects


def colored_lines(
    column: str, counts: Counter[int], seen: str, legend: tuple[str, dict[Color, str]] | None
) -> list[str]:
    """A task of classes that are colours, with the reasons for it.

    Args:
        column: The column of maps.
        counts: How many pixels have each colour, by its code.
        seen: How many maps were looked at, in words.
        legend: A file that names colours, and these.

    Raises:
        DataError: If there are no classes to tell apart.
    """
    total = sum(counts.values())
    found = {color_of(code): counts[code] / total for code in sorted(counts)}
    file, names = legend or ("", {})
    lines = []
    if names:
        lines.append(f"  # classes are the colours that {file} names")
        other = [color for color in found if color not in names]
        unlabelled = [c for c, name in names.items() if _UNLABELLED.fullmatch(name)] + other
        if other:
            share = sum(found[color] for color in other)
            lines.append(
                f"  # {share:.2%} of the pixels in {seen} have colours that it does not name: "
                f"{', '.join(map(_hex, other[:6]))}"
            )
        kept = [color for color in names if color not in unlabelled]
        labels = [names[color] for color in kept]
    else:
        shares = ", ".join(f"{_hex(c)} {share:.1%}" for c, share in [*found.items()][:12])
        more = ", ..." if len(found) > 12 else ""
        lines.append(f"  # {len(found)} colours in {seen}: {shares}{more}")
        unlabelled = [color for color in found if color == _BORDER and len(found) > 2]
        kept = [color for color in found if color not in unlabelled]
        labels = [f"c{number}" for number in range(len(kept))]
        lines.append("  # name the classes as they are called")
    if len(kept) < 2:
        raise DataError(
            f"The maps of '{column}' have one colour ({', '.join(map(_hex, kept))}) in {seen}: "
            "there are no classes to tell apart."
        )
    settings = ""
    if unlabelled:
        numbers = [len(kept) + number for number in range(len(unlabelled))]
        settings = f", ignore: {numbers}"
        lines.append(
            f"  # pixels of {', '.join(map(_hex, unlabelled[:6]))} are taken for such that nobody "
            "labelled: these colours are the last"
        )
    colors = ", ".join(str(list(color)) for color in (*kept, *unlabelled))
    classes = ", ".join(map(quoted, labels))
    return [
        *lines,
        f"  {quoted(column)}: {{kind: segmentation, target: {{data: {quoted(column)}}}, classes: "
        f"[{classes}], colors: [{colors}]{settings}}}",
    ]


def legend_of(data: Path, counts: Counter[int]) -> tuple[str, dict[Color, str]] | None:
    """The file of a folder that names most colours of its maps, and what it names.

    Args:
        data: The folder.
        counts: The colours that maps have, by their codes.
    """
    colors = [*map(color_of, counts)]
    best: tuple[str, dict[Color, str]] | None = None
    for file in sorted(files_in(data)):
        if file.suffix.lower() not in (".csv", ".txt", ".tsv") or not _LEGEND.search(file.stem):
            continue
        names = _named_colors(file)
        hits = sum(color in names for color in colors)
        if hits > sum(color in (best[1] if best else {}) for color in colors):
            best = (file.relative_to(data).as_posix(), names)
    return best


def _named_colors(file: Path) -> dict[Color, str]:
    """Names of colours by the lines of a file; none if it is no list of such."""
    try:
        with file.open(encoding="utf-8-sig") as text:
            lines = [line.strip() for _, line in zip(range(_LONGEST), text, strict=False)]
    except (OSError, UnicodeDecodeError):
        return {}
    lines = [line for line in lines if line and not line.startswith("#")]
    found: dict[Color, str] = {}
    for number, line in enumerate(lines):
        named = _named_color(line)
        if named is None and number == 0:  # a header
            continue
        if named is None or named[0] in found or named[1] in found.values():
            return {}
        found[named[0]] = named[1]
    return found


def _named_color(line: str) -> tuple[Color, str] | None:
    """What a line says: a name and three bytes, in either order."""
    for pattern in _LINES:
        match = pattern.fullmatch(line)
        if match is not None:
            red, green, blue = (int(match[key]) for key in ("red", "green", "blue"))
            return ((red, green, blue), match["name"]) if max(red, green, blue) < 256 else None
    return None


def _hex(color: Color) -> str:
    return "#{:02x}{:02x}{:02x}".format(*color)

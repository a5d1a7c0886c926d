"""A configuration for pictures and, under the same names elsewhere, maps of their pixels."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from polytask.data.decoding import decode_map
from polytask.data.files import files_in
from polytask.data.mapped_pictures import MappedPictures
from polytask.data.media import PICTURE_SUFFIXES, FileMedia
from polytask.data.sources import Table
from polytask.data.splits import part_named
from polytask.errors import DataError
from polytask.survey.colored_maps import colored_lines, legend_of
from polytask.survey.lines import quoted
from polytask.survey.listed import lists_in
from polytask.survey.samples import spread
from polytask.tasks.colors import color_codes, is_colored

# Words in names of places that hold pictures, and maps of their pixels.
PICTURES = {"image", "images", "img", "imgs", "jpegimages", "rgb", "photos", "pictures", "input"}
MAPS = {"mask", "masks", "depth", "depths", "segmentation", "segmentations", "annotations"} | {
    *("annot", "segmentationclass", "semantic", "groundtruth", "gt", "labels", "disparity"),
    *("annotation", "label", "seg", "trimaps", "labelids"),
}
_OBJECTS = {"segmentationobject", "instance", "instances", "instanceids", "object", "objects"}
_AMOUNTS = {"depth", "depths", "disparity", "disparities", "height"}
# What the names of maps, and of pictures, have after that which they have in common.
_ENDING = re.compile(
    r"(?:[_-](?:mask|masks|label|labels|labelids|instanceids|gt|gtfine|seg|segmentation|annotation|"
    r"groundtruth|depth|disparity|l|image|img|rgb|leftimg8bit))+$",
    re.IGNORECASE,
)
_LOOKED = 400  # maps whose numbers are counted
_ROLE = 8  # maps that are opened to see whether they are any
_ALIKE = 24  # files of one name above which it is a number that every class has
_MANY = 200  # numbers of bytes above which they are amounts, not classes
_IGNORED = 255  # borders and what nobody labelled, in VOC and most sets after it
_SIZES = (64, 96, 128)

# Where pictures are, and where maps are, as `MappedPictures` has it.
Places = tuple[str, str]


@dataclass
class _Numbers:
    """What some maps hold.

    Attributes:
        looked: How many could be read.
        broken: How many could not.
        dtypes: Their kinds.
        counts: How many pixels have each number, of whole numbers.
        whole: Whether all of them are whole numbers.
        zeros: How many pixels are 0.
        pixels: How many there are.
        colored: How many are pictures of colours, whose codes `counts` has.
    """

    looked: int = 0
    broken: int = 0
    dtypes: set[str] = field(default_factory=set)
    counts: Counter[int] = field(default_factory=Counter)
    whole: bool = True
    zeros: int = 0
    pixels: int = 0
    colored: int = 0


def draft_maps(data: Path, path: str, targets: Sequence[str]) -> str | None:
    """The text of a configuration; None if the folder holds no pictures with maps.

    Args:
        data: The folder.
        path: How the configuration names it.
        targets: Columns of maps to predict; all if empty.

    Raises:
        DataError: If a target is none of the maps, or no map can be read.
    """
    places = _places(data)
    if not places:
        return None
    pictures = Counter(p for p, _ in places).most_common(1)[0][0]
    maps = _columns([m for p, m in places if p == pictures])
    left = {column: at for column, at in maps.items() if _words(at) & _OBJECTS}
    maps = {column: at for column, at in maps.items() if column not in left} or maps
    left = {column: at for column, at in left.items() if column not in maps}
    wanted = [t for t in targets if t != "label" or t in maps]
    wrong = next((t for t in wanted if t not in maps), None)
    if wrong is not None:
        raise DataError(
            f"{data} has pictures and maps of their pixels ({', '.join(maps)}), and no "
            f"'{wrong}' to predict."
        )
    maps = {column: at for column, at in maps.items() if not wanted or column in wanted}
    lists = _lists(data) if "{part}" not in pictures else None
    if lists is None and "{part}" not in pictures:
        names = MappedPictures(path=data, pictures=pictures, maps=maps).load().frame["name"]
        lists = lists_in(data, {name: name for name in names})
    table = MappedPictures(path=data, pictures=pictures, maps=maps, lists=lists).load()
    found = {column: _numbers(table.media[column]) for column in maps}
    tasks = [line for c, at in maps.items() for line in _task_lines(data, c, at, found[c])]
    return "\n".join(_lines(data, path, (pictures, lists or ""), maps, table, tasks, left))


def _lines(
    data: Path,
    path: str,
    places: Places,
    maps: Mapping[str, str],
    table: Table,
    tasks: Sequence[str],
    left: Mapping[str, str],
) -> list[str]:
    """The configuration."""
    pictures, lists = places
    at = ", ".join(f"{quoted(column)}: {quoted(place)}" for column, place in maps.items())
    parts = set() if table.fixed_split is None else set(table.fixed_split)
    lacking = [part for part in ("test", "validation") if part not in parts]
    drawn = "".join(f", {part}: 0.15" for part in lacking)
    split = f"{{fixed: true{drawn}}}" if parts else f"{{{drawn[2:]}}}"
    why = "  # folders are parts" if parts and not lists else "  # lists are parts" if lists else ""
    if parts and lacking:
        why += f"; {' and '.join(lacking)} drawn"
    epochs = int(np.clip(20_000 // max(len(table), 1), 5, 60))
    return [
        f"# Drafted from {data.name}: {len(table):,} pictures with maps of their pixels. Look it "
        "over, then: polytask check",
        *(f"# {at} is left out: its numbers tell objects apart, not classes." for at in
          left.values()),
        "sources:",
        "  data:",
        "    kind: maps",
        f"    path: {quoted(path)}",
        "    # without endings; {name} is what a picture and its maps have in common",
        f"    pictures: {quoted(pictures)}",
        f"    maps: {{{at}}}",
        *([f"    lists: {quoted(lists)}"] if lists else []),
        f"    split: {split}{why}",
        "inputs:",
        *_picture_lines(table),
        "tasks:",
        *tasks,
        "trunk: {kind: hard, backbone: {kind: unet, widths: [16, 32, 64, 128], depth: 1}}",
        "batches: {size: 8}",
        "optimizer: {kind: adamw, lr: 0.003, weight_decay: 0.01}",
        "schedule: {kind: one_cycle, warmup: 0.2}",
        f"training: {{epochs: {epochs}, clip: 5.0}}",
        "",
    ]  # fmt: skip


def _picture_lines(table: Table) -> list[str]:
    """An input of pictures, of a size near theirs and with their proportions if they have one."""
    media = table.media["image"]
    sizes = [s for item in spread(len(media), _LOOKED) if (s := media.size(item)) is not None]
    if not sizes:
        raise DataError(f"None of the pictures of {table.name} that were looked at can be read.")
    longer = float(np.median([max(size) for size in sizes]))
    side = min(_SIZES, key=lambda side: abs(side - longer))
    shapes = {round(h / w, 1) for h, w in sizes}
    fit = ""
    if len(shapes) == 1:
        height, width = (int(np.median(of)) for of in zip(*sizes, strict=True))
        scale = side / max(height, width)
        size = [max(8, round(n * scale / 8) * 8) for n in (height, width)]
        has = f"have {height} x {width}" if len(set(sizes)) == 1 else "have these proportions"
    else:
        size, fit = [side, side], ", fit: pad"
        has = "differ in proportions, so black bars fill them up, which no score counts"
    return [
        f"  # Pictures are scaled to {size[0]} x {size[1]} (height, width); those looked at {has}.",
        "  picture:",
        f"    {{kind: image, column: image, size: {size}{fit}, encoder: {{kind: pixels}}}}",
    ]


def _task_lines(data: Path, column: str, place: str, found: _Numbers) -> list[str]:
    """A task about a map's pixels, with the reason for its kind.

    Raises:
        DataError: If no class, or but one, is known.
    """
    seen = f"{found.looked} maps looked at"
    if found.broken:
        seen += f" ({found.broken} others cannot be read)"
    if found.colored:
        return colored_lines(column, found.counts, seen, legend_of(data, found.counts))
    target = f"target: {{data: {quoted(column)}}}"
    amounts = _words(place) & _AMOUNTS
    if not found.whole or len(found.counts) > _MANY or (amounts and len(found.counts) > 2):
        unknown, why = "", f"  # {seen} hold many numbers ({', '.join(sorted(found.dtypes))})"
        share = found.zeros / max(found.pixels, 1)
        if share > 0:
            unknown = ", unknown: 0"
            why += f"; {share:.1%} are 0, which is taken for no measurement"
        return [why, f"  {quoted(column)}: {{kind: dense_regression, {target}{unknown}}}"]
    numbers = sorted(found.counts)
    kept = [n for n in numbers if n != _IGNORED]
    ignored = _IGNORED in numbers and len(kept) > 1 and _gapless(kept)
    kept = kept if ignored else numbers
    if len(kept) < 2:
        raise DataError(
            f"The maps of '{column}' hold one number ({', '.join(map(str, numbers))}) in {seen}: "
            "there are no classes to tell apart."
        )
    total = sum(found.counts.values())
    shares = ", ".join(f"{n} {found.counts[n] / total:.1%}" for n in numbers[:12])
    lines = [f"  # numbers in {seen}: {shares}{', ...' if len(numbers) > 12 else ''}"]
    settings = ""
    if _gapless(kept) and kept[0] == 0:
        kept = list(range(kept[-1] + 1))  # a rare class may be in no map that was looked at
    else:
        settings += f", numbers: {kept}"
        lines.append("  # the numbers are not 0, 1, and so on: they are listed in their order")
    if ignored:
        lines.append(f"  # {_IGNORED} is taken for pixels that nobody labelled")
        settings += f", ignore: [{_IGNORED}]"
    elif _IGNORED in kept:
        settings += ", ignore: []"
    lines.append("  # name the classes as they are called")
    names = ", ".join(f"c{n}" for n in kept)
    return [
        *lines,
        f"  {quoted(column)}: {{kind: segmentation, {target}, classes: [{names}]{settings}}}",
    ]


def _gapless(numbers: Sequence[int]) -> bool:
    """Whether numbers go on from 0 or 1, but for a few that may be in other maps."""
    return numbers[0] in (0, 1) and numbers[-1] < 1.5 * len(numbers) + 1


def _numbers(media: object) -> _Numbers:
    """What a sample of maps holds.

    Raises:
        DataError: If none of them can be read.
    """
    assert isinstance(media, FileMedia)
    found, why = _Numbers(), ""
    there = [item for item, path in enumerate(media.paths) if path is not None]
    for at in spread(len(there), _LOOKED):
        try:
            array = media.array(there[at])
        except (DataError, OSError) as error:
            found.broken += 1
            why = why or f"{media.where(there[at])}: {error}"
            continue
        found.looked += 1
        if is_colored(array):
            found.colored += 1
            array = color_codes(array)
        found.dtypes.add(str(array.dtype))
        found.pixels += array.size
        found.zeros += int((array == 0).sum())
        found.whole &= array.dtype.kind in "bui"
        if found.whole and len(found.counts) <= _MANY:
            values, counts = np.unique(array.astype(np.int64), return_counts=True)
            found.counts.update(dict(zip(values.tolist(), counts.tolist(), strict=True)))
    if not found.looked:
        raise DataError(f"None of the {found.broken} maps looked at can be read: {why}.")
    if found.colored not in (0, found.looked):
        raise DataError(
            f"{found.colored} of {found.looked} maps looked at are pictures of colours, and the "
            "others hold numbers: save all of them in one way."
        )
    if found.colored and len(found.counts) > _MANY:
        raise DataError(
            f"The maps looked at ({found.looked}) are pictures of more than {_MANY} colours, where "
            "a class would have one: were they scaled or saved as JPEG, which mixes colours?"
        )
    return found


def _places(data: Path) -> list[Places]:
    """Places of pictures and of their maps, the most frequent first; of pictures only those that
    have a map."""
    groups: dict[str, list[Path]] = {}
    for file in sorted(files_in(data)):
        name = file.relative_to(data)
        if not name.name.startswith(".") and name.suffix.lower() in (*PICTURE_SUFFIXES, ".npy"):
            groups.setdefault(_ENDING.sub("", name.stem), []).append(name)
    counts: Counter[Places] = Counter()
    examples: dict[Places, list[Places]] = {}
    for stem, names in groups.items():
        for one in names if len(names) <= _ALIKE else ():
            for other in names:
                pair = None if one == other else _templates(stem, one, other)
                if pair is not None:
                    counts[pair] += 1
                    examples.setdefault(pair, []).append((str(data / one), str(data / other)))
    most = max(counts.values(), default=0)
    return [
        pair
        for pair, count in counts.most_common()
        if 4 * count >= most and _are_maps(pair, examples[pair])
    ]


def _are_maps(places: Places, examples: Sequence[Places]) -> bool:
    """Whether files of one place are pictures, and those of the other maps of their pixels."""
    picture, map_ = (_words(place) for place in places)
    named = bool(map_ & (MAPS | _OBJECTS)) and not picture & (MAPS | _OBJECTS)
    if not named and not (picture & PICTURES and not map_ & PICTURES):
        return False
    return all(
        _flat(Path(examples[k][1]), colored=named) and (named or not _flat(Path(examples[k][0])))
        for k in spread(len(examples), _ROLE)
    )


def _flat(file: Path, *, colored: bool = False) -> bool:
    """Whether a file holds a number for every pixel, or one of few colours; of one that cannot be
    read, its name says."""
    try:
        array = decode_map(file.read_bytes())
        if colored and is_colored(array):
            return len(np.unique(color_codes(array))) <= _MANY
        return array.ndim == 2
    except (DataError, OSError):
        return file.suffix.lower() not in (".jpg", ".jpeg")


def _templates(stem: str, one: Path, other: Path) -> Places | None:
    """Where two files of one name are, as `MappedPictures` has it; None if that is not known."""
    heads = [list(one.parent.parts), list(other.parent.parts)]
    tail: list[str] = []
    while all(heads) and heads[0][-1] == heads[1][-1]:
        tail.insert(0, heads[0].pop())
        heads[1].pop()
    part = next((k for k, of in enumerate(tail) if part_named(of)), None)
    if part == 0:
        heads, tail = [[*of, "{part}"] for of in heads], tail[1:]
    else:
        heads = _with_parts(*heads)
    ends = [name.stem.removeprefix(stem) for name in (one, other)]
    # Folders in common that are in no place are a part of the name.
    places = ["/".join([*of, f"{{name}}{end}"]) for of, end in zip(heads, ends, strict=True)]
    return None if places[0] == places[1] else (places[0], places[1])


def _with_parts(one: list[str], other: list[str]) -> list[list[str]]:
    """Folders with a part in place of those that name one, in both: `train` and `trainannot`."""
    for k, (a, b) in enumerate(zip(one, other, strict=False)):
        for text in (a, b):
            begins = re.match("[A-Za-z]+?(?=annot|mask|label|gt|[^A-Za-z]|$)", text)
            part = begins[0] if begins and part_named(begins[0]) else None
            if part and a.startswith(part) and b.startswith(part):
                found = [[*of] for of in (one, other)]
                for of, whole in zip(found, (a, b), strict=True):
                    of[k] = "{part}" + whole.removeprefix(part)
                return found
    return [one, other]


def _columns(places: Sequence[str]) -> dict[str, str]:
    """A column's name for each place of maps."""
    found: dict[str, str] = {}
    for place in places:
        words = [w for w in re.split(r"[^A-Za-z0-9]+", place) if w and w not in ("name", "part")]
        known = [w for w in words if w.lower() in MAPS | _OBJECTS]
        name = (known or words or ["mask"])[-1].lower()
        name = name.removesuffix("s") if name in _AMOUNTS else "mask" if name in MAPS else name
        name = name if re.match("[a-z]", name) else f"map-{name}"
        while name in (*found, "image", "path", "name"):
            name += "-2"
        found[name] = place
    return found


def _lists(data: Path) -> str | None:
    """Where names of parts are listed, if they are as in VOC: below `ImageSets`."""
    for folder in sorted(data.glob("**/ImageSets/*")):
        parts = {part_named(file.stem) for file in folder.glob("*.txt")} - {None}
        if "train" in parts and len(parts) > 1 and _words(folder.name) & MAPS:
            return f"{folder.relative_to(data).as_posix()}/{{part}}.txt"
    return None


def _words(text: str) -> set[str]:
    return set(re.split(r"[\W_\d]+", text.lower().replace("{part}", " ").replace("{name}", " ")))

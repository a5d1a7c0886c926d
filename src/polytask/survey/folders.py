"""What is known about a folder of pictures or sounds."""

from collections.abc import Sequence
from pathlib import Path

from polytask.data.class_folders import ClassFolders
from polytask.data.sources import Media
from polytask.errors import DataError
from polytask.survey.drafted import Drafted
from polytask.survey.guesses import Column, guess_target
from polytask.survey.lines import quoted
from polytask.survey.samples import picture_size, sound_input


def draft_folders(data: Path, path: str, targets: Sequence[str], names: Sequence[str]) -> Drafted:
    """What is known, for the text of a configuration.

    Args:
        data: The folder.
        path: How the configuration names it.
        targets: Nothing, or `label`.
        names: What the parts of the files' names say.

    Raises:
        DataError: If there are no class folders, or something else is to be predicted.
    """
    table = ClassFolders(path=data).load()
    ((column, media),) = table.media.items()
    things = "sounds" if media.kind == "sound" else "pictures"
    if list(targets) not in ([], ["label"]):
        raise DataError(
            f"{data} has no table, only {things} in "
            f"folders, whose names are the 'label'. Found {', '.join(targets)} under --targets. If "
            "names of files say them, write a table with a line for each file: its path, and a "
            "column for each label."
        )
    fixed = table.fixed_split
    return Drafted(
        name=data.name,
        what=f"{len(table):,} {things} in class folders",
        table=table,
        goals=[guess_target("label", table.cells(["label"])[:, 0].tolist())],
        columns=[Column(column, "sound" if media.kind == "sound" else "image", "a file")],
        source=["    kind: folders", f"    path: {quoted(path)}"],
        media_input=_media_input(media, column),
        parts=() if fixed is None else set(fixed),
    )


def _media_input(media: Media, column: str) -> list[str]:
    if media.kind == "sound":
        return sound_input(media, column)
    size = picture_size(media)
    return [
        f"  picture:  # scaled to {size}x{size}; pictures are about that large",
        f"    {{kind: image, column: {column}, size: {size}, pool: mean,",
        "     body: {kind: residual, widths: [32, 64, 128]}}",
    ]

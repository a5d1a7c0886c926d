"""Pictures of another source, turned, and labelled by their turn.

Letters: N pictures of the other source.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from polytask.data.places import content_key
from polytask.data.sources import Media, MediaKind, Source, Table
from polytask.errors import ConfigError, DataError, nearest, require

DEGREES = ("0", "90", "180", "270")
_VERSION = 1


class QuarterTurns(Source):
    """The pictures of another source by 0 to 3 quarter turns (Gidaris et al. 2018, 1803.07728).

    To tell by how much a picture was turned a network has to see what is on it: a task whose
    labels cost nothing. The authors show all four turns of a picture in one step; here each is a
    row of its own. Parts are those of the other source where it has a fixed split.

    Columns: those of the other source, with its pictures turned, and `rotation` (degrees,
    clockwise: '0', '90', '180', '270').

    Args:
        others: All sources by name.
        source: The name of the other source.
        column: Its column of pictures.
        each: In how many of the four turns each picture is shown, 1 to 4.
        seed: Decides which, where they are fewer than four.
    """

    def __init__(
        self,
        others: Mapping[str, Source],
        *,
        source: str,
        column: str = "image",
        each: int = 4,
        seed: int = 0,
    ) -> None:
        if not 1 <= each <= 4:
            raise ConfigError(f"`each` should be 1 to 4. Found {each}.")
        self.others = others
        self.source, self.column, self.each, self.seed = source, column, each, seed

    def load(self) -> Table:
        """Loads the other source; pictures are turned when they are decoded."""
        pandas = require("pandas", "train")
        if isinstance(self.others.get(self.source, self), QuarterTurns):
            raise ConfigError(
                f"`source` should name another source that turns no pictures. Found "
                f"'{self.source}'. {nearest(self.source, self.others)}"
            )
        table = self.others[self.source].load()
        table.check_column(self.column, "A source of turned pictures", kind="image")
        if "rotation" in table.columns:
            raise DataError(f"'{self.source}' has a column 'rotation' already. Rename it.")
        media = table.media[self.column]
        item, turns = drawn_turns(len(table), self.each, self.seed)

        frame = table.frame.iloc[item].reset_index(drop=True)
        frame["rotation"] = np.array(DEGREES, dtype=object)[turns]
        split = table.fixed_split
        if split is not None:
            split = pandas.Series(split.to_numpy()[item])

        def locate(row: int) -> str:
            return f"{table.describe(int(item[row]))} turned by {DEGREES[turns[row]]} degrees"

        key = content_key(["turns", _VERSION, table.fingerprint, self.column, self.each, self.seed])
        turned = {self.column: TurnedMedia(media, item, turns)}
        return Table(f"{table.name} turned", frame, turned, key, locate, split, unfit=table.unfit)


class TurnedMedia(Media):
    """Pictures of another column, turned clockwise.

    Args:
        media: The other column.
        item: `[rows]`, which of its pictures each one is.
        turns: `[rows]`, by how many quarters.
    """

    kind: MediaKind = "image"

    def __init__(self, media: Media, item: NDArray[np.int64], turns: NDArray[np.int64]) -> None:
        self.media, self.item, self.turns = media, item, turns

    def __len__(self) -> int:
        return len(self.item)

    def where(self, item: int) -> str:
        """Where the picture is that was turned."""
        return self.media.where(int(self.item[item]))

    def picture(self, item: int, *, white: int | None = None) -> NDArray[np.uint8]:
        """One picture, `[H, W, 3]`."""
        whole = int(self.item[item])
        pixels = self.media.picture(whole, white=white)
        if whole in self.media.noted:
            self.noted[item] = self.media.noted[whole]
        turned: NDArray[np.uint8] = np.rot90(pixels, -int(self.turns[item]))
        return turned


def drawn_turns(pictures: int, each: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Per row its picture and its quarter turns, `[N * each]`; no picture has one twice."""
    order = np.random.default_rng([seed, _VERSION]).permuted(
        np.tile(np.arange(4), (pictures, 1)), axis=1
    )
    return np.repeat(np.arange(pictures), each), order[:, :each].ravel()

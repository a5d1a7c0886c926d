"""Two pictures laid over each other, each with a label of its own: Multi-MNIST and its like.

Letters: N pictures of an archive, H x W pixels.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask.data.arrays import ArrayFile
from polytask.data.media import ArrayMedia
from polytask.data.places import content_key
from polytask.data.sources import Source, Table
from polytask.errors import ConfigError, DataError, require

_VERSION = 1
_COLUMNS = {"image": "{part}_x", "label": "{part}_y"}


class Overlaid(Source):
    """Pictures of two classes at once: one at the upper left, one at the lower right.

    Both are laid on a canvas that is larger than they are by `offset`, the brighter pixel shows,
    and the canvas is scaled back to their size (Sabour et al. 2017 for the idea, Sener and Koltun
    2018 for the two tasks; with two archives the Multi-Fashion+MNIST of Lin et al. 2019). The
    picture at the left is each of its archive's once; its partner at the right is drawn at random
    from the same part, so that no picture of the test part is ever trained on.

    Columns: `image`, `left_image` and `right_image` (each alone at its place), `left` and `right`
    (labels). The parts of the archive are the fixed split.

    Args:
        path: A `.npz` archive with `train_x` (`[N, H, W]` of uint8), `train_y`, `test_x` and
            `test_y`, such as MNIST's.
        right: The archive of the pictures at the right. The same if None.
        count: How many pictures of the training part. 0 for one per picture of the archive.
        offset: Pixels by which the two are apart, down and to the right.
        seed: Decides the pairs.
    """

    def __init__(
        self,
        *,
        path: Path,
        right: Path | None = None,
        count: int = 0,
        offset: int = 8,
        seed: int = 0,
    ) -> None:
        if count < 0 or offset < 0:
            raise ConfigError(
                f"`count` and `offset` should be at least 0. Found {count} and {offset}."
            )
        self.path = Path(path)
        self.right = self.path if right is None else Path(right)
        self.count, self.offset, self.seed = count, offset, seed

    def load(self) -> Table:
        """Draws the pairs; pictures are laid over each other when they are decoded."""
        pandas = require("pandas", "train")
        left = ArrayFile(path=self.path, columns=_COLUMNS).load()
        right = ArrayFile(path=self.right, columns=_COLUMNS).load()
        pairs = self._pairs(left, right)
        first, second = left.media["image"], right.media["image"]
        if first.picture(0).shape != second.picture(0).shape:
            raise DataError(
                f"Pictures of {self.path.name} and {self.right.name} should have one size. Found "
                f"{first.picture(0).shape[:2]} and {second.picture(0).shape[:2]}."
            )
        size, offset = first.picture(0).shape[0], self.offset

        def laid(item: int, places: tuple[bool, bool]) -> NDArray[np.uint8]:
            a, b = (m.picture(int(k)) for m, k in zip((first, second), pairs[item], strict=True))
            canvas = np.zeros((a.shape[0] + offset, a.shape[1] + offset, 3), np.uint8)
            if places[0]:
                canvas[:size, : a.shape[1]] = a
            if places[1]:
                here = canvas[offset:, offset:]
                np.maximum(here, b, out=here)
            return scaled(canvas, a.shape[0], a.shape[1])

        media = {
            "image": ArrayMedia(len(pairs), lambda item: laid(item, (True, True))),
            "left_image": ArrayMedia(len(pairs), lambda item: laid(item, (True, False))),
            "right_image": ArrayMedia(len(pairs), lambda item: laid(item, (False, True))),
        }
        frame = pandas.DataFrame(
            {
                "left": left.frame["label"].to_numpy()[pairs[:, 0]],
                "right": right.frame["label"].to_numpy()[pairs[:, 1]],
            }
        )
        assert left.fixed_split is not None
        split = left.fixed_split.iloc[pairs[:, 0]].reset_index(drop=True)
        pillow = require("PIL", "image").__version__
        sources = (left.fingerprint, right.fingerprint)
        settings = (self.count, self.offset, self.seed)
        key = content_key(["overlaid", _VERSION, *sources, *settings, pillow])

        def where(row: int) -> str:
            return f"{left.describe(int(pairs[row, 0]))} over {right.describe(int(pairs[row, 1]))}"

        return Table(self.path.name, frame, dict(media), key, where, split)

    def _pairs(self, left: Table, right: Table) -> NDArray[np.int64]:
        """`[N, 2]`, the row of the left and of the right archive of each picture."""
        assert left.fixed_split is not None and right.fixed_split is not None
        pairs = []
        for number, part in enumerate(left.fixed_split.unique()):
            rng = np.random.default_rng([self.seed, _VERSION, number])
            rows = np.flatnonzero(left.fixed_split.to_numpy() == part)
            others = np.flatnonzero(right.fixed_split.to_numpy() == part)
            if not len(others):
                raise DataError(f"{self.right.name} has no {part} part, and {self.path.name} has.")
            if part == "train" and self.count:
                if self.count > len(rows):
                    raise ConfigError(
                        f"`count` is {self.count}, and {self.path.name} has {len(rows)} pictures "
                        "to train on."
                    )
                rows = np.sort(rng.permutation(rows)[: self.count])
            pairs.append(np.stack([rows, rng.choice(others, len(rows))], axis=1))
        return np.concatenate(pairs)


def scaled(picture: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """A picture `[h, w, 3]` at another size, bilinear with antialiasing."""
    if picture.shape[:2] == (height, width):
        return picture
    image: Any = require("PIL.Image", "image")
    small = image.fromarray(picture).resize((width, height), image.Resampling.BILINEAR)
    return np.asarray(small)

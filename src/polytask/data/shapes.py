"""Made-up pictures for the first walk: coloured shapes with a letter on each."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask.data.media import ArrayMedia
from polytask.data.places import content_key
from polytask.data.sources import Source, Table
from polytask.errors import ConfigError, require

COLORS = {
    "red": (205, 45, 45),
    "green": (50, 165, 65),
    "blue": (50, 85, 205),
    "yellow": (220, 200, 50),
    "purple": (140, 60, 175),
    "orange": (230, 125, 35),
}
SHAPES = ("circle", "square", "triangle", "star", "cross")
LETTERS = "AEHKRSTX"
_VERSION = 1
_SCALE = 2  # drawn larger and scaled down, for soft edges


class Shapes(Source):
    """Pictures of one coloured shape with a letter on it; place, size, turn, shade and noise vary.

    Columns: `image`, `color` (6), `shape` (5), `letter` (8).

    Args:
        count: How many pictures.
        size: Height and width in pixels.
        missing: The share of labels that are blank, in each column by itself.
        seed: Decides everything.
    """

    def __init__(
        self, *, count: int = 6000, size: int = 32, missing: float = 0.2, seed: int = 0
    ) -> None:
        if count < 1 or size < 16 or not 0 <= missing < 1:
            raise ConfigError(
                "`count` should be at least 1, `size` at least 16 and `missing` in 0..1. Found "
                f"{count}, {size} and {missing}."
            )
        self.count, self.size, self.missing, self.seed = count, size, missing, seed

    def load(self) -> Table:
        """Draws the labels; the pictures are drawn when they are decoded."""
        pandas = require("pandas", "train")
        rng = np.random.default_rng([self.seed, _VERSION])
        names = {"color": list(COLORS), "shape": list(SHAPES), "letter": list(LETTERS)}
        codes = {c: rng.integers(len(values), size=self.count) for c, values in names.items()}
        columns: dict[str, NDArray[Any]] = {}
        for column, values in names.items():
            cells = np.array(values, dtype=object)[codes[column]]
            cells[rng.random(self.count) < self.missing] = None
            columns[column] = cells

        def pixels(item: int) -> NDArray[np.uint8]:
            return draw(
                names["color"][codes["color"][item]],
                names["shape"][codes["shape"][item]],
                names["letter"][codes["letter"][item]],
                size=self.size,
                rng=np.random.default_rng([self.seed, _VERSION, item]),
            )

        pillow = require("PIL", "image").__version__
        key = content_key(
            ["shapes", _VERSION, self.count, self.size, self.missing, self.seed, pillow]
        )
        return Table(
            "shapes",
            pandas.DataFrame(columns),
            {"image": ArrayMedia(self.count, pixels)},
            key,
            lambda row: f"made-up picture {row + 1}",
        )


def draw(
    color: str, shape: str, letter: str, *, size: int, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """One picture, `[size, size, 3]`."""
    image, image_draw = require("PIL.Image", "image"), require("PIL.ImageDraw", "image")
    side = size * _SCALE
    radius = side * rng.uniform(0.34, 0.46)
    centre = side / 2 + rng.uniform(-1, 1, 2) * (side / 2 - radius) * 0.9
    ground = rng.integers(40, 216) + rng.integers(-30, 31, 3)
    paint = np.clip(np.array(COLORS[color]) * rng.uniform(0.75, 1.1) + rng.normal(0, 12, 3), 0, 255)
    canvas = image.new("RGB", (side, side), _rgb(ground))
    pen = image_draw.Draw(canvas)
    points = outline(shape, radius, rng.uniform(-0.35, 0.35)) + centre
    pen.polygon([tuple(p) for p in points.tolist()], fill=_rgb(paint))
    dark = bool(rng.integers(2))
    ink = rng.integers(0, 60) if dark else rng.integers(200, 256)
    mask = _letter(letter, round(radius * rng.uniform(0.85, 1.05)), rng.uniform(-20, 20))
    corner = centre + rng.uniform(-1, 1, 2) * radius * 0.08 - np.array(mask.size) / 2
    canvas.paste((int(ink),) * 3, tuple(int(v) for v in np.rint(corner)), mask)
    small = np.asarray(canvas.resize((size, size), image.Resampling.BOX), dtype=np.float32)
    noisy = small + rng.standard_normal(small.shape, dtype=np.float32) * rng.uniform(8, 22)
    return np.clip(noisy, 0, 255).astype(np.uint8)


def outline(shape: str, radius: float, turn: float) -> NDArray[np.float64]:
    """The corners of a shape around the origin, `[corners, 2]`, turned by radians."""
    if shape == "cross":
        a, b = radius * 0.42, radius
        steps = [(-a, -b), (a, -b), (a, -a), (b, -a), (b, a), (a, a)]
        points = np.array(steps + [(-x, -y) for x, y in steps])
    else:
        count = {"circle": 40, "square": 4, "triangle": 3, "star": 10}[shape]
        angle = np.arange(count) * 2 * math.pi / count - math.pi / 2
        reach = np.full(count, radius)
        if shape == "square":
            angle += math.pi / 4
        if shape == "star":
            reach[1::2] *= 0.55
        points = np.stack([np.cos(angle) * reach, np.sin(angle) * reach], axis=1)
    c, s = math.cos(turn), math.sin(turn)
    turned: NDArray[np.float64] = points @ np.array([[c, s], [-s, c]])
    return turned


def _letter(letter: str, height: int, degrees: float) -> Any:
    """A mask of a letter, turned."""
    image, image_draw = require("PIL.Image", "image"), require("PIL.ImageDraw", "image")
    font = require("PIL.ImageFont", "image").load_default(size=max(height, 8))
    mask = image.new("L", (height * 2, height * 2))
    image_draw.Draw(mask).text(
        (height, height), letter, fill=255, font=font, anchor="mm", stroke_width=1
    )
    return mask.rotate(degrees, resample=image.Resampling.BILINEAR)


def _rgb(values: NDArray[Any]) -> tuple[int, ...]:
    return tuple(int(v) for v in np.clip(values, 0, 255))

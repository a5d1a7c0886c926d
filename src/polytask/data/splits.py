"""Which rows train, which validate, which test.

Parts are decided once, from a seed; a saved run keeps the row numbers.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from polytask.data.media import FileMedia
from polytask.data.sources import Table
from polytask.errors import ConfigError, DataError, require
from polytask.tasks.labels import composed, label_text

Rows = NDArray[np.int64]

PartName = Literal["train", "validation", "test"]
PARTS = ("train", "validation", "test")
_SYNONYMS = {
    "train": "train",
    "training": "train",
    "tr": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "development": "validation",
    "test": "test",
    "testing": "test",
    "eval": "test",
    "evaluation": "test",
    "holdout": "test",
}


_YEAR = re.compile(r"(?<=[a-z])(19|20)\d\d$")  # train2017


def part_named(text: str) -> str | None:
    """The part that a text names, by a common synonym too; None if it names none."""
    return _SYNONYMS.get(_YEAR.sub("", text.strip().lower()))


def _by_value(parts: Mapping[PartName, str | Sequence[str]]) -> dict[str, str]:
    """The part that each value stands for.

    Raises:
        ConfigError: If one stands for two.
    """
    found: dict[str, str] = {}
    for part, values in parts.items():
        for value in [values] if isinstance(values, str) else values:
            if found.setdefault(value, part) != part:
                raise ConfigError(
                    f"`parts` has '{value}' under {found[value]} and under {part}. Leave one out."
                )
    return found


def part_begun(text: str) -> str | None:
    """The part that a folder's name begins with, as `train-clean-100` does; None if with none."""
    return part_named(re.split(r"[-_. ]", text.strip())[0])


class Split:
    """How the rows of a source are divided.

    Without `column` and `fixed`, `test` and `validation` are shares of all rows and the rest
    trains. With one of them, a part that it names is taken as named; a part that it does not name
    is taken from the training rows, as its share of all rows.

    Args:
        test: Share of the test part, 0 for none.
        validation: Share of the validation part, 0 for none.
        stratify: A column whose values are spread evenly over the parts. Numbers with more than 20
            values are spread by tenths.
        group: A column whose values are never in two parts, such as the speaker, or a picture that
            several rows are about. Shares are then met as nearly as whole groups allow.
        column: A column that names each row's part (`train`, `validation`, `test`, or a common
            synonym such as `val` or `dev`).
        parts: Which values of that column stand for which part, if they are others:
            `{train: 0, validation: 1, test: [2, 3]}`.
        fixed: Use the split that the data set's publisher made.
        seed: Decides the draw; the run's own seed if None.
    """

    def __init__(
        self,
        *,
        test: float = 0.15,
        validation: float = 0.15,
        stratify: str | None = None,
        group: str | None = None,
        column: str | None = None,
        parts: dict[PartName, str | list[str]] | None = None,
        fixed: bool = False,
        seed: int | None = None,
    ) -> None:
        if not (min(test, validation) >= 0 and test + validation < 1):
            raise ConfigError(
                "`test` and `validation` should be shares of at least 0 that leave rows to train "
                f"on. Found test={test}, validation={validation}."
            )
        if column is not None and fixed:
            raise ConfigError("`column` and `fixed` exclude each other. Leave one of them out.")
        self.test, self.validation = test, validation
        self.stratify, self.group, self.column = stratify, group, column
        self.fixed, self.seed = fixed, seed
        self.parts = _by_value(parts) if parts is not None else None
        if parts is not None and column is None:
            raise ConfigError("`parts` says what a `column` means. Name the column, too.")

    def assign(self, table: Table, seed: int) -> dict[str, Rows]:
        """The row numbers of every part, ascending; a part with share 0 may be empty.

        Args:
            table: The rows.
            seed: Used where the split has no seed of its own.

        Raises:
            DataError: If a column is missing or says something else than a part, the source has no
                split of its own, or a part with a share above 0 would be empty.
        """
        rng = np.random.default_rng(seed if self.seed is None else self.seed)
        parts = self._named(table)
        pool = parts["train"]
        if not len(pool):
            raise DataError(
                f"No row of {table.name} is to train on: {self._by} has all of them in other "
                "parts. Name some 'train'."
            )
        wanted = {
            part: round(share * len(table))
            for part, share in (("test", self.test), ("validation", self.validation))
            if len(parts[part]) == 0 and share > 0
        }
        drawn = self._draw(table, pool, wanted, rng) if wanted else {}
        taken = np.concatenate([*drawn.values(), np.zeros(0, np.int64)])
        parts |= drawn | {"train": np.setdiff1d(pool, taken)}
        for part, share in (("train", 1.0), ("test", self.test), ("validation", self.validation)):
            if share > 0 and len(parts[part]) == 0:
                raise DataError(
                    f"The {part} part of {table.name} is empty: it has {len(table)} rows"
                    + (f" in {len(set(self._groups(table).tolist()))} groups" if self.group else "")
                    + f", and {len(pool)} of them to divide. Bring more rows, or change the shares "
                    "(0 for a part that is not wanted)."
                )
        self._require_whole_groups(table, parts)
        return {part: np.sort(parts[part]).astype(np.int64) for part in PARTS}

    @property
    def _by(self) -> str:
        """What names the parts."""
        return "the publisher's split" if self.column is None else f"column '{self.column}'"

    def _require_whole_groups(self, table: Table, parts: Mapping[str, Rows]) -> None:
        """Make sure that parts that something else names keep groups whole."""
        if self.group is None:
            return
        groups, seen = self._groups(table), dict[int, tuple[str, int]]()
        for part, rows in parts.items():
            for row in rows.tolist():
                first = seen.setdefault(int(groups[row]), (part, row))
                if first[0] != part:
                    value = self._group_cells(table)[row]
                    raise DataError(
                        f"{table.describe(row)} is in the {part} part by {self._by}, and "
                        f"{table.describe(first[1])} in the {first[0]} part, though both have "
                        f"{value!r} in the column '{self.group}' of the split's `group`. Mend the "
                        "parts, or leave `group` out."
                    )

    def _named(self, table: Table) -> dict[str, Rows]:
        """The parts that a column or the publisher names; else everything trains."""
        if self.column is not None:
            table.check_column(self.column, "the split")
            names = table.cells([self.column])[:, 0]
        elif self.fixed:
            if table.fixed_split is None:
                raise DataError(
                    f"{table.name} comes without a split of its own. Leave `fixed` out, or name a "
                    "`column` that holds the parts."
                )
            names = table.fixed_split.astype(object).to_numpy()
        else:
            names = np.full(len(table), "train", dtype=object)
        unique, inverse = np.unique(
            np.array(["" if n is None else label_text(n) for n in names], str), return_inverse=True
        )
        named = part_named if self.parts is None else self.parts.get
        known = [named(u) for u in unique.tolist()]
        if None in known:
            bad = known.index(None)
            row = int(np.flatnonzero(inverse == bad)[0])
            wanted = "train, validation or test" if self.parts is None else ", ".join(self.parts)
            hint = ""
            if names[row] is not None:
                hint = " Say under `parts` what stands for which part, if it is not its name."
            elif table.joined:
                hint = " A row without partner in a joined table has blanks there."
            raise DataError(
                f"{table.describe(row)}: {self._by} should name a part ({wanted}). Found "
                f"{str(unique[bad])!r}.{hint}"
            )
        codes = np.array([PARTS.index(str(k)) for k in known], dtype=np.int64)[inverse]
        return {part: np.flatnonzero(codes == k) for k, part in enumerate(PARTS)}

    def _draw(
        self, table: Table, pool: Rows, wanted: Mapping[str, int], rng: np.random.Generator
    ) -> dict[str, Rows]:
        strata = self._strata(table)[pool]
        if self.group is not None:
            chosen = draw_groups(self._groups(table)[pool], strata, wanted, rng)
        else:
            chosen = draw_rows(strata, wanted, rng)
        return {part: pool[rows] for part, rows in chosen.items()}

    def _groups(self, table: Table) -> NDArray[np.int64]:
        cells = self._group_cells(table)
        blank = next((row for row, cell in enumerate(cells) if cell is None), None)
        if blank is not None:
            raise DataError(f"{table.describe(blank)}: the split's group '{self.group}' is blank.")
        names = [composed(str(cell)) for cell in cells]
        return np.unique(np.array(names, str), return_inverse=True)[1].astype(np.int64)

    def _group_cells(self, table: Table) -> Sequence[Any]:
        """Whose each row is; of a column of pictures or sounds in files, their paths."""
        assert self.group is not None
        media = table.media.get(self.group)
        if isinstance(media, FileMedia) and media.windows is None:
            return [None if path is None else str(path) for path in media.paths]
        table.check_column(self.group, "the split's group")
        cells: list[Any] = table.cells([self.group])[:, 0].tolist()
        return cells

    def _strata(self, table: Table) -> NDArray[np.int64]:
        if self.stratify is None:
            return np.zeros(len(table), np.int64)
        table.check_column(self.stratify, "the split's stratify")
        cells: list[Any] = table.cells([self.stratify])[:, 0].tolist()
        several = (list, tuple, dict, set, np.ndarray)
        wrong = next((row for row, cell in enumerate(cells) if isinstance(cell, several)), None)
        if wrong is not None:
            raise DataError(
                f"{table.describe(wrong)}: the split's stratify '{self.stratify}' should hold one "
                f"value for each row. Found {str(cells[wrong])[:60]}."
            )
        values = {c for c in cells if c is not None}
        if len(values) > 20 and all(isinstance(v, (int, float)) for v in values):
            numbers = np.array([np.nan if c is None else float(c) for c in cells])
            edges = np.nanquantile(numbers, np.linspace(0, 1, 11)[1:-1])
            return np.where(np.isnan(numbers), 10, np.searchsorted(edges, numbers)).astype(np.int64)
        texts = np.array(["" if c is None else f"={composed(str(c))}" for c in cells], dtype=str)
        return np.unique(texts, return_inverse=True)[1].astype(np.int64)


def draw_rows(
    strata: NDArray[np.int64], wanted: Mapping[str, int], rng: np.random.Generator
) -> dict[str, Rows]:
    """Draws rows so that every stratum gives each part its share, rounded up or down.

    Args:
        strata: `[N]` the stratum of each row.
        wanted: How many rows each part gets; together at most N.
        rng: The draw.

    Returns:
        Per part the offsets of its rows.
    """
    sizes = np.bincount(strata)
    counts = round_table(sizes, list(wanted.values()), rng)  # [strata, parts]
    order = rng.permutation(len(strata))
    order = order[np.argsort(strata[order], kind="stable")]
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    result: dict[str, list[Rows]] = {part: [np.zeros(0, np.int64)] for part in wanted}
    for stratum, start in enumerate(starts.tolist()):
        for k, part in enumerate(wanted):
            result[part].append(order[start : start + counts[stratum, k]])
            start += int(counts[stratum, k])
    return {part: np.concatenate(rows) for part, rows in result.items()}


def round_table(
    sizes: NDArray[np.int64], wanted: list[int], rng: np.random.Generator
) -> NDArray[np.int64]:
    """Rounds the table `sizes x share of each part` to whole rows, keeping its sums.

    Every entry is rounded up or down, never further; columns add up to `wanted`. That such a
    rounding exists is a property of transportation problems, whose corners are whole numbers; a
    random objective picks a corner.

    Args:
        sizes: `[S]` rows per stratum.
        wanted: Rows per part, `P` numbers that add up to at most `sizes.sum()`.
        rng: Picks among the roundings.

    Returns:
        `[S, P]` whole numbers.
    """
    total = int(sizes.sum())
    if len(sizes) == 1 or total == 0:
        return np.tile(np.array(wanted, np.int64), (len(sizes), 1))
    columns = [*wanted, total - sum(wanted)]
    exact = sizes[:, None] * np.array(columns)[None, :] / total  # [S, P + 1]
    low = np.floor(exact + 1e-9)
    high = np.ceil(exact - 1e-9)
    count, width = exact.shape
    sparse = require("scipy.sparse", "train")
    sums = sparse.vstack(
        [
            sparse.kron(sparse.eye(count), np.ones((1, width))),
            sparse.kron(np.ones((1, count)), sparse.eye(width)),
        ]
    )
    solved = require("scipy.optimize", "train").linprog(
        rng.random(exact.size),
        A_eq=sums,
        b_eq=np.concatenate([sizes, columns]),
        bounds=np.stack([low.ravel(), high.ravel()], axis=1),
        method="highs-ds",
    )
    if not solved.success:
        raise AssertionError(f"rounding failed: {solved.message}")
    rounded: NDArray[np.int64] = np.rint(solved.x).astype(np.int64).reshape(exact.shape)
    return rounded[:, :-1]


def draw_groups(
    groups: NDArray[np.int64],
    strata: NDArray[np.int64],
    wanted: Mapping[str, int],
    rng: np.random.Generator,
) -> dict[str, Rows]:
    """Draws whole groups: large ones first, each to the part that lacks its rows most.

    Args:
        groups: `[N]` the group of each row.
        strata: `[N]` the stratum of each row.
        wanted: How many rows each part should get.
        rng: Breaks ties.

    Returns:
        Per part the offsets of its rows.
    """
    names, groups = np.unique(groups, return_inverse=True)
    content = np.zeros((len(names), int(strata.max(initial=0)) + 1))
    np.add.at(content, (groups, strata), 1)
    shares = np.array([len(groups) - sum(wanted.values()), *wanted.values()]) / max(len(groups), 1)
    lacking = shares[:, None] * content.sum(0)[None, :]  # [parts, strata], the rest first
    part_of = np.zeros(len(names), np.int64)
    used = np.zeros(len(shares), np.int64)
    order = rng.permutation(len(names))
    order = order[np.argsort(-content[order].sum(1), kind="stable")]
    for done, group in enumerate(order.tolist()):
        need = lacking @ content[group] / content[group].sum()
        empty = used == 0
        if len(names) - done <= empty.sum():  # as many groups left as empty parts: one each
            need = np.where(empty, need, -np.inf)
        part = int(np.argmax(need))
        part_of[group] = part
        used[part] += 1
        lacking[part] -= content[group]
    return {p: np.flatnonzero(part_of[groups] == k + 1) for k, p in enumerate(wanted)}


def held_out_and_seen(
    parts: Mapping[str, Mapping[str, Tensor]],
    fingerprints: Mapping[str, str],
    earlier: Mapping[str, Mapping[str, Tensor]],
    before: Mapping[str, str],
) -> dict[str, int]:
    """Per source how many validation and test rows an earlier training learned from.

    Sources are the same where their fingerprints are.

    Args:
        parts: Rows by part and source.
        fingerprints: The sources' fingerprints.
        earlier: Rows of the earlier training.
        before: The fingerprints of its sources.
    """
    found = {}
    for name, print_ in fingerprints.items():
        trained = [rows for s, rows in earlier.get("train", {}).items() if before.get(s) == print_]
        held = [parts[p][name] for p in ("validation", "test") if name in parts.get(p, {})]
        if trained and held:
            count = int(torch.isin(torch.cat(held), torch.cat(trained)).sum())
            if count:
                found[name] = count
    return found

"""Ways to break a table: each is refused with its place and what to do, or said and counted."""

import datetime
import gzip
import io
import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from polytask.data.delimited import unreadable
from tests.data.broken import Breaks, cases, check, let_in, put, refused

SPLIT = "split: {test: 0.2, validation: 0.2}"
PARTS = "split: {column: part}"
BASE = f"""\
sources: {{own: {{kind: table, path: t.csv, {SPLIT}}}}}
inputs: {{row: {{kind: table, columns: [x, size, colour]}}}}
tasks:
  kind: {{kind: multiclass, target: kind}}
  age: {{kind: regression, target: age}}
trunk: {{kind: hard, backbone: {{kind: perceptron, widths: [4]}}}}
batches: {{size: 8}}
"""
NAMES = ["x", "size", "colour", "kind", "age", "who", "part"]
Rows = list[list[str]]
Case = tuple[Breaks, tuple[str, ...]]


def rows(count: int = 40) -> Rows:
    """Rows with which nothing is wrong."""
    return [
        [
            f"{k / 7:.3f}",
            str(k * k % 11),
            ["red", "blue"][k % 2],
            ["cat", "dog", "cow"][k % 3],
            str(20 + k % 9),
            f"p{k // 4}",
            ["train", "train", "train", "validation", "test"][k % 5],
        ]
        for k in range(count)
    ]


def text(given: Rows | None = None, names: list[str] = NAMES, mark: str = ",") -> str:
    """Rows as CSV."""
    return "".join(mark.join(r) + "\n" for r in [names, *(rows() if given is None else given)])


def with_(column: str, value: str, at: Iterable[int] = (4,)) -> str:
    """Rows of which some have another cell."""
    given = rows()
    for k in at:
        given[k][NAMES.index(column)] = value
    return text(given)


def each(column: str, of: Callable[[int], str]) -> str:
    """Rows that all have another cell."""
    given = rows()
    for k, row in enumerate(given):
        row[NAMES.index(column)] = of(k)
    return text(given)


def csv(content: str | bytes, *told: str, config: str = BASE, name: str = "t.csv") -> Case:
    """A case with one file."""

    def breaks(folder: Path) -> str:
        put(folder, name, content)
        return config.replace("path: t.csv", f"path: '{name}'")

    return breaks, told


def parts(content: str, *told: str, split: str = PARTS) -> Case:
    """A case whose rows say which part they are for."""
    return csv(content, *told, config=BASE.replace(SPLIT, split))


def config(old: str, new: str, *told: str) -> Case:
    """A case of whole data and another configuration."""
    return csv(text(), *told, config=BASE.replace(old, new))


def at(make: Callable[[Path], Any], *told: str) -> Case:
    """A case that makes something else than a file at `t.csv`."""

    def breaks(folder: Path) -> str:
        make(folder / "t.csv")
        return BASE

    return breaks, told


ROW_6 = "t.csv row 6"
DAMAGED = bytearray(gzip.compress(text().encode()))
DAMAGED[100] ^= 255  # what follows refers to what is not there
SHAPELESS: dict[str, Case] = {
    "empty file": csv("", "t.csv cannot be read as CSV: it is empty", "names the columns"),
    "blank lines": csv("\n\n  \n", "t.csv cannot be read as CSV: it is empty"),
    "header only": csv(",".join(NAMES) + "\n", "own has no rows: t.csv has none"),
    "a column without a name": csv(text(names=["x", "", *NAMES[2:]]), "no such column",
        r"Valid names: Unnamed: 1, age, colour, kind, part, who, x\.$"),
    "no header": csv("\n".join(map(",".join, rows())), "no such column", "first line of the file"),
    "wrong mark": csv(text(mark="/"), "no such column.*x/size/colour"),
    "a mark that is not read": csv(text(mark="^"), r"if '\^' divides cells, write commas"),
    "commas in a tsv": csv(text(), "only name: is the file divided by another", name="t.tsv"),
    "capitals in a name": csv(text(names=["X", *NAMES[1:]]), "column 'x'.*Did you mean 'X'"),
    "twice the same name": csv(text(names=["x", *NAMES[:1], *NAMES[2:]]), "two columns named 'x'"),
    "the header again": csv(text() + text(), "t.csv row 42 names the columns once more"),
    "the header again in texts": csv("colour,kind\nred,cat\nblue,dog\ncolour,kind\n" * 9,
        "t.csv row 4 names the columns once more", config=BASE.replace("[x, size, ", "[")
        .replace("  age: {kind: regression, target: age}\n", "")),
    "a mark in a name that nobody sees": csv(text(names=["\u200bx", *NAMES[1:]]),
        r"Did you mean '\\u200bx'\? It looks like 'x' and is written otherwise"),
    "a name's letters in another way": csv(text(names=["e\u0301", *NAMES[1:]]),
        r"Did you mean 'e\\u0301'\? It looks like '\\xe9'", config=BASE.replace("[x", "[\u00e9")),
    "short row": csv(text([r[:3] if k == 5 else r for k, r in enumerate(rows())]),
        "t.csv row 7 has 3 cells, where the header names 7 columns", "comma"),
    "long row": csv(text([[*r, "!"] if k == 5 else r for k, r in enumerate(rows())]),
        "t.csv row 7 has 8 cells, more than its header names"),
    "long rows": csv(text([[*r, "!"] for r in rows()]), "t.csv row 2 has 8 cells"),
    "open quote": csv(with_("colour", '"red'), "t.csv row 6 has 3 cells", "Is a quote open"),
    "comment above": csv("# by me\n" + text(), "t.csv row 2 has 7 cells", "# by me"),
    "excel's first line": csv("sep=;\n" + text(mark=";"), "remove its first line 'sep='"),
    "latin-1": csv(with_("colour", "grün").encode("latin-1"), "t.csv line 6 should be text",
        "in utf-8", "0xfc", "Set `encoding`"),
    "utf-16": csv(text().encode("utf-16"), "t.csv line 1", "Set `encoding: utf-16`"),
    "utf-16 without a mark": csv(text().encode("utf-16-le"), "Is it in utf-16.*utf-16-le`"),
    "utf-16 the other way": csv(text().encode("utf-16-be"), "Is it in utf-16.*utf-16-be`"),
    "unknown encoding": config("path: t.csv", "path: t.csv, encoding: utf-99",
        "`encoding` is 'utf-99'. Did you mean 'utf-8'"),
    "packed": csv(gzip.compress(text().encode()), "packed with gzip: let its name end in .gz"),
    "cut off": csv(gzip.compress(text().encode())[:-20], "cannot be read", name="t.csv.gz"),
    "damaged inside": csv(bytes(DAMAGED), "t.csv.gz cannot be read as CSV", name="t.csv.gz"),
    "not packed": csv(text(), "cannot be read", name="t.csv.gz"),
    "excel": csv(b"PK\x03\x04" + bytes(90), "zip archive, as Excel's sheets are", "save it as CSV"),
    "web page": csv("<!DOCTYPE html><html>404</html>", "a web page, as a download that failed"),
    "pointer of lfs": csv("version https://git-lfs.github.com/spec/v1\nsize 1\n", "git lfs pull"),
    "sheet under its own name": csv(b"PK\x03\x04" + bytes(90), "t.xlsx is no table .* as Excel's "
        "sheets are.*save it as CSV", name="t.xlsx"),
    "unknown ending": csv(text(), "t.xls: the name says no known format", name="t.xls"),
    "another format": config("path: t.csv", "path: t.csv, format: jsonl", "line 1 is not JSON"),
    "folder": at(Path.mkdir, "t.csv is a folder, where a file is expected", "it is empty"),
    "link to nothing": at(lambda p: p.symlink_to("none.csv"), "a link to none.csv, which is not"),
    "link to itself": at(lambda p: p.symlink_to(p.name), "t.csv"),
    "pipe": at(os.mkfifo, "t.csv is no file but a device or a pipe"),
    "nothing": at(lambda p: put(p.parent, "T.csv", "x"), "no file .*t.csv. Did you mean 'T.csv'"),
    "no folder": config("path: t.csv", "path: data/t.csv", "There is no folder .*data either"),
    "no home": config("path: t.csv", "path: ~/none/t.csv", "There is no file /.*none/t.csv"),
    "twice the same file": config("path: t.csv", "path: [t.csv, ./t.csv]", "names t.csv twice"),
    "no files": config("path: t.csv", "path: []", "c.yaml:1: sources.own: .*at least one file"),
}  # fmt: skip
CELLS: dict[str, Case] = {
    "blank column": csv(each("x", lambda k: ""), "Column 'x' has no value", "leave it out"),
    "infinite": csv(with_("x", "inf"), ROW_6, "column 'x' should hold finite numbers", "Found inf"),
    "infinite label": csv(with_("age", "-Infinity"), ROW_6, "column 'age'", "finite", "-inf"),
    "too large": csv(with_("age", "1e300"), ROW_6, "column 'age'", r"Found 1e\+300"),
    "hundreds of digits": csv(with_("x", "9" * 400), ROW_6, "column 'x'", "finite numbers"),
    "question mark": csv(with_("x", "?"), ROW_6, "column 'x'", r"Found '\?'", "leave it blank"),
    "dash": csv(with_("age", "-"), ROW_6, "column 'age'", "Found '-'", "leave it blank"),
    "unit": csv(with_("x", "3 kg"), ROW_6, "column 'x' should hold numbers", "Found '3 kg'"),
    "units": csv(each("x", lambda k: f"{k / 7:.2f} kg"), "'x' holds numbers that are written as "
        "texts, such as '0.00 kg'", "under `categories`"),
    "percent": csv(each("x", lambda k: f"{k}%"), "'x' holds numbers that are .* '0%'"),
    "decimal comma": csv(with_("x", '"1,5"'), ROW_6, "column 'x'", "Found '1,5'", 'decimal: ","'),
    "decimal commas": csv(text([[r[0].replace(".", ","), *r[1:]] for r in rows()], mark=";"),
        "'x' holds numbers", "'0,000'", 'decimal: ","'),
    "thousands": csv(with_("age", '"1,500"'), ROW_6, "column 'age'", "Found '1,500'"),
    "dates": csv(each("x", lambda k: f"2020-01-{1 + k % 28:02d}"), "'x' holds dates", "`dates`"),
    "dates to predict": csv(each("age", lambda k: f"2020-01-{1 + k % 28:02d}"), "t.csv row 2",
        "column 'age'", "Found '2020-01-01'"),
    "a name in each row": csv(each("colour", lambda k: f"u{k}q"), "'colour' would say nothing",
        "`texts`", "min_count: 1"),
    "words to predict": config("target: age", "target: who", "t.csv row 2, column 'who'",
        "needs finite numbers. Found 'p0'"),
}  # fmt: skip
LABELS: dict[str, Case] = {
    "none": csv(each("kind", lambda k: ""), "Task 'kind' has no label in any training row",
        "own.kind"),
    "none to train on": parts(text([[*r[:3], r[3] if r[6] == "test" else "", *r[4:]]
        for r in rows()]), "Task 'kind' has no label in any training row"),
    "one class": csv(each("kind", lambda k: "cat"), "at least two different classes. Found cat"),
    "capitals in one": csv(with_("kind", "DOG"), ROW_6, "column 'kind'", "'DOG'", "'dog'"),
    "only in the test part": parts(with_("kind", "emu"), ROW_6, "'emu'", "no training row has",
        "unknown_labels: skip"),
    "only in the validation part": parts(with_("kind", "emu", [3]), "t.csv row 5", "'emu'"),
    "not among those listed": config("target: kind", "target: kind, classes: [cat, dog]",
        "t.csv row 4, column 'kind'", "'cow', which 'tasks.kind.classes' does not list"),
    "not among those listed in an order": config("kind: multiclass, target: kind",
        "kind: ordinal, target: kind, classes: [cat, dog]", "'cow', which .* does not list"),
    "not among those listed of several": config("kind: multiclass, target: kind",
        "kind: multilabel, target: kind, classes: [cat, dog]", "'cow', which .* does not list"),
    "listed twice": config("target: kind", "target: kind, classes: [dog, dog, cat]",
        "'tasks.kind.classes' lists 'dog' twice"),
    "measured numbers": csv(text(), "'[0-9.]+', which no training row has", "'kind: regression'",
        config=BASE.replace("[x, size", "[size").replace("target: kind", "target: x")),
    "three for yes and no": config("kind: multiclass", "kind: binary", "two different", "cow"),
    "words in an order": config("kind: multiclass", "kind: ordinal", "list them from lowest"),
    "numbers for yes and no": config("kind: multiclass, target: kind",
        "kind: multilabel, target: [age, who]", "t.csv row 2, columns 'age', 'who'", "Found 20"),
    "a name in each row": csv(each("kind", lambda k: f"u{k}"), "column 'kind'", "no training row"),
    "among the inputs": config("[x, size", "[x, age", "Input 'row' reads column 'age'",
        "task 'age' predicts"),
    "no such column": config("target: kind", "target: knd", "'knd'.*Did you mean 'kind'"),
    "no such input": config("[x, size", "[x, sise", "'sise'.*Did you mean 'size'"),
    "input twice": config("[x, size", "[x, x", "c.yaml:2: inputs.row: .*column 'x' of own twice"),
    "no input": config("[x, size, colour]", "[]", "c.yaml:2: inputs.row: .*at least one column of "
        "own. Found none"),
    "star for nothing": config("[x, size, colour]", "['fp*']", "No column of own is named like"),
}  # fmt: skip
DIVISION: dict[str, Case] = {
    "unknown part": parts(with_("part", "trian"), ROW_6, "'part' should name a part", "'trian'"),
    "blank part": parts(with_("part", ""), ROW_6, "'part' should name a part", "Found ''"),
    "numbers": parts(each("part", lambda k: "1"), "t.csv row 2", "Found '1'"),
    "nothing to train on": parts(each("part", lambda k: "test"), "No row of own is to train on",
        "column 'part'"),
    "no such column": parts(text(), "'prat'.*Did you mean 'part'", split="split: {column: prat}"),
    "no such group": parts(text(), "'whom'.*Did you mean 'who'", split="split: {group: whom}"),
    "blank group": parts(with_("who", "", [2, 7]), "t.csv row 4: the split's group 'who' is blank",
        split="split: {group: who}"),
    "one group": parts(each("who", lambda k: "a"), "test part of own is empty", "in 1 groups",
        split="split: {group: who}"),
    "group in two parts": parts(text(), "t.csv row 5", "validation part by column 'part'",
        "t.csv row 2 in the train", "'p0'", split="split: {group: who, column: part}"),
    "no such strata": parts(text(), "Did you mean 'kind'", split="split: {stratify: knd}"),
    "too few rows": csv(text(rows(3)), "part of own is empty: it has 3 rows", "0 for a part",
        config=BASE.replace(SPLIT, "split: {test: 0.1, validation: 0.1}")),
    "one row": csv(text(rows(1)), "The test part of own is empty: it has 1 rows"),
    "everything held out": parts(text(), "c.yaml:1: sources.own.split", "leave rows to train on",
        split="split: {test: 0.5, validation: 0.5}"),
    "percent": parts(text(), "Found test=20", split="split: {test: 20, validation: 20}"),
    "below nothing": parts(text(), "Found test=-0.1", split="split: {test: -0.1}"),
    "no split of its own": parts(text(), "without a split", split="split: {fixed: true}"),
}  # fmt: skip


@cases(SHAPELESS)
def test_files_that_are_no_tables(tmp_path: Path, breaks: Breaks, told: tuple[str, ...]) -> None:
    refused(tmp_path, breaks, told)


@cases(CELLS)
def test_cells_that_are_no_values(tmp_path: Path, breaks: Breaks, told: tuple[str, ...]) -> None:
    refused(tmp_path, breaks, told)


@cases(LABELS)
def test_labels_that_cannot_be(tmp_path: Path, breaks: Breaks, told: tuple[str, ...]) -> None:
    refused(tmp_path, breaks, told)


@cases(DIVISION)
def test_parts_that_cannot_be(tmp_path: Path, breaks: Breaks, told: tuple[str, ...]) -> None:
    refused(tmp_path, breaks, told)


def records(change: Callable[[list[dict[str, Any]]], Any] = lambda r: None) -> str:
    """Rows as JSON lines, some of them changed."""
    made = [dict(zip(NAMES, row, strict=True)) for row in rows()]
    for record in made:
        record |= {name: float(record[name]) for name in ("x", "size", "age")}  # type: ignore[dict-item]
    change(made)  # type: ignore[arg-type]
    return "\n".join(map(json.dumps, made))


def jsonl(content: str | bytes, *told: str) -> Case:
    return csv(content, *told, name="t.jsonl")


FIFTH = "t.jsonl row 5"
JSON: dict[str, Case] = {
    "empty": jsonl("", "own has no rows: t.jsonl has none"),
    "an empty list": jsonl("[]", "own has no rows: t.jsonl has none"),
    "one array": jsonl(json.dumps([[1]]), "row 1 should be an object"),
    "cut off": jsonl(records()[:-10], "t.jsonl line 40 is not JSON"),
    "twice the same key": jsonl(records().replace('"size"', '"x"'), "line 1 has the key 'x' twice"),
    "half a letter": jsonl(records().replace("red", "r\\ud83d", 1), "line 1 has half of a letter",
        r"'\\ud83d'.*within an emoji"),
    "half a letter in a label": jsonl(records().replace("cow", "\\udc00", 1), "line 3 has half of"),
    "half a letter in a list of rows": jsonl(
        "[" + records().replace("\n", ",\n").replace("cow", "\\udc00", 1) + "]",
        "row 3 has half of a letter",
    ),
    "latin-1": jsonl(records().replace("red", "röt").encode("latin-1"), "t.jsonl line 1", "0xf6"),
    "too deep": jsonl(records() + "\n" + "[" * 100_000, "t.jsonl line 41 is not JSON"),
    "object for a number": jsonl(records(lambda r: r[4].update(x={"a": 1})), FIFTH, "column 'x'"),
    "list for a number": jsonl(records(lambda r: r[4].update(x=[1])), FIFTH, "'x'", r"\[1\]"),
    "list for a label": jsonl(records(lambda r: r[4].update(kind=["cat"])), FIFTH, "column 'kind'",
        "one label for an example", "kind: multilabel"),
    "object for a label": jsonl(records(lambda r: r[4].update(kind={"a": 1})), FIFTH, "dict"),
    "infinite": jsonl(records(lambda r: r[4].update(x=float("inf"))), FIFTH, "finite"),
    "hundreds of digits": jsonl(records(lambda r: r[4].update(x=10**400)), FIFTH, "finite"),
}  # fmt: skip


def parquet(make: Callable[[], Any], *told: str) -> Case:
    """A case of one Parquet file, or of its bytes."""

    def breaks(folder: Path) -> str:
        made = make()
        if isinstance(made, bytes):
            put(folder, "t.parquet", made)
        else:
            pq.write_table(made, folder / "t.parquet")
        return BASE.replace("t.csv", "t.parquet")

    return breaks, told


def columns(**changed: Any) -> pa.Table:
    """Rows as Arrow's columns, some of them others."""
    made = [json.loads(line) for line in records().split("\n")]
    return pa.table({name: [r[name] for r in made] for name in NAMES} | changed)


def stored(table: pa.Table) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    return buffer.getvalue()


DAYS = [datetime.datetime(2020, 1, 1 + k % 28) for k in range(40)]
PARQUET: dict[str, Case] = {
    "empty": parquet(lambda: b"", "t.parquet cannot be read as Parquet: it is empty"),
    "csv": parquet(text().encode, "t.parquet cannot be read as Parquet: .*If it is text"),
    "excel": parquet(lambda: b"PK\x03\x04" + bytes(90), "cannot be read as Parquet: .*zip archive"),
    "cut off": parquet(lambda: stored(columns())[:500], "cannot be read as Parquet: it was cut"),
    "cut at once": parquet(lambda: stored(columns())[:4], "cannot be read as Parquet: it was cut"),
    "no rows": parquet(lambda: columns().slice(0, 0), "own has no rows"),
    "bytes": parquet(lambda: columns(kind=[b"a", b"b"] * 20), "which holds bytes", "`media`"),
    "structs": parquet(lambda: columns(x=[{"a": 1.0}] * 40), "which holds structs of a"),
    "maps": parquet(lambda: columns(x=pa.array([[("a", 1.0)]] * 40,
        pa.map_(pa.string(), pa.float64()))), "which holds maps"),
    "lists": parquet(lambda: columns(x=[[1.0, 2.0]] * 40), "t.parquet row", "column 'x'", "single"),
    "lists for labels": parquet(lambda: columns(kind=[["cat"], ["dog"]] * 20), "t.parquet row",
        "kind: multilabel"),
    "times": parquet(lambda: columns(x=DAYS), "'x' holds dates"),
    "times to predict": parquet(lambda: columns(age=DAYS), "column 'age'", "finite numbers"),
    "durations": parquet(lambda: columns(x=[datetime.timedelta(days=k) for k in range(40)]),
        "Column 'x' would say nothing"),
    "nothing": parquet(lambda: columns(x=pa.nulls(40)), "Column 'x' has no value"),
    "infinite": parquet(lambda: columns(x=[float("inf"), 1.0] * 20), "t.parquet row", "finite"),
}  # fmt: skip


@cases(JSON)
def test_lines_that_are_no_rows(tmp_path: Path, breaks: Breaks, told: tuple[str, ...]) -> None:
    refused(tmp_path, breaks, told)


@cases(PARQUET)
def test_columns_that_are_no_values(tmp_path: Path, breaks: Breaks, told: tuple[str, ...]) -> None:
    refused(tmp_path, breaks, told)


SAID: dict[str, Case] = {
    "byte order mark": csv("\ufeff" + text(), "labels of kind"),
    "bars": csv(text(mark="|"), "labels of kind"),
    "old line ends": csv(text().replace("\n", "\r"), "labels of kind"),
    "blanks around names": csv(text(names=[f" {name} " for name in NAMES]), "labels of kind"),
    "a path with blanks": csv(text(), "labels of kind", name="für mich/t ä.csv"),
    "stated encoding": csv(with_("colour", "grün").encode("latin-1"), "labels of kind",
        config=BASE.replace("path: t.csv", "encoding: latin-1, path: t.csv")),
    "stated commas": csv(text([[r[0].replace(".", ","), *r[1:]] for r in rows()], mark=";"),
        "labels of kind", config=BASE.replace("path: t.csv", "decimal: ',', path: t.csv")),
    "blank words": csv(with_("age", "N/A", range(3, 12)), r"labels of age +│ +\d"),
    "blank after a label": csv(with_("kind", "cat "), r"labels of kind +│ +24"),
    "capitals": csv(with_("kind", "Cat", range(0, 40, 6)), "kind: labels that are nearly the same",
        "'Cat' and 'cat'"),
    "letters in two ways": csv(each("kind", lambda k: ["\u00e9s", "e\u0301s", "cat"][k % 3]),
        r"kind: labels with a letter and its sign apart .*: 13"),
    "letters that nobody sees": csv(each("kind", lambda k: ["cat", "cat\u200b"][k % 2]), "nearly",
        r"'cat' and 'cat\\u200b'"),
    "several labels by another mark": csv(each("kind", lambda k: ["a;b", "b;c", "a;c", "a"][k % 4]),
        "kind: 'a;[bc]' is one label. If it lists several: separator: ';'",
        config=BASE.replace("multiclass", "multilabel")),
    "several labels that none has alone": csv(each("kind", lambda k: ["a;b", "b;c", "c;a", "a;b;c"]
        [k % 4]), "is one label. If it lists several: separator: ';'",
        config=BASE.replace("multiclass", "multilabel")),
    "constant label": csv(each("age", lambda k: "5"), "age: all 24 training labels are 5"),
    "constant input": csv(each("x", lambda k: "5"), "row: 1 of 4 entries never change .*: x"),
    "listed and not there": config("target: kind", "target: kind, classes: [cat, dog, cow, emu]",
        "kind: no training row has emu"),
    "no label to select by": parts(text([[*r[:3], "" if r[6] == "validation" else r[3], *r[4:]]
        for r in rows()]), "no label in the validation part: kind"),
    "unknown labels": csv(with_("kind", "emu"), "left out 1 label of kind that training rows lack: "
        "emu 1", config=BASE.replace(SPLIT, PARTS) + "unknown_labels: skip\n"),
    "rows again": csv(text([r if k % 5 else [*rows()[1][:6], r[6]] for k, r in enumerate(rows())]),
        "exactly like a training row: [0-9]", "is t.csv row"),
    "a star for all": config("[x, size, colour]", "['*']", "labels of kind"),
}  # fmt: skip


@cases(SAID)
def test_what_is_let_in_and_said(tmp_path: Path, breaks: Breaks, told: tuple[str, ...]) -> None:
    let_in(tmp_path, breaks, told)


def test_a_star_stands_for_no_target_part_or_group(tmp_path: Path) -> None:
    from polytask.config.load import load_config
    from polytask.workflow import prepare_data

    put(tmp_path, "t.csv", text())
    split = "split: {column: part, stratify: kind}"
    put(tmp_path, "c.yaml", BASE.replace("[x, size, colour]", "['*']").replace(SPLIT, split))
    prepared = prepare_data(load_config(tmp_path / "c.yaml"), None)
    assert prepared.inputs["row"].columns == {"own": ["x", "size", "colour", "who"]}


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
def test_files_that_must_not_be_read(tmp_path: Path) -> None:
    put(tmp_path, "t.csv", text())
    (tmp_path / "t.csv").chmod(0)
    refused(tmp_path, lambda _: BASE, ["t.csv cannot be opened: Permission denied"])


def test_decimal_commas_and_encodings_are_read_as_they_are_meant(tmp_path: Path) -> None:
    from polytask.data.tables import TableFile

    put(tmp_path, "t.csv", "x;y\n1,5;grün\n2;rot\n".encode("latin-1"))
    table = TableFile(path=tmp_path / "t.csv", encoding="latin-1", decimal=",").load()
    assert table.cells(["x", "y"]).tolist() == [[1.5, "grün"], [2.0, "rot"]]
    assert table.describe(1) == "t.csv row 3"
    put(tmp_path, "u.jsonl", '{"x": "grün"}'.encode("utf-16"))
    other = TableFile(path=tmp_path / "u.jsonl", encoding="utf-16").load()
    assert other.cells(["x"]).tolist() == [["grün"]] and other.describe(0) == "u.jsonl row 1"


def test_nothing_is_wrong_with_what_the_others_break(tmp_path: Path) -> None:
    put(tmp_path, "t.csv", text())
    put(tmp_path, "c.yaml", BASE)
    begins, said = check(tmp_path)
    assert begins and said.count("labels of") == 2 and len(said.splitlines()) == 8
    assert np.unique([len(row) for row in rows()]).tolist() == [len(NAMES)]


def test_what_pandas_says_of_rows_is_said_in_words(tmp_path: Path) -> None:
    put(tmp_path, "t.csv", "a,b\n1,2\n")
    for found, told in (
        ("Expected 1 fields in line 3, saw 2", "line 3 has 2 cells, where 1 were expected"),
        ("Buffer overflow caught", "Buffer overflow caught"),
    ):
        error = unreadable(
            tmp_path / "t.csv", "csv", ValueError(f"Error tokenizing data. C error: {found}\n")
        )
        assert str(error).endswith(f"t.csv cannot be read as CSV: {told}.")

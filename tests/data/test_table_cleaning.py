"""Cleaning of tables: against scikit-learn, from training rows alone, and kept with the run."""

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.decomposition import PCA
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.feature_selection import SelectKBest, f_classif
from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer
from sklearn.preprocessing import RobustScaler, StandardScaler, quantile_transform

from polytask.config import load_config
from polytask.data.dataset import Prepared
from polytask.data.dates import DateOrder
from polytask.data.preparing import prepare
from polytask.data.splits import Split
from polytask.data.table_cleaning import (
    ByModel,
    Components,
    DropRows,
    Fill,
    Forest,
    IterativeFill,
    LocalDensity,
    NearestFill,
    RobustZ,
    TableCleaning,
    Univariate,
    Variance,
)
from polytask.data.table_cleaning.keeping import opened
from polytask.data.table_cleaning.pieces import edges, passed
from polytask.data.tables import TableFile
from polytask.data.tabular import TableInput
from polytask.data_terminal import cleaning_lines
from polytask.errors import ConfigError, DataError, RunError
from polytask.run import Run
from polytask.tasks import Binary, Regression
from polytask.workflow import Silent, evaluate_run, predict_run, reopen_data, train

TASKS = [
    Binary(name="sick", input="x", target={"t": "sick"}),
    Regression(name="cost", input="x", target={"t": "cost"}),
]
EVERY: dict[str, Callable[[], TableCleaning]] = {
    "mean": TableCleaning,
    "median": lambda: TableCleaning(missing=Fill(strategy="median"), scale="robust"),
    "frequent": lambda: TableCleaning(missing=Fill(strategy="most_frequent"), scale="none"),
    "knn": lambda: TableCleaning(missing=NearestFill(neighbours=2)),
    "iterative": lambda: TableCleaning(missing=IterativeFill(rounds=2)),
    "drop": lambda: TableCleaning(missing=DropRows(share=0.4)),
    "z": lambda: TableCleaning(outliers=RobustZ(then="blank")),
    "clip": lambda: TableCleaning(outliers=RobustZ(then="clip", threshold=3.0)),
    "forest": lambda: TableCleaning(outliers=Forest(share=0.1, trees=5)),
    "density": lambda: TableCleaning(outliers=LocalDensity(share=0.1, then="drop")),
    "quantile": lambda: TableCleaning(scale="quantile"),
    "pieces": lambda: TableCleaning(scale="none", pieces=4),
    "marked pieces": lambda: TableCleaning(outliers=RobustZ(), pieces=4),
    "pca": lambda: TableCleaning(select=Components(components=2)),
    "univariate": lambda: TableCleaning(select=Univariate(keep=2)),
    "model": lambda: TableCleaning(select=ByModel(keep=2, trees=5)),
    "variance": lambda: TableCleaning(select=Variance(least=0.01)),
}


def frame(rows: int = 60, seed: int = 0) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    made = pd.DataFrame(random.normal(size=(rows, 3)), columns=["a", "b", "c"])
    made["b"] = made["a"] * 2 + 0.1 * made["b"]
    made.loc[random.random(rows) < 0.2, "b"] = np.nan
    made.loc[random.random(rows) < 0.1, "c"] = np.nan
    made.loc[7, "a"] = 80.0
    made["kind"] = random.choice(["u", "v"], rows)
    made["sick"] = (made["a"] > 0).astype(int)
    made["cost"] = random.normal(size=rows)
    made["part"] = ["train"] * (rows - 20) + ["val"] * 10 + ["test"] * 10
    return made


def prepared(table: pd.DataFrame, folder: Path, clean: TableCleaning | None) -> Prepared:
    table.to_csv(folder / "t.csv", index=False)
    facts = TableInput(columns={"t": ["a", "b", "c", "kind"]}, clean=clean)
    source = {"t": TableFile(path=folder / "t.csv")}
    return prepare(source, {"x": facts}, TASKS, splits=Split(column="part"))


def vectors(data: Prepared, part: str = "train") -> np.ndarray[Any, Any]:
    return data.datasets["t"].gather(data.parts[part]["t"]).inputs["x"].values.numpy()


def learned(state: dict[str, Any]) -> dict[str, Any]:
    """What was fitted, with estimators as the numbers that they hold."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: plain(v) for k, v in value.items()}
        if isinstance(value, str) and len(value) > 200:
            return plain(vars(opened(value)))
        if isinstance(value, np.ndarray):
            return value.tolist()
        if isinstance(value, (list, tuple)):
            return [plain(v) for v in value]
        simple = isinstance(value, (int, float, str, bool, type(None)))
        return value if simple else type(value).__name__

    return json.loads(json.dumps(plain(state)))


@pytest.mark.parametrize("kind", EVERY)
@settings(
    max_examples=2, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_rows_that_do_not_train_change_nothing_that_is_fitted(
    kind: str, data: st.DataObject, tmp_path: Path
) -> None:
    table = frame()
    first = prepared(table, tmp_path, EVERY[kind]())
    numbers = st.one_of(st.none(), st.floats(-1e6, 1e6))
    for name in ("a", "b", "c"):
        changed = data.draw(st.lists(numbers, min_size=20, max_size=20))
        table.loc[40:, name] = pd.array(changed, dtype="Float64").to_numpy(float, na_value=np.nan)
    second = prepared(table, tmp_path, EVERY[kind]())
    assert learned(first.inputs["x"].state) == learned(second.inputs["x"].state)
    np.testing.assert_array_equal(vectors(first), vectors(second))


@pytest.mark.parametrize("kind", EVERY)
def test_what_was_fitted_survives_json_and_cleans_alike(kind: str, tmp_path: Path) -> None:
    first = prepared(frame(), tmp_path, EVERY[kind]())
    table = first.datasets["t"].table
    again = TableInput(columns={"t": ["a", "b", "c", "kind"]}, clean=EVERY[kind]())
    again.load_state(json.loads(json.dumps(first.inputs["x"].state)))
    whole = first.datasets["t"].stores["x"]
    np.testing.assert_array_equal(again.vectors(table).vectors, whole.vectors)  # type: ignore[attr-defined]
    assert np.isfinite(vectors(first)).all() and np.isfinite(vectors(first, "test")).all()
    assert again.names == first.inputs["x"].names and len(again.names) == vectors(first).shape[1]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("clean", "imputer", "scaler"),
    [
        (TableCleaning(), SimpleImputer(), StandardScaler()),
        (
            TableCleaning(missing=Fill(strategy="median"), scale="robust"),
            SimpleImputer(strategy="median"),
            RobustScaler(),
        ),
        (
            TableCleaning(missing=IterativeFill(rounds=3)),
            IterativeImputer(max_iter=3, random_state=0),
            StandardScaler(),
        ),
    ],
)
def test_blanks_and_scales_are_scikit_learns(
    clean: TableCleaning, imputer: Any, scaler: Any, tmp_path: Path
) -> None:
    table = frame()
    data = prepared(table, tmp_path, clean)
    raw = table[["a", "b", "c"]].to_numpy()
    whole = imputer.fit(raw[:40])
    scaled = scaler.fit(whole.transform(raw[:40])).transform(whole.transform(raw))
    np.testing.assert_allclose(vectors(data)[:, :3], scaled[:40], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(vectors(data, "test")[:, :3], scaled[50:], rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(vectors(data, "test")[:, 3:5], np.isnan(raw[50:, 1:]))
    names = data.inputs["x"].features["names"]
    assert names[:5] == ["a", "b", "c", "b is blank", "c is blank"]
    assert data.inputs["x"].features["layout"] == [(5, 2)]


def test_neighbours_are_scikit_learns_on_one_scale(tmp_path: Path) -> None:
    table = frame()
    data = prepared(table, tmp_path, TableCleaning(missing=NearestFill(neighbours=3), scale="none"))
    raw = table[["a", "b", "c"]].to_numpy()
    mean, std = np.nanmean(raw[:40], 0), np.nanstd(raw[:40], 0)
    theirs = KNNImputer(n_neighbors=3).fit((raw[:40] - mean) / std)
    found = theirs.transform((raw - mean) / std) * std + mean
    np.testing.assert_allclose(vectors(data, "test")[:, :3], found[50:], rtol=1e-4, atol=1e-5)


def test_quantiles_and_components_are_scikit_learns(tmp_path: Path) -> None:
    table = frame()
    plain = vectors(prepared(table, tmp_path, TableCleaning()))
    short = prepared(table, tmp_path, TableCleaning(select=Components(components=2)))
    theirs = PCA(2).fit(plain).transform(plain)
    np.testing.assert_allclose(np.abs(vectors(short)), np.abs(theirs), rtol=1e-3, atol=1e-3)
    normal = vectors(prepared(table, tmp_path, TableCleaning(scale="quantile")))
    column = table[["a"]].to_numpy()[:40]
    expected = quantile_transform(column, n_quantiles=40, output_distribution="normal")
    np.testing.assert_allclose(normal[:, 0], expected[:, 0], rtol=1e-3, atol=1e-3)


@given(
    column=st.lists(st.one_of(st.just(0.0), st.integers(-50, 50).map(float)), min_size=1),
    pieces=st.integers(1, 12),
)
def test_pieces_add_up_to_the_number_that_they_were_cut_from(
    column: list[float], pieces: int
) -> None:
    values = np.array(column)
    ends = edges(values, pieces)
    assert len(ends) <= pieces + 1 and set(ends) <= set(values)
    assert (np.diff(ends) > 0).all() and ends[0] == values.min() and ends[-1] == values.max()
    wide = np.append(values, [-1000.0, 1000.0])
    found = passed(wide, ends)
    assert found.min(initial=0.0) >= 0.0 and found.max(initial=1.0) <= 1.0
    sums, clipped = ends[0] + found @ np.diff(ends), wide.clip(ends[0], ends[-1])
    np.testing.assert_allclose(sums, clipped, atol=1e-12)  # Ends are up to 50, and sums may be 0.


def test_ranges_hold_equally_many_rows_whatever_value_is_frequent() -> None:
    different = np.random.default_rng(0).permutation(np.arange(1.0, 401.0)) ** 2
    held = np.histogram(different, edges(different, 8))[0]
    assert held.min() >= 48 and held.max() <= 52
    # Nine tenths are zero: quantiles would give the rest one range.
    ends = edges(np.append(np.zeros(3600), different), 8)
    assert len(ends) == 9 and ends[0] == 0.0 and np.histogram(different, ends)[0].max() <= 60


def test_pieces_stand_between_the_numbers_and_what_was_blank(tmp_path: Path) -> None:
    data = prepared(frame(), tmp_path, TableCleaning(scale="none", pieces=3))
    names = data.inputs["x"].features["names"]
    assert names[:3] == ["a", "b", "c"] and names[12:] == [
        "b is blank", "c is blank", "kind = v", "kind = u"
    ]  # fmt: skip
    assert [name[:2] for name in names[3:12]] == ["a "] * 3 + ["b "] * 3 + ["c "] * 3
    rows = vectors(data)
    begin, end = names[3].removeprefix("a ").split(" to ")
    low, high = float(begin), float(end)
    expected = ((rows[:, 0] - low) / (high - low)).clip(0, 1)
    np.testing.assert_allclose(rows[:, 3], expected, atol=1e-4)
    assert data.inputs["x"].features["layout"] == [(14, 2)]


def test_the_best_entries_of_several_tasks(tmp_path: Path) -> None:
    table = frame()
    table["cost"] = table["c"].fillna(0) * 3 + 0.01 * table["cost"]
    data = prepared(table, tmp_path, TableCleaning(select=Univariate(keep=2)))
    assert data.inputs["x"].features["names"] == ["a", "c"] or data.inputs["x"].features[
        "names"
    ] == ["b", "c"]
    plain = vectors(prepared(table, tmp_path, TableCleaning()))
    best = SelectKBest(f_classif, k=1).fit(plain, table["sick"][:40]).get_support()
    assert np.flatnonzero(best)[0] in data.inputs["x"].state["select"]["kept"]
    by_model = prepared(table, tmp_path, TableCleaning(select=ByModel(keep=3, trees=20)))
    assert "c" in by_model.inputs["x"].features["names"]


def test_an_outlier_is_marked_clipped_blanked_or_dropped(tmp_path: Path) -> None:
    def with_(clean: TableCleaning) -> Prepared:
        return prepared(frame(), tmp_path, clean)

    for detector in (RobustZ, Forest, LocalDensity):
        share = {} if detector is RobustZ else {"share": 0.05}
        marked = with_(TableCleaning(outliers=detector(then="mark", **share)))  # type: ignore[arg-type]
        mark = marked.inputs["x"].features["names"].index("is an outlier")
        assert vectors(marked)[7, mark] == 1 and 1 <= vectors(marked)[:, mark].sum() <= 3
        clipped = with_(TableCleaning(outliers=detector(then="clip", **share), scale="none"))  # type: ignore[arg-type]
        assert 1 < vectors(clipped)[7, 0] < 40
        blanked = with_(TableCleaning(outliers=detector(then="blank", **share), scale="none"))  # type: ignore[arg-type]
        assert abs(vectors(blanked)[7, 0]) < 1
        dropped = with_(TableCleaning(outliers=detector(then="drop", **share)))  # type: ignore[arg-type]
        assert 7 not in dropped.parts["train"]["t"].tolist()
        assert dropped.summary()["dropped"] == {"x": {"t": 40 - len(dropped.parts["train"]["t"])}}
        assert len(dropped.parts["test"]["t"]) == 10


def test_what_was_done_is_counted(tmp_path: Path) -> None:
    table = frame()
    data = prepared(table, tmp_path, TableCleaning(outliers=RobustZ()))
    counted = data.summary()["cleaned"]["x"]["t"]
    assert counted["train"]["imputed"] == table[:40][["b", "c"]].isna().sum().to_dict()
    assert counted["test"]["imputed"] == {
        k: v for k, v in table[50:][["b", "c"]].isna().sum().to_dict().items() if v
    }
    assert counted["train"]["outliers"] == {"rows": 1}
    lines = cleaning_lines(data.summary())
    assert lines[0].startswith("x: blanks of t filled: b ") and "train 1" in lines[1]


def test_too_many_blanks_leave_training_rows_out_and_no_others(tmp_path: Path) -> None:
    table = frame()
    table.loc[[3, 55], ["a", "b"]] = np.nan
    data = prepared(table, tmp_path, TableCleaning(missing=DropRows(share=0.5)))
    assert 3 not in data.parts["train"]["t"].tolist() and 55 in data.parts["test"]["t"].tolist()
    for row in range(40):
        table.loc[row, "abc"[row % 3]] = np.nan
    with pytest.raises(DataError, match="No training row is left of 40"):
        prepared(table, tmp_path, TableCleaning(missing=DropRows()))


def test_an_estimator_of_an_unknown_type_is_not_opened() -> None:
    import skops.io

    class Strange:
        pass

    Strange.__module__, Strange.__name__ = "os", "system"
    content = base64.b64encode(skops.io.dumps(Strange())).decode()
    with pytest.raises(RunError, match=r"types that were not written.*os\.system"):
        opened(content)


@pytest.mark.parametrize(
    "make",
    [
        lambda: NearestFill(neighbours=0),
        lambda: IterativeFill(rounds=0),
        lambda: DropRows(share=1.0),
        lambda: RobustZ(threshold=0),
        lambda: Forest(share=0.9),
        lambda: LocalDensity(neighbours=0),
        lambda: Components(components=1.5),
        lambda: Univariate(keep=0),
        lambda: ByModel(trees=0),
        lambda: Variance(least=-1),
        lambda: TableCleaning(pieces=-1),
    ],
)
def test_settings_that_cannot_work_are_refused(make: Callable[[], object]) -> None:
    with pytest.raises(ConfigError, match="Found"):
        make()


CLEANED = """\
sources:
  t: {kind: table, path: t.csv, split: {column: part}}
inputs:
  x:
    kind: table
    columns: [a, b, c, day, note, kind]
    dates: [day]
    texts: [note]
    text: tf-idf
    clean:
      missing: {kind: knn, neighbours: 3}
      outliers: {kind: isolation-forest, share: 0.05, then: drop}
      scale: robust
      select: {kind: univariate, keep: 8}
tasks:
  sick: {kind: binary, target: sick}
  cost: {kind: regression, target: cost}
trunk: {kind: hard, backbone: {widths: [8]}}
optimizer: {kind: adamw, lr: 0.01}
training: {epochs: 1, threads: 1}
"""


PLAIN = """\
sources: {t: {kind: table, path: t.csv, split: {test: 0.2, validation: 0.2}}}
inputs: {x: {kind: table, columns: [a]}}
tasks: {sick: {kind: binary, target: sick}}
trunk: {kind: hard, backbone: {kind: perceptron, widths: [4]}}
training: {epochs: 1, precision: fp32, threads: 1}
"""


def test_a_run_keeps_its_cleaning(tmp_path: Path) -> None:
    table = frame()
    table["day"] = pd.date_range("2024-01-01", periods=60).strftime("%Y-%m-%d")
    table["note"] = np.where(table["sick"] == 1, "very sick today", "all is well")
    table.to_csv(tmp_path / "t.csv", index=False)
    (tmp_path / "c.yaml").write_text(CLEANED)
    assert train(load_config(tmp_path / "c.yaml"), tmp_path / "runs", Silent(), [])
    run = Run.newest(tmp_path / "runs")
    data = reopen_data(run, None)
    said = run.read_json("data.json")
    assert len(data.parts["train"]["t"]) == 40 - said["dropped"]["x"]["t"] < 40
    assert said["cleaned"]["x"]["t"]["train"]["imputed"]["b"] > 0
    assert any(name == "note has sick" for name in data.inputs["x"].features["names"])
    before = (run.path / "facts.json").read_text()
    assert evaluate_run(run, "test")["sick"]["count"] == 10
    lines = list(predict_run(run, tmp_path / "t.csv"))
    assert len(lines) == 60 and (run.path / "facts.json").read_text() == before


def test_predictions_that_are_no_numbers_are_refused_or_counted(tmp_path: Path) -> None:
    frame().to_csv(tmp_path / "t.csv", index=False)
    (tmp_path / "c.yaml").write_text(PLAIN)
    assert train(load_config(tmp_path / "c.yaml"), tmp_path / "runs", Silent(), [])
    run = Run.newest(tmp_path / "runs")
    table = frame().head(4)
    table.loc[2, "a"] = 1e37  # a number, but its square is none
    table.to_csv(tmp_path / "new.csv", index=False)
    with pytest.raises(DataError, match=r"new\.csv row 4: task 'sick' gives no finite number"):
        list(predict_run(run, tmp_path / "new.csv"))
    with pytest.warns(UserWarning, match=r"left out new\.csv row 4: task 'sick'"):
        lines = list(predict_run(run, tmp_path / "new.csv", on_bad="skip"))
    assert [line["input"] for line in lines] == [f"new.csv row {k}" for k in (2, 3, 5)]


def test_dates_and_texts_that_are_none_name_their_row(tmp_path: Path) -> None:
    table = frame(30)
    table["day"] = "2024-02-29"
    table.loc[12, "day"] = "next week"
    table["part"] = ["train"] * 20 + ["val"] * 5 + ["test"] * 5
    table.to_csv(tmp_path / "t.csv", index=False)
    facts = TableInput(columns={"t": ["a", "day"]}, dates=["day"])
    with pytest.raises(
        DataError, match=r"t\.csv row 14: column 'day' should hold dates.*'next week'"
    ):
        prepare(
            {"t": TableFile(path=tmp_path / "t.csv")},
            {"x": facts},
            TASKS,
            splits=Split(column="part"),
        )


def dated(
    days: list[str], folder: Path, order: dict[str, DateOrder] | None = None
) -> Callable[[], dict[str, np.ndarray]]:
    """What a column of 24 training days and 6 held-out ones becomes."""
    table = frame(30)
    table["day"] = days
    table["part"] = ["train"] * 24 + ["val"] * 3 + ["test"] * 3
    table.to_csv(folder / "t.csv", index=False)
    facts = TableInput(columns={"t": ["day"]}, dates=["day"], date_order=order)

    def made() -> dict[str, np.ndarray]:
        source = {"t": TableFile(path=folder / "t.csv")}
        data = prepare(source, {"x": facts}, TASKS, splits=Split(column="part"))
        return dict(zip(facts.names, vectors(data).T, strict=True))

    return made


@pytest.mark.parametrize(
    ("written", "other", "months"),
    [
        ("19.07.2020", "05.03.2020", (7, 3)),  # dots: the day is first
        ("19/07/2020", "05/03/2020", (7, 3)),  # the 19th of something
        ("07/19/2020", "05/03/2020", (7, 5)),
        ("05/03/2020", "06/03/2020", (5, 6)),
        ("19.07.2020 08:00", "2020-03-05", (7, 3)),
    ],
)
def test_all_dates_of_a_column_have_the_day_in_one_place(
    written: str, other: str, months: tuple[int, int], tmp_path: Path
) -> None:
    named = dated([written, other] * 15, tmp_path)()
    angle = [2 * np.pi * (month - 1) / 12 for month in months]
    assert named["day, sine of month"][:2] == pytest.approx(np.sin(angle), abs=1e-6)
    assert named["day, cosine of month"][:2] == pytest.approx(np.cos(angle), abs=1e-6)


@pytest.mark.parametrize(("order", "month"), [("day-first", 3), ("month-first", 5)])
def test_the_order_of_dates_can_be_said(order: DateOrder, month: int, tmp_path: Path) -> None:
    for days in (["05/03/2020", "06/03/2020"], ["05.03.2020", "06.03.2020"]):
        named = dated(days * 15, tmp_path, {"day": order})()
        assert named["day, sine of month"][0] == pytest.approx(
            np.sin(2 * np.pi * (month - 1) / 12), abs=1e-6
        )
    wrong = "05/19/2020" if order == "day-first" else "19/05/2020"
    with pytest.raises(DataError, match=rf"row 3: .*the {order[:-6]} first, .*by `date_order`"):
        dated(["05/03/2020", wrong] * 15, tmp_path, {"day": order})()
    with pytest.raises(ConfigError, match=r"`date_order` is about columns that `dates` names"):
        TableInput(columns={"t": ["day"]}, date_order={"day": order})


@pytest.mark.parametrize(
    ("days", "said"),
    [
        (["05/03/2020", "06/03/2020"], "such as 05/03/2020 are read with the month first"),
        (["04/04/2020", "6/3/20"], "such as 6/3/20 are read with the month first"),
        (["05.03.2020", "06.03.2020"], "such as 05.03.2020 are read with the day first"),
        (["05/03/2020", "19/03/2020"], ""),
        (["05/03/2020", "03/19/2020"], ""),
        (["04/04/2020", "05/05/2020"], ""),  # the same either way
        (["2020-03-05", "2020-03-06"], ""),
    ],
)
def test_dates_that_nothing_decides_are_told(days: list[str], said: str, tmp_path: Path) -> None:
    table = frame(30)
    table["day"], table["part"] = days * 15, ["train"] * 20 + ["val"] * 5 + ["test"] * 5
    table.to_csv(tmp_path / "t.csv", index=False)
    for order in (None, {"day": "month-first"}):
        if order and "19/03/2020" in days:
            continue
        facts = TableInput(columns={"t": ["day"]}, dates=["day"], date_order=order)  # type: ignore[arg-type]
        source = {"t": TableFile(path=tmp_path / "t.csv")}
        doubts = prepare(source, {"x": facts}, TASKS, splits=Split(column="part")).summary()
        told = [line for line in doubts["doubts"] if "dates of column" in line]
        assert len(told) == (said != "" and order is None)
        assert not told or (said in told[0] and "date_order: {day: " in told[0])


def test_a_run_keeps_the_order_of_its_dates(tmp_path: Path) -> None:
    table = frame(60)
    table["day"] = [f"{1 + k % 12:02d}/03/2020" for k in range(60)]
    table["note"] = "all is well today"
    table.to_csv(tmp_path / "t.csv", index=False)
    config = """\
sources: {t: {kind: table, path: t.csv}}
inputs: {x: {kind: table, columns: [a, day], dates: [day], date_order: {day: day-first}}}
tasks: {cost: {kind: regression, target: cost}}
training: {epochs: 1, threads: 1}
"""
    (tmp_path / "c.yaml").write_text(config)
    assert train(load_config(tmp_path / "c.yaml"), tmp_path / "runs", Silent(), [])
    run = Run.newest(tmp_path / "runs")
    assert len(list(predict_run(run, tmp_path / "t.csv"))) == 60
    table["day"] = [f"03/{13 + k % 12}/2020" for k in range(60)]
    table.to_csv(tmp_path / "new.csv", index=False)
    with pytest.raises(DataError, match="the day first"):
        list(predict_run(run, tmp_path / "new.csv"))


def test_dates_in_two_orders_are_refused(tmp_path: Path) -> None:
    days = ["19/07/2020", "05/03/2020"] * 15
    with pytest.raises(DataError, match=r"row 2: '19/07/2020'.*month first .*row 6: '07/19/2020'"):
        dated([*days[:4], "07/19/2020", *days[5:]], tmp_path)()
    with pytest.raises(DataError, match=r"row 31: .*the day first, in training rows.*'07/19/2020'"):
        dated([*days[:29], "07/19/2020"], tmp_path)()


def test_a_date_is_its_year_and_its_place_in_rounds(tmp_path: Path) -> None:
    table = frame(30)
    table["day"] = ["2024-01-01 06:00", None, "2025-04-01 18:00"] * 10
    table["part"] = ["train"] * 20 + ["val"] * 5 + ["test"] * 5
    table.to_csv(tmp_path / "t.csv", index=False)
    facts = TableInput(columns={"t": ["day"]}, dates=["day"])
    data = prepare(
        {"t": TableFile(path=tmp_path / "t.csv")}, {"x": facts}, TASKS, splits=Split(column="part")
    )
    named = dict(zip(facts.names, vectors(data).T, strict=True))
    assert named["day is blank"][:3].tolist() == [0, 1, 0]
    assert named["day, sine of hour"][:3] == pytest.approx([1, 0, -1], abs=1e-6)
    assert named["day, cosine of month"][:3] == pytest.approx([1, 0, 0], abs=1e-6)
    assert named["day, sine of weekday"][0] == pytest.approx(0)  # a Monday


@pytest.mark.parametrize("clean", [None, TableCleaning(scale="robust"), TableCleaning()])
def test_numbers_say_the_same_in_any_unit(clean: TableCleaning | None, tmp_path: Path) -> None:
    numbers = np.random.default_rng(2).normal(3.0, 1.0, 60)
    found = []
    for unit in (1.0, 1e-25, 1e25):
        made = pd.DataFrame({"a": numbers * unit, "same": 0.1 * unit})
        made.to_csv(tmp_path / "t.csv", index=False, float_format="%.17g")
        table = TableFile(path=tmp_path / "t.csv").load()
        table.name = "t"
        some = TableInput(columns={"t": ["a", "same"]}, clean=clean)
        some.fit([(table, None, np.arange(60))])
        found.append(some.vectors(table).vectors)
    assert found[0][:, 0].std() > 0.5
    np.testing.assert_allclose(found[1], found[0], atol=1e-5)
    np.testing.assert_allclose(found[2], found[0], atol=1e-5)

"""`polytask init` on treebanks."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from polytask.cli import app
from polytask.config.load import load_config
from polytask.data.conll import UniversalDependencies
from polytask.errors import DataError
from polytask.survey.profile import profile_data
from polytask.survey.showing import verdict
from polytask.survey.treebanks import COLUMNS, draft_treebank, treebank_files
from polytask.workflow import prepare_data
from tests.data.conftest import own_cache

__all__ = ["own_cache"]

pytest.importorskip("conllu")

SENTENCE = """\
# text = Die Katze schläft.
1\tDie\tder\tDET\tART\tCase=Nom|Number=Sing\t2\tdet\t_\t_
2\tKatze\tKatze\tNOUN\tNN\tCase=Nom|Number=Sing\t3\tnsubj\t_\t_
3\tschläft\tschlafen\tVERB\tVVFIN\tNumber=Sing\t0\troot\t_\tSpaceAfter=No
4\t.\t.\tPUNCT\t$.\t_\t3\tpunct\t_\t_

# text = Hunde bellen
1\tHunde\tHund\tNOUN\tNN\tCase=Nom|Number=Plur\t2\tnsubj\t_\t_
2\tbellen\tbellen\tVERB\tVVFIN\tNumber=Plur\t0\troot\t_\t_

"""


def treebank(folder: Path, *names: str) -> None:
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).write_text(SENTENCE * 6, encoding="utf-8")


def test_a_file_brings_its_parts_and_a_folder_all_of_them(tmp_path: Path) -> None:
    names = [f"de_xy-ud-{part}.conllu" for part in ("train", "dev", "test")]
    treebank(tmp_path, *names, "fr_xy-ud-dev.conllu", "notes.txt")
    found = treebank_files(tmp_path / names[0])
    assert {p: f.name for p, f in found.items()} == dict(
        zip(("train", "validation", "test"), names, strict=True)
    )
    with pytest.raises(DataError, match=r"de_xy-ud-\*, fr_xy-ud-\*"):
        treebank_files(tmp_path)
    (tmp_path / "fr_xy-ud-dev.conllu").unlink()
    assert list(treebank_files(tmp_path)) == ["train", "validation", "test"]
    assert treebank_files(tmp_path / "notes.txt") == {}


def test_the_draft_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    treebank(tmp_path / "bank", "de-ud-train.conllu", "de-ud-test.conllu")
    monkeypatch.chdir(tmp_path)
    run = CliRunner()
    made = run.invoke(app, ["init", "bank", "--targets", "upos,Number,upos"])
    assert made.exit_code == 0, made.output
    text = (tmp_path / "bank.yaml").read_text(encoding="utf-8")
    assert "6 of 36 words have none" in text and "validation: 0.15" in text
    config = load_config(Path("bank.yaml"))
    assert list(config.tasks) == ["upos", "Number"]
    sets = ["training.epochs=1", "training.threads=1", "trunk.backbone.width=8"]
    trained = run.invoke(app, ["train", "bank.yaml", *(a for s in sets for a in ("--set", s))])
    assert trained.exit_code == 0, trained.output
    assert "span" not in text and "Number accuracy" in trained.output
    lines = SENTENCE.encode().replace(b"\n", b"\r\n")
    Path("new.conllu").write_bytes(b"\xef\xbb\xbf" + lines)
    said = run.invoke(app, ["predict", "--input", "new.conllu", "--output", "said.jsonl"])
    assert said.exit_code == 0, said.output
    first, second = map(json.loads, Path("said.jsonl").read_text().splitlines())
    assert len(first["upos"].split()) == 4 and len(second["Number"].split()) == 2


def test_a_single_file_is_divided(tmp_path: Path) -> None:
    treebank(tmp_path, "mine.conllu")
    text = draft_treebank(treebank_files(tmp_path / "mine.conllu"), [], tmp_path)
    assert "path: mine.conllu" in text and "{test: 0.15, validation: 0.15}" in text
    assert "upos: {kind: tagging" in text


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("uppos", "no column, feature or comment 'uppos' to predict. Did you mean 'upos'"),
        ("Gender", "no column, feature or comment 'Gender'"),
    ],
)
def test_what_is_no_target_is_named(tmp_path: Path, target: str, message: str) -> None:
    treebank(tmp_path, "mine.conllu")
    with pytest.raises(DataError, match=message):
        draft_treebank(treebank_files(tmp_path / "mine.conllu"), [target], tmp_path)


def test_a_test_part_alone_cannot_train(tmp_path: Path) -> None:
    treebank(tmp_path, "de-ud-test.conllu")
    with pytest.raises(DataError, match="no training part beside"):
        draft_treebank(treebank_files(tmp_path / "de-ud-test.conllu"), [], tmp_path)


def test_a_treebank_has_a_profile(tmp_path: Path) -> None:
    treebank(tmp_path / "bank", "de-ud-train.conllu", "de-ud-test.conllu")
    for data in ("bank", "bank/de-ud-test.conllu"):
        facts = profile_data(tmp_path / data)
        assert facts["rows"] == 24 and "22 of 24 sentences repeat another" in verdict(facts)
        assert list(facts["columns"]) == [*("words", *COLUMNS), "Number", "Case"]
        assert facts["columns"]["upos"]["kind"] == "4 labels"
        assert facts["columns"]["Number"]["missing"] == 12  # the full stops are without
        assert "Sing (50.0%)" in facts["columns"]["Number"]["why"]
    with pytest.raises(DataError, match="columns of a treebank"):
        profile_data(tmp_path / "bank", ["a", "b"])
    out = str(tmp_path / "out")
    made = CliRunner().invoke(app, ["profile", str(tmp_path / "bank"), "--output", out])
    assert made.exit_code == 0, made.output
    assert "4 labels" in made.output and "4 labels" in (tmp_path / "out/profile.html").read_text()


def documents(folder: Path, count: int = 12) -> Path:
    """Documents of three genres, of three sentences each, of which each has a type of its own."""
    lines = []
    for k in range(count):
        lines += [f"# newdoc id = d{k}", f"# meta::genre = {('news', 'web', 'talk')[k % 3]}"]
        for at in range(3):
            lines += [f"# sent_id = {k}-{at}", f"# s_type = {('decl', 'wh')[(k + at) % 2]}"]
            lines += ["1\tHe\the\tPRON\tPRP\t_\t2\tnsubj\t_\t_"]
            lines += ["2\truns\trun\tVERB\tVBZ\t_\t0\troot\t_\t_", ""]
    (folder / "g.conllu").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder / "g.conllu"


def test_comments_of_sentences_and_documents_are_columns(tmp_path: Path) -> None:
    keys = ["meta::genre", "s_type", "newdoc id"]
    table = UniversalDependencies(path=documents(tmp_path), metadata=keys).load()
    assert table.cells(keys)[:5].tolist() == [
        ["news", "decl", "d0"],
        ["news", "wh", "d0"],
        ["news", "decl", "d0"],
        ["web", "wh", "d1"],
        ["web", "decl", "d1"],
    ]
    text = (tmp_path / "g.conllu").read_text().replace("# s_type = wh\n", "")
    (tmp_path / "g.conllu").write_text(text)  # a key of sentences, though some have none
    cells = UniversalDependencies(path=tmp_path / "g.conllu", metadata=["s_type"]).load()
    assert cells.cells(["s_type"])[:4, 0].tolist() == ["decl", None, "decl", None]


def test_comments_are_drafted_as_labels_of_sentences(tmp_path: Path) -> None:
    file = documents(tmp_path)
    found = {"": file}
    text = draft_treebank(found, [], tmp_path)
    assert "# Comments say more: meta::genre (3 different), s_type (2 different);" in text
    (tmp_path / "c.yaml").write_text(draft_treebank(found, ["upos", "meta::genre"], tmp_path))
    config = load_config(tmp_path / "c.yaml")
    assert config.tasks["upos"].kind == "tagging"
    assert config.tasks["meta-genre"].kind == "multiclass"
    prepared = prepare_data(config, None)
    cells = prepared.datasets["data"].table.cells(["newdoc id"])[:, 0]
    parts = [set(cells[by["data"].numpy()]) for by in prepared.parts.values()]
    assert sum(map(len, parts)) == len(set(cells)) == 12  # no document is in two parts
    with pytest.raises(DataError, match=r"comment 'genre' to predict. Did you mean 'meta::genre'"):
        draft_treebank(found, ["genre"], tmp_path)

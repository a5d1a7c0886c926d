"""What runs know their data by: it stays, so that runs from before are not refused."""

from pathlib import Path

from polytask.data.conll import Columns
from polytask.data.sentences import Lines, Sentences
from polytask.data.sources import Source
from polytask.data.tables import TableFile


def test_unchanged_files_keep_the_key_that_earlier_versions_gave_them(tmp_path: Path) -> None:
    files = {
        "custrev.all": "1 works\n0 \n",
        "words.txt": "x O\ny B-A\n\nz O\n",
        "table.csv": "a,b\n1,2\n",
        "lines.txt": "N:a one\nN:b two\n",
        **{f"stsa.binary.{part}": "1 good\n0 bad\n" for part in ("train", "dev", "test")},
    }
    for name, text in files.items():
        (tmp_path / name).write_bytes(text.encode())
    lines = Lines(path=tmp_path / "lines.txt", label=True, levels=["coarse", "fine"])
    words = Columns(path=tmp_path / "words.txt", columns=["words", "tag"], spans=["tag"])
    # A change of one of these makes every run refuse its own data as changed.
    known: list[tuple[Source, str]] = [
        (Sentences(set="sst2", path=tmp_path), "0ce53a03f31d7aa5f622778f3790acd1"),
        (Sentences(set="cr", path=tmp_path), "7dfc727f8fba7b2dff1f26dcc3dba22b"),
        (lines, "31f3b603861d605ebf660d0ea1b9bbf6"),
        (words, "d8a30a02cc48f978b0dd2b52fbe47d56"),
        (TableFile(path=tmp_path / "table.csv"), "a571527dec3608100bc5d03defb458e3"),
    ]
    for source, key in known:
        assert source.load().fingerprint == key, type(source).__name__

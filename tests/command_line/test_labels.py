"""`skinlesion labels` as its user types it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.trained import skinlesion

from skinlesion.data.labels.join import join_tables
from skinlesion.data.report.labels_summary import fallback_counts, labels_summary

OWN = "image,dx,lesion_id,patient_id\nA,nv,L1,\nB,Zebra,L1,\nC,mel,,P1\nD,,,\nE,akiec,,\n,nv,,\nF,nv,,\n"
TRUTH = "image,MEL,NV,BCC,AK,BKL,DF,VASC,SCC,UNK\nE,0,0,0,0,0,0,0,1,0\nF,1,0,0,0,0,0,0,0,0\n"


@pytest.fixture
def tables(tmp_path: Path) -> list[str]:
    (tmp_path / "own.csv").write_text(OWN)
    (tmp_path / "truth.csv").write_text(TRUTH)
    return [str(tmp_path / "own.csv"), str(tmp_path / "truth.csv")]


def test_the_json_file_says_what_the_tables_become(tables: list[str], tmp_path: Path) -> None:
    ended = skinlesion("labels", *tables, "--json", tmp_path / "labels.json", "--quiet")
    assert (ended.returncode, ended.stderr) == (0, "")
    found = json.loads((tmp_path / "labels.json").read_text())
    assert found["rows"] == 7
    assert found["classes"] == {"benign": 1, "malignant": 2, "unknown": 1}
    assert found["diagnoses"] == {"nv": 1, "zebra": 1, "mel": 1, "scc": 1}
    assert (found["fallback"], found["waiting"]) == ({"zebra": 1}, 1)
    assert (found["groups"], found["groups_by"]) == (3, {"lesion": 1, "patient": 1, "image": 1})
    assert found["layouts"] == {"own.csv": "own", "truth.csv": "isic-2019"}
    assert found["refined"] == [{"from": "akiec", "to": "scc", "images": 1}]
    assert found["refused"] == 2
    assert found["conflict_counts"] == {"diagnoses": 1}
    assert found["conflicts"] == [
        {
            "image": "F",
            "what": "diagnoses",
            "values": [{"table": "own.csv", "row": 8, "value": "nv"}, {"table": "truth.csv", "row": 3, "value": "mel"}],
            "becomes": "refused",
        }
    ]


def test_the_terminal_shows_the_same(tables: list[str]) -> None:
    ended = skinlesion("labels", *tables)
    assert ended.returncode == 0
    for text in ("isic-2019", "7 images, 2 of them refused", "zebra", "akiec became scc", "F: own.csv row 8 'nv'"):
        assert text in ended.stdout


def test_a_setting_decides_the_class_of_actinic_keratosis(tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_text("image,dx\nA,ak\n")
    file = tmp_path / "labels.json"
    for setting, label in (("indeterminate", "unknown"), ("malignant", "malignant")):
        skinlesion("labels", tmp_path / "own.csv", "--json", file, "-q", "--set", f"actinic_keratosis={setting}")
        assert json.loads(file.read_text())["classes"][label] == 1
    ended = skinlesion("labels", tmp_path / "own.csv", "--set", "actinic_keratosis=benign")
    assert ended.returncode == 2
    assert "Setting `actinic_keratosis`" in ended.stderr


def test_without_tables_those_of_the_data_set_are_shown(tmp_path: Path) -> None:
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "truth.csv").write_text(TRUTH)
    ended = skinlesion("labels", "--dataset", tmp_path)
    assert ended.returncode == 0
    assert "truth.csv" in ended.stdout


def test_an_unusable_table_ends_it_with_its_message(tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_text("colour\nred\n")
    ended = skinlesion("labels", tmp_path / "own.csv")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "lacks the columns image, dx" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_words_that_would_mark_up_the_terminal_are_shown_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_text("image,dx\nA,[bold]x[/bold]\nB,[/nothing]\nC,\x1b[2J\n")
    ended = skinlesion("labels", tmp_path / "own.csv")
    assert ended.returncode == 0
    assert "[bold]x[/bold]" in ended.stdout
    assert "[/nothing]" in ended.stdout
    assert "\x1b[2J" not in ended.stdout


def test_tables_of_nothing_but_refused_rows_are_shown_too(tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    path.write_text("image,dx\n,nv\n")
    found = labels_summary(join_tables([path]), 0.2)
    assert (found.rows, found.refused, found.groups) == (1, 1, 0)
    assert found.split.held_out_share == 0


def test_words_beyond_those_listed_are_added_up(tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    path.write_text("image,dx\n" + "".join(f"I{number},word{number % 4}\n" for number in range(10)) + "N,nv\nB,\n")
    assert fallback_counts(join_tables([path]).rows["dx"], listed=2) == {"word0": 3, "word1": 3, "(others)": 4}

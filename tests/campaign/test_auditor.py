"""The auditor sees what must not be. planted_bugs.py shows it on the whole product; here it looks at files written by hand."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.campaign import planted_bugs
from tests.campaign.auditor import TRAINED, Auditor
from tests.campaign.reader import Reader


def image(name: str, split: str, lesion: str, **values: Any) -> dict[str, Any]:
    digest = hashlib.sha256(name.encode()).hexdigest()
    row = {
        "image": name,
        "file": f"{name}.jpg",
        "sha256": digest,
        "lesion_id": lesion,
        "patient_id": "",
        "split": split,
    }
    return row | {"group": f"lesion:{lesion}", "refused": "", "label": "benign", "dx": "nv"} | values


def write(folder: Path, rows: list[dict[str, Any]]) -> None:
    (folder / "dataset").mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), folder / "dataset" / "catalog.parquet")
    keys = [{"key": f"image:{row['image']}", "split": row["split"]} for row in rows]
    pq.write_table(pa.Table.from_pylist(keys), folder / "dataset" / "split.parquet")


def put_in_service(models: Path, switch: int, content: bytes) -> None:
    release = models / "releases" / f"{switch:06d}"
    release.mkdir(parents=True)
    names = (f"{TRAINED}.h5", f"{TRAINED}.tflite")
    for name in names:
        (release / name).write_bytes(content)
    sha256 = dict.fromkeys(names, hashlib.sha256(content).hexdigest())
    record = {"run": "r", "sha256": sha256, "decision_rule": None, "entry": {"version": switch, "switch": switch}}
    (release / f"{TRAINED}.json").write_text(json.dumps(record))
    (models / "in_service").unlink(missing_ok=True)
    (models / "in_service").symlink_to(Path("releases", release.name))


def checks(auditor: Auditor) -> set[str]:
    return {one.check for one in auditor.look(finished=False)}


def test_nothing_is_said_of_a_clean_split(tmp_path: Path) -> None:
    write(tmp_path, [image("a", "train", "1"), image("b", "held_out", "2")])
    assert checks(Auditor(tmp_path)) == set()


def test_a_lesion_on_both_sides_is_seen_though_the_groups_of_the_catalog_deny_it(tmp_path: Path) -> None:
    write(tmp_path, [image("a", "train", "1"), image("b", "held_out", "1", group="image:b")])
    assert checks(Auditor(tmp_path)) == {"both sides"}


def test_an_equal_file_on_both_sides_is_seen(tmp_path: Path) -> None:
    write(tmp_path, [image("a", "train", "1", sha256="e"), image("b", "held_out", "2", sha256="e")])
    assert checks(Auditor(tmp_path)) == {"both sides"}


def test_what_was_held_out_and_is_not_any_more_is_seen(tmp_path: Path) -> None:
    auditor = Auditor(tmp_path)
    write(tmp_path, [image("a", "train", "1"), image("b", "held_out", "2")])
    assert checks(auditor) == set()
    write(tmp_path, [image("a", "train", "1"), image("b", "train", "2")])
    assert checks(auditor) == {"held out for ever"}


def test_a_history_that_lost_a_line_is_seen(tmp_path: Path) -> None:
    auditor, path = Auditor(tmp_path), tmp_path / "models" / "registry" / "history.jsonl"
    path.parent.mkdir(parents=True)
    registered = json.dumps({"registered": {"number": 1, "run": "r", "sha256": {}}})
    path.with_name("versions.jsonl").write_text(registered + "\n")
    lines = [
        json.dumps({"what": "judged", "version": 1, "switch": None, "verdict": None, "at": at}) for at in ("1", "2")
    ]
    path.write_text("\n".join(lines) + "\n")
    assert checks(auditor) == set()
    path.write_text(lines[0] + "\n")
    assert checks(auditor) == {"history grows"}


def test_a_reader_sees_files_of_another_version(tmp_path: Path) -> None:
    reader = Reader(tmp_path)
    put_in_service(tmp_path, 1, b"one")
    put_in_service(tmp_path, 2, b"two")
    reader.check()
    assert (reader.checks, reader.wrong) == (1, [])
    (tmp_path / "releases" / "000002" / f"{TRAINED}.tflite").write_bytes(b"one")
    reader.check()
    assert reader.wrong == ["files of 000002 are not of its version 2"]


@pytest.mark.slow
@pytest.mark.parametrize("bug", ["split_forgotten", "judged_on_trained", "mixed_pair", "old_figures"])
def test_a_planted_bug_is_found(bug: str) -> None:
    assert planted_bugs.found_by(bug, seeds=3).check

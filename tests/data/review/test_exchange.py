"""The queue for people who label elsewhere, and their answers: a table, and Label Studio's tasks."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pandas as pd
import pytest
from tests.plugins import review_folder
from tests.plugins.review_folder import asked

from skinlesion.data.catalog import COLUMNS
from skinlesion.data.labels import review_log
from skinlesion.data.labels.readings import diagnosed
from skinlesion.data.review.exchange import as_csv, as_tasks, labelling_interface, take
from skinlesion.data.settings import DataSettings
from skinlesion.foundation import layout
from skinlesion.foundation.errors import DataError

FILES = {"a": "sub/a.jpg", "b": "b.jpg", "=c": "=c.png", "d.v2": "d.v2.jpg", "blank": "blank.jpg", "gone": ""}


@pytest.fixture
def config(tmp_path: Path) -> DataSettings:
    dataset = tmp_path / "dataset"
    rows = [
        {"image": image, "file": file, "sha256": file and f"sha-{image}", "dx": "" if image == "blank" else "nv"}
        for image, file in FILES.items()
    ]
    blank: dict[str, object] = {name: "" if kind == "str" else 0 for name, kind in COLUMNS.items()}
    table = pd.DataFrame([blank | row for row in rows]).astype(COLUMNS)
    dataset.mkdir()
    table.to_parquet(layout.catalog(dataset))
    review_folder.write(dataset, [asked("a"), asked("b"), asked("=c")])
    return DataSettings.of({"dataset": dataset})


def filled(text: str, **answers: str) -> str:
    rows = list(csv.DictReader(io.StringIO(text)))
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]))
    writer.writeheader()
    writer.writerows(row | {"dx": answers.get(row["image"].removeprefix("'="), row["dx"])} for row in rows)
    return out.getvalue()


def row_of(text: str, image: str) -> dict[str, str]:
    return next(row for row in csv.DictReader(io.StringIO(text)) if row["image"] == image)


def said(config: DataSettings) -> list[tuple[str, str, str, str, str]]:
    return [(*one.images, one.what, one.dx, one.by, one.why) for one in review_log.read(config.dataset)]  # type: ignore[misc]


def decided(config: DataSettings) -> dict[str, tuple[str, str]]:
    """Return the diagnosis that people gave an image, and who did."""
    counts = diagnosed(review_log.read_reviews(config.dataset).of_image)
    return {image: (one.dx, one.by) for image, one in counts.items()}


def test_a_table_that_was_filled_in_is_taken_once(config: DataSettings, tmp_path: Path) -> None:
    text = as_csv(config.dataset)
    assert text.splitlines()[0] == "image,file,labels,suggested,reason,dx,by,why"
    (tmp_path / "t.csv").write_text(filled(text, a="Melanoma", b="nv", c="cannot tell"))
    assert take(config, tmp_path / "t.csv", "ann") == (3, 3)
    answers = [("a", "labelled", "mel"), ("b", "confirmed", "nv"), ("=c", "cannot tell", "")]
    assert said(config) == [(*answer, "ann", "") for answer in answers]
    assert take(config, tmp_path / "t.csv", "ann") == (0, 3)
    assert review_log.read(config.dataset)[0].images == {"a": "sha-a"}
    assert "mel,ann," in as_csv(config.dataset)


def test_any_table_with_image_and_dx_will_do(config: DataSettings, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("file;dx;image;by;why\nx;bcc;images\\sub\\a.jpg;Ben;nests\ny;mel;d.v2;;\nz;;b;;\n")
    assert take(config, tmp_path / "t.csv", "ann") == (2, 2)
    assert said(config) == [("a", "labelled", "bcc", "Ben", "nests"), ("d.v2", "labelled", "mel", "ann", "")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image,dx\na,mel\nother,nv\n", r"row 3: no image file of the data set is called 'other'.*Nothing was noted"),
        ("image,dx\nblank,wrong\n", "row 2: 'blank' has no diagnosis that could be wrong"),
        ("image,dx\ngone,mel\n", "row 2: no image file of the data set is called 'gone'"),
        ("image,dx\na,melonoma\nb,zebra\n", "row 2: 'melonoma' is no diagnosis that is known; row 3: 'zebra'"),
        ("image,dx\na,mel\na,nv\n", "row 3: 'a' is 'nv', in row 2 'mel'. Remove one"),
        ("image,diagnosis\na,mel\n", "lacks the column dx; expected image and dx"),
        ("", "empty"),
    ],
)
def test_what_cannot_be_used_is_named_and_nothing_is_noted(
    config: DataSettings, tmp_path: Path, text: str, message: str
) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        take(config, tmp_path / "t.csv", "ann")
    assert said(config) == []


def test_label_studio_is_given_tasks_and_a_labelling_interface(config: DataSettings) -> None:
    tasks = json.loads(as_tasks(config.dataset))
    addresses = [task["data"]["image"] for task in tasks]
    assert addresses == [f"/data/local-files/?d={file}" for file in ("sub/a.jpg", "b.jpg", "%3Dc.png")]
    result = tasks[0]["predictions"][0]["result"][0]
    interface = ElementTree.fromstring(labelling_interface(config.dataset))
    control = next(one for one in interface if one.tag == "Choices")
    assert (result["from_name"], result["to_name"]) == (control.attrib["name"], control.attrib["toName"])
    assert result["value"]["choices"][0] in [choice.attrib["value"] for choice in control]


def annotated(task: dict[str, Any], *choices: str, **more: Any) -> dict[str, Any]:
    results = [{"from_name": "diagnosis", "to_name": "image", "type": "choices", "value": {"choices": list(choices)}}]
    annotation = {"result": results, "completed_by": {"id": 1, "email": "eva@x"}, "created_at": "2026-01-02", **more}
    return task | {"id": 7, "annotations": [*task.get("annotations", ()), annotation]}


def test_what_was_said_in_label_studio_comes_back(config: DataSettings, tmp_path: Path) -> None:
    one, two, three = json.loads(as_tasks(config.dataset))
    one = annotated(annotated(one, "bcc"), "mel", completed_by=3, created_at="2026-01-03")
    one["annotations"].reverse()
    two = annotated(annotated(two, "mel", was_cancelled=True), "cannot tell")
    two["annotations"][1]["result"].append(
        {"from_name": "why", "type": "textarea", "value": {"text": ["dark", "blurred"]}}
    )
    del two["data"]["name"]
    (tmp_path / "t.json").write_text(json.dumps([one, two, annotated(three)]))
    assert take(config, tmp_path / "t.json", "ann") == (3, 3)
    assert said(config) == [
        ("a", "labelled", "bcc", "eva@x", ""),
        ("a", "labelled", "mel", "Label Studio's user 3", ""),
        ("b", "cannot tell", "", "eva@x", "dark blurred"),
    ]


def test_so_does_its_flat_export(config: DataSettings, tmp_path: Path) -> None:
    rows = [
        {"id": 1, "image": "/data/local-files/?d=sub/a.jpg", "diagnosis": "mel", "annotator": 2},
        {"id": 2, "image": "b.jpg"},
    ]
    (tmp_path / "t.json").write_text(json.dumps(rows))
    assert take(config, tmp_path / "t.json", "ann") == (1, 1)
    assert said(config) == [("a", "labelled", "mel", "Label Studio's user 2", "")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", r"t\.json is no JSON"),
        ('{"tasks": []}', "expected a list of Label Studio's tasks"),
        ("[1]", "expected a list of Label Studio's tasks"),
        ('[{"id": 4, "annotations": [{"result": [{}]}], "data": {}}]', "task 4 is not as Label Studio writes it"),
        ('[{"annotations": 3}]', "task 1 is not as Label Studio writes it"),
        (json.dumps([annotated({"data": {"name": "a"}}, "mel", "nv")]), "one diagnosis expected, 2 found"),
        (json.dumps([annotated({"data": {"name": "x"}}, "mel")]), "task 7: no image file .* is called 'x'"),
    ],
)
def test_json_that_does_not_fit_is_named(config: DataSettings, tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "t.json").write_text(content)
    with pytest.raises(DataError, match=message):
        take(config, tmp_path / "t.json", "ann")
    assert said(config) == []


def test_without_a_queue_it_says_what_to_run(config: DataSettings) -> None:
    (layout.review_queue(config.dataset) / "queue.json").unlink()
    with pytest.raises(DataError, match="Run it first"):
        as_csv(config.dataset)


def test_a_label_may_be_called_wrong_in_a_table_which_may_be_taken_twice(config: DataSettings, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(filled(as_csv(config.dataset), a="wrong"))
    assert take(config, tmp_path / "t.csv", "ann") == (1, 1)
    [entry] = review_log.read(config.dataset)
    assert (entry.what, entry.dx, entry.before) == ("wrong", "", "nv")
    assert row_of(as_csv(config.dataset), "a")["dx"] == ""  # somebody else may know what it is
    catalog = pd.read_parquet(layout.catalog(config.dataset))
    catalog.loc[catalog["image"] == "a", "dx"] = ""  # as the next night leaves it
    catalog.to_parquet(layout.catalog(config.dataset))
    assert take(config, tmp_path / "t.csv", "ann") == (0, 1)


def test_a_label_may_be_called_wrong_in_label_studio(config: DataSettings, tmp_path: Path) -> None:
    [one, *_] = json.loads(as_tasks(config.dataset))
    assert '<Choice value="wrong"/>' in labelling_interface(config.dataset)
    (tmp_path / "t.json").write_text(json.dumps([annotated(one, "wrong")]))
    assert take(config, tmp_path / "t.json", "ann") == (1, 1)
    assert said(config) == [("a", "wrong", "", "eva@x", "")]


def test_answers_of_elsewhere_are_those_of_readers(config: DataSettings, tmp_path: Path) -> None:
    two = config.model_copy(update={"review_readers": 2})
    (tmp_path / "ann.csv").write_text("image,dx\na,mel\nb,mel\n=c,mel\n")
    assert take(two, tmp_path / "ann.csv", "ann") == (3, 3)
    assert take(two, tmp_path / "ann.csv", "ann") == (0, 3)
    assert decided(two) == {}
    assert {row["dx"] for row in csv.DictReader(io.StringIO(as_csv(two.dataset)))} == {""}  # nobody sees what she said
    assert "ann" not in as_csv(two.dataset) + as_tasks(two.dataset)
    (tmp_path / "ben.csv").write_text("image,dx\na,mel\nb,bcc\n")
    assert take(two, tmp_path / "ben.csv", "ben") == (2, 2)
    assert decided(two) == {"a": ("mel", "ann and ben")}
    text = as_csv(two.dataset)
    assert row_of(text, "a")["dx"] == "mel"
    assert row_of(text, "b")["reason"].endswith("Two readers disagree: ann said mel and ben said bcc.")
    (tmp_path / "all.csv").write_text(text)
    assert take(two, tmp_path / "all.csv", "cleo") == (0, 1)  # what already counts is nobody's new answer
    (tmp_path / "cleo.csv").write_text(filled(text, b="bcc"))
    assert take(two, tmp_path / "cleo.csv", "cleo") == (1, 2)
    assert decided(two)["b"] == ("bcc", "ben and cleo")
    assert take(two, tmp_path / "ann.csv", "ann") == (0, 3)  # her first answer, which did not win, asks nobody again


def test_two_readers_may_have_a_row_each_in_one_table(config: DataSettings, tmp_path: Path) -> None:
    two = config.model_copy(update={"review_readers": 2})
    (tmp_path / "t.csv").write_text("image,dx,by\na,mel,ann\na,nv,ben\nb,mel,ann\nb,mel,ben\n")
    with pytest.raises(DataError, match="row 3: 'a' is 'nv', in row 2 'mel'"):
        take(config, tmp_path / "t.csv", "ann")
    assert take(two, tmp_path / "t.csv", "ann") == (4, 4)
    assert decided(two).keys() == {"b"}
    (tmp_path / "t.csv").write_text("image,dx,by\na,mel,ann\na,nv,ann\n")
    with pytest.raises(DataError, match="row 3: 'a' is 'nv', in row 2 'mel'"):
        take(two, tmp_path / "t.csv", "ann")

import json
from pathlib import Path
from typing import ClassVar

import pytest
from pydantic import ValidationError

from skinlesion.foundation.errors import DataError
from skinlesion.foundation.record import Record, RecordPart


class Bound(RecordPart):
    at_most: float


class Answer(Record):
    current_format: ClassVar[int] = 2
    remedy: ClassVar[str] = "Ask again."
    text: str
    bounds: tuple[Bound, ...] = ()


ANSWER = Answer(text="größer", bounds=(Bound(at_most=0.5), Bound(at_most=float("inf"))))


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    ANSWER.write(tmp_path / "answer.json")
    assert Answer.read(tmp_path / "answer.json") == ANSWER
    assert Answer.of_line(ANSWER.line(), tmp_path / "answers.jsonl", 1) == ANSWER
    assert "\n" not in ANSWER.line()


def test_a_file_without_a_format_has_the_first_and_new_fields_are_ignored(tmp_path: Path) -> None:
    (tmp_path / "answer.json").write_text('{"text": "yes", "reason": "why"}')
    assert Answer.read(tmp_path / "answer.json") == Answer(text="yes", format_version=1)


def test_a_missing_file_is_no_broken_one(tmp_path: Path) -> None:
    assert Answer.read_if_there(tmp_path / "answer.json") is None
    with pytest.raises(FileNotFoundError):
        Answer.read(tmp_path / "answer.json")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({}, "the field `text` is missing."),
        ({"text": 3}, "the field `text` does not fit: Input should be a valid string, found '3'."),
        ({"text": "", "bounds": [{"at_most": "5"}]}, "the field `bounds.0.at_most` does not fit"),
        ({"bounds": 1}, "the field `text` is missing (and 1 more)."),
        ({"text": "", "format_version": 3}, "this program reads formats 1 to 2; a newer program wrote this one"),
        ([], "object"),
    ],
)
def test_a_file_that_does_not_fit_is_named_with_the_field_and_what_to_do(
    tmp_path: Path, content: object, said: str
) -> None:
    path = tmp_path / "answer.json"
    path.write_text(json.dumps(content))
    with pytest.raises(DataError) as refused:
        Answer.read_if_there(path)
    assert str(refused.value).startswith(f"{path}: ")
    assert said in str(refused.value)
    assert str(refused.value).endswith("Ask again.")


def test_a_line_that_does_not_fit_is_named_by_its_number(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"answers\.jsonl, line 7: the field `text` is missing"):
        Answer.of_line("{}", tmp_path / "answers.jsonl", 7)


def test_half_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "answer.json").write_text('{"text": "y')
    with pytest.raises(DataError, match=r"answer\.json: Invalid JSON"):
        Answer.read(tmp_path / "answer.json")


def test_a_record_does_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        ANSWER.text = "no"

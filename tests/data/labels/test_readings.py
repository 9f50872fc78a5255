"""When what people say of an image counts: one reader, two who agree, a third who decides; and what is said to be wrong."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest
from tests.data.labels.tables import reviewed

from skinlesion.data.labels import review_log
from skinlesion.data.labels.readings import (
    Reading,
    ReviewEntry,
    What,
    called_wrong,
    diagnosed,
    hidden_from,
    readings,
    sentence_of_waiting,
)
from skinlesion.data.labels.review_log import ReviewedMeanwhile, note, read_reviews, undo
from skinlesion.foundation import layout
from skinlesion.foundation.errors import DataError


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    return tmp_path


def say(
    dataset: Path, by: str, answer: str, readers: int = 2, image: str = "a", seen: int | None = None
) -> ReviewEntry:
    """Note what a person says of an image whose label is nv: a diagnosis, `wrong`, `cannot tell` or `skipped`."""
    is_dx = answer not in ("wrong", "cannot tell", "skipped")
    what: What = ("confirmed" if answer == "nv" else "labelled") if is_dx else cast(What, answer)
    dx = answer if is_dx else ""
    images = {image: f"sha-{image}"}
    return note(dataset, by, what, images, dx=dx, before="nv", readers=readers, seen=seen)


def said(dataset: Path) -> dict[str, Reading]:
    return read_reviews(dataset).of_image


def reading(dataset: Path, image: str = "a") -> Reading:
    return said(dataset).get(image, Reading())


def test_of_two_readers_the_first_changes_nothing_and_the_second_who_agrees_makes_the_label(dataset: Path) -> None:
    say(dataset, "ann", "mel")
    assert (reviewed(dataset), diagnosed(said(dataset))) == ({}, {})
    assert sentence_of_waiting(said(dataset)).startswith("1 image waits for a second reader, and 0")
    say(dataset, "ben", "mel")
    assert reviewed(dataset) == {"a": "mel"}
    assert diagnosed(said(dataset))["a"].by == "ann and ben"
    assert sentence_of_waiting(said(dataset)) == ""


@pytest.mark.parametrize(
    ("answers", "counts", "by", "waiting"),
    [
        ("ann mel, ann mel, ann bcc, ann bcc", "", "", "ann"),  # one person is never two readers
        ("ann mel, ann bcc, ben mel", "", "", "ann ben"),  # ann takes no part with what she said before
        ("ann nv, ben mel, cleo mel", "mel", "ben and cleo", ""),
        ("ann nv, ben mel, cleo nv", "nv", "ann and cleo", ""),
        ("ann nv, ben mel, cleo bcc", "bcc", "cleo", ""),
        ("ann nv, ben mel, cleo cannot tell", "", "cleo", ""),
        ("ann mel, ben mel, cleo bcc", "mel", "ann and ben", "cleo"),  # what two agree on takes two to change
        ("ann mel, ben mel, cleo bcc, dan bcc", "bcc", "cleo and dan", ""),
        ("ann mel, ben mel, cleo bcc, dan bcc, ann bcc", "bcc", "cleo and dan and ann", ""),
        ("ann wrong, ben mel", "", "", "ann ben"),
    ],
)
def test_two_who_agree_make_the_label_and_where_they_disagree_the_third(
    dataset: Path, answers: str, counts: str, by: str, waiting: str
) -> None:
    for who, _, answer in (one.partition(" ") for one in answers.split(", ")):
        say(dataset, who, answer)
    found = reading(dataset)
    assert reviewed(dataset) == ({"a": counts} if counts else {})
    assert (found.by, [one.by for one in found.open]) == (by, waiting.split())
    assert found.is_settled == (not waiting)
    assert called_wrong(said(dataset)) == {}
    third = "0 images wait for a second reader, and 1 for a third"
    assert (third in sentence_of_waiting(said(dataset))) == (waiting == "ann ben")


def test_an_undo_of_the_first_after_the_second_came_leaves_one_reader(dataset: Path) -> None:
    first = say(dataset, "ann", "mel")
    say(dataset, "ben", "mel")
    undo(dataset, "ann", first.number)
    assert reviewed(dataset) == {}
    assert [one.by for one in reading(dataset).open] == ["ben"]
    say(dataset, "ann", "nv")
    assert (len(reading(dataset).open), reviewed(dataset)) == (2, {})


def test_an_undo_of_the_third_is_a_disagreement_again(dataset: Path) -> None:
    say(dataset, "ann", "nv")
    say(dataset, "ben", "mel")
    third = say(dataset, "cleo", "mel")
    undo(dataset, "cleo", third.number)
    assert ([one.by for one in reading(dataset).open], reviewed(dataset)) == (["ann", "ben"], {})


def test_each_answer_counts_by_the_number_of_readers_of_its_own_time(dataset: Path) -> None:
    say(dataset, "ann", "mel", readers=1)
    say(dataset, "ann", "mel", readers=1, image="b")
    assert reviewed(dataset) == {"a": "mel", "b": "mel"}
    say(dataset, "ben", "bcc")  # two are asked for from now on: what counted still does
    say(dataset, "ben", "bcc", image="c")
    assert reviewed(dataset) == {"a": "mel", "b": "mel"}
    say(dataset, "cleo", "skipped", readers=1)  # one is enough again: what waited still waits
    assert reviewed(dataset) == {"a": "mel", "b": "mel"}
    assert [one.by for one in reading(dataset, "c").open] == ["ben"]
    say(dataset, "ben", "bcc", readers=1, image="c")  # now his word is enough
    assert reviewed(dataset) == {"a": "mel", "b": "mel", "c": "bcc"}
    say(dataset, "cleo", "df", readers=1)
    assert (reviewed(dataset)["a"], reading(dataset).open) == ("df", ())


def test_two_who_looked_at_different_files_do_not_agree(dataset: Path) -> None:
    note(dataset, "ann", "labelled", {"a": "one file"}, dx="mel", readers=2)
    note(dataset, "ben", "labelled", {"a": "another file"}, dx="mel", readers=2)
    assert (reviewed(dataset), [one.by for one in reading(dataset).open]) == ({}, ["ben"])


def test_two_at_once_are_two_readers_and_a_third_who_saw_nothing_looks_again(dataset: Path) -> None:
    say(dataset, "ann", "mel", seen=0)
    say(dataset, "ben", "nv", seen=0)  # opened before ann had answered: read independently
    with pytest.raises(ReviewedMeanwhile, match=r"^Two readers have answered since you opened this image, and they"):
        say(dataset, "cleo", "mel", seen=0)
    assert len(review_log.read(dataset)) == 2
    say(dataset, "cleo", "mel", seen=reading(dataset).newest_shown)
    with pytest.raises(ReviewedMeanwhile, match=r"^ann and cleo said mel at \d\d:\d\d UTC, after you opened"):
        say(dataset, "dan", "bcc", seen=0)
    assert reviewed(dataset) == {"a": "mel"}


def test_nobody_is_shown_the_first_readers_answer_before_the_second(dataset: Path) -> None:
    say(dataset, "ben", "df", readers=1, image="b")
    first = say(dataset, "ann", "mel")
    say(dataset, "cleo", "skipped")

    def hidden(name: str) -> set[int]:
        entries = review_log.read(dataset)
        return hidden_from(name, entries, readings(entries))

    assert (hidden("ann"), hidden("ben"), hidden("somebody")) == (set(), {first.number}, {first.number})
    undo(dataset, "ann", first.number)  # what was taken back would tell as much
    assert hidden("ben") == {first.number}
    again = say(dataset, "ann", "nv")
    assert hidden("ben") == {first.number, again.number}
    say(dataset, "ben", "mel")
    assert hidden("ben") == hidden("cleo") == set()  # they disagree: who settles it sees both
    say(dataset, "cleo", "mel")
    assert hidden("ann") == hidden("somebody") == set()  # it is settled


def test_an_older_program_refuses_what_it_would_take_for_the_label(dataset: Path) -> None:
    one, two = say(dataset, "ann", "mel", readers=1), say(dataset, "ann", "mel", readers=2)
    assert (one.format_version, two.format_version) == (1, 2)


def test_a_label_is_wrong_until_somebody_says_what_it_is(dataset: Path) -> None:
    entry = say(dataset, "ann", "wrong", readers=1)
    assert (called_wrong(said(dataset))["a"].before, diagnosed(said(dataset))) == ("nv", {})
    assert layout.review_table(dataset).read_text().splitlines()[1].startswith("a,,wrong,ann,")
    assert not reading(dataset).is_settled  # others may know
    say(dataset, "ben", "cannot tell", readers=1)  # which does not make nv right
    assert (called_wrong(said(dataset))["a"].by, reading(dataset).is_settled) == ("ann", True)
    say(dataset, "cleo", "nv", readers=1)
    assert (called_wrong(said(dataset)), reviewed(dataset)) == ({}, {"a": "nv"})
    undo(dataset, "ann", entry.number)
    assert reviewed(dataset) == {"a": "nv"}


def test_nobody_who_called_a_label_wrong_is_asked_again_whoever_else_does(dataset: Path) -> None:
    for by in ("ann", "ben", "ann"):
        say(dataset, by, "wrong", readers=1)
    assert reading(dataset).people == {"ann", "ben"}
    say(dataset, "cleo", "mel", readers=1)
    assert (reading(dataset).by, reading(dataset).is_settled) == ("cleo", True)


def test_two_readers_may_agree_that_a_label_is_wrong(dataset: Path) -> None:
    say(dataset, "ann", "wrong")
    assert (called_wrong(said(dataset)), reviewed(dataset)) == ({}, {})
    say(dataset, "ben", "wrong")
    assert called_wrong(said(dataset))["a"].before == "nv"
    assert reading(dataset).people == {"ann", "ben"}
    say(dataset, "cleo", "mel")
    assert called_wrong(said(dataset))["a"].by == "ben"  # one says what it is: not yet a diagnosis
    say(dataset, "dan", "mel")
    assert (called_wrong(said(dataset)), reviewed(dataset)) == ({}, {"a": "mel"})


def test_a_row_that_says_wrong_is_as_little_somebodys_own_as_others(dataset: Path) -> None:
    say(dataset, "ann", "wrong", readers=1)
    path = layout.review_table(dataset)
    review_log.write_table(dataset)
    path.write_text(path.read_text().replace("a,,wrong", "a,mel,wrong"))
    with pytest.raises(DataError, match="row 2 is not from"):
        review_log.write_table(dataset)

"""The page Review: who may look and who may say, two people at once, and nothing but the queue's pictures to be read."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.plugins import review_folder
from tests.plugins.page_form import FROM_THE_PAGE, PAGE, BrowserOf, fields
from tests.plugins.review_folder import asked, content_of, picture
from tests.plugins.test_page_access import BY_NOBODY, FORGED

from skinlesion.data.labels import review_log
from skinlesion.data.labels.readings import called_wrong
from skinlesion.data.review import queue as stored
from skinlesion.foundation import layout

if TYPE_CHECKING:
    from httpx import Response
    from starlette.testclient import TestClient

REVIEW = f"{PAGE}/review"
ADDRESSES = ("", "/queue", "/history", f"/pictures/{content_of('a')}", "?image=b")
EVIL = "<script>document.title='acted'</script>\"'&"


@pytest.fixture
def dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data set with four images in the queue; the first shows a lesion of which there is another picture."""
    folder = tmp_path / "dataset"
    folder.mkdir()
    monkeypatch.setenv("SKINLESION_DATASET", str(folder))
    first = asked("a", lesion=(picture("a2", "nv"),), neighbours=(picture("n", "mel"),))
    review_folder.write(folder, [first, asked("b"), asked("c", dx=""), asked("d", split="held_out")])
    return folder


def shown(browser: TestClient, image: str = "") -> tuple[str, dict[str, str]]:
    """Return the image that is shown, and the hidden fields of the form."""
    answer = browser.get(f"{REVIEW}{f'?image={image}' if image else ''}")
    assert answer.status_code == 200, answer.text
    title = re.search(r"<h1[^>]*>(.*?)</h1>", answer.text)
    assert title is not None
    return title[1], fields(answer.text)


def say(browser: TestClient, answer: str, form: dict[str, str] | None = None, **more: str) -> Response:
    form = shown(browser)[1] if form is None else form
    sent = form | {"answer": answer} | more
    done: Response = browser.post(REVIEW, data=sent, headers=FROM_THE_PAGE)
    return done


def test_one_image_follows_another_and_what_was_said_is_the_label(
    ada: TestClient, uma: TestClient, dataset: Path
) -> None:
    assert shown(ada)[0] == "a"
    assert "gives mel 81% and nv 12%" in ada.get(REVIEW).text
    done = say(ada, "dx:mel", why="streaks")
    assert (done.status_code, done.headers["location"]) == (303, REVIEW)
    for image, answer in (("b", "confirmed"), ("c", "cannot tell"), ("d", "skipped")):
        assert shown(ada)[0] == image
        assert say(ada, answer).status_code == 303
    assert "Nothing is left to look at: 3 of 4" in ada.get(REVIEW).text
    said = [(one.by, one.what, *one.images.items(), one.dx, one.before, one.why) for one in review_log.read(dataset)]
    assert said == [
        ("ada", "labelled", ("a", content_of("a")), "mel", "nv", "streaks"),
        ("ada", "confirmed", ("b", content_of("b")), "nv", "nv", ""),
        ("ada", "cannot tell", ("c", content_of("c")), "", "", ""),
        ("ada", "skipped", ("d", content_of("d")), "", "nv", ""),
    ]
    rows = [row.split(",")[:2] for row in layout.review_table(dataset).read_text().splitlines()[1:]]
    assert rows == [["a", "mel"], ["b", "nv"]]
    assert "ada said mel" in ada.get(f"{REVIEW}/history").text
    assert shown(uma)[0] == "d"  # a skip is for oneself


def test_an_image_without_a_diagnosis_shows_what_the_model_in_service_says(ada: TestClient, dataset: Path) -> None:
    said = {"malignant": 0.48, "benign": 0.4, "unknown": 0.12}
    beside = {"lesion": (picture("l", "nv"), picture("m", "")), "neighbours": (picture("n", "mel"),)}
    new = asked("new", dx="", label="", split="", suggested="", version=7, probabilities=said, **beside)
    review_folder.write(dataset, [new])
    page = ada.get(REVIEW).text
    assert "<h2>What version 7 says, which is in service</h2>" in page
    assert re.findall(r'<th scope="row">(\w+)</th>', page) == ["malignant", "benign", "unknown"]
    assert "The labels say <strong>nothing</strong>." in page
    assert 'value="confirmed"' not in page
    assert {f"/review/pictures/{content_of(one)}" in page for one in ("new", "l", "m", "n")} == {True}
    assert say(ada, "dx:nv").status_code == 303
    assert [(one.what, one.dx, one.before) for one in review_log.read(dataset)] == [("labelled", "nv", "")]


def test_the_same_may_be_said_of_the_lesions_other_pictures(ada: TestClient, dataset: Path) -> None:
    say(ada, "dx:mel", lesion="true")
    say(ada, "dx:mel", lesion="true")  # there are none
    entries = review_log.read(dataset)
    assert [list(one.images) for one in entries] == [["a", "a2"], ["b"]]


def test_an_undo_shows_the_image_again(ada: TestClient, uma: TestClient, dataset: Path) -> None:
    say(ada, "dx:mel")
    _, form = shown(ada)
    assert form["entry"] == "1"
    refused = uma.post(f"{REVIEW}/undo", data=shown(uma)[1] | {"entry": "1"}, headers=FROM_THE_PAGE)
    assert refused.status_code == 409
    done = ada.post(f"{REVIEW}/undo", data=form, headers=FROM_THE_PAGE)
    assert (done.status_code, done.headers["location"]) == (303, f"{REVIEW}?image=a")
    assert shown(ada)[0] == "a"
    assert not layout.review_table(dataset).exists()


def test_two_people_at_once_see_different_images_and_overwrite_nothing_unseen(
    ada: TestClient, uma: TestClient, dataset: Path
) -> None:
    image, both_saw = shown(ada)
    other, form = shown(uma)
    assert image == other == "a"
    say(ada, "dx:mel", both_saw)
    late = say(uma, "dx:bcc", form)
    assert late.status_code == 409
    assert "ada said mel at" in late.text
    assert "was not noted" in late.text
    assert [one.by for one in review_log.read(dataset)] == ["ada"]
    again = fields(late.text)
    assert say(uma, "dx:bcc", again).status_code == 303  # she has seen it now
    assert len({shown(ada)[0], shown(uma)[0]}) == 2
    assert "a,bcc,labelled,uma" in layout.review_table(dataset).read_text()


def test_an_answer_that_the_page_does_not_have_is_refused(ada: TestClient, dataset: Path) -> None:
    for answer in ("", "dx:", "dx:zebra", "dx:=1+1", "labelled", "undone", "confirmed:", "cannot tell:mel"):
        assert say(ada, answer).status_code in (409, 422)
    assert review_log.read(dataset) == []


def test_nothing_can_be_said_of_what_is_not_in_the_queue(ada: TestClient, dataset: Path) -> None:
    _, form = shown(ada)
    for more in ({"image": "other"}, {"content": content_of("b")}, {"image": "../a"}):
        answer = say(ada, "dx:mel", form | more)
        assert answer.status_code == 409
        assert "was not noted" in answer.text
    assert say(ada, "confirmed", shown(ada, "c")[1]).status_code == 409  # there is nothing to confirm
    assert review_log.read(dataset) == []
    assert ada.get(f"{REVIEW}?image=other").status_code == 404


@pytest.mark.parametrize("path", ADDRESSES)
def test_nobody_looks_without_a_login(browser_of: BrowserOf, nobody: TestClient, dataset: Path, path: str) -> None:
    assert nobody.get(REVIEW + path).status_code == 401
    assert {browser_of(name).get(REVIEW + path).status_code for name in ("vic", "uma", "ada")} == {200}


@pytest.mark.parametrize(("headers", "status"), BY_NOBODY.values(), ids=BY_NOBODY)
def test_what_is_no_login_says_nothing(
    ada: TestClient, nobody: TestClient, dataset: Path, headers: dict[str, str], status: int
) -> None:
    form = shown(ada)[1] | {"answer": "dx:mel", "entry": "1"}
    for path in ("", "/undo"):
        assert nobody.post(REVIEW + path, data=form, headers=FROM_THE_PAGE | headers).status_code == status
    assert review_log.read(dataset) == []


def test_a_viewer_looks_and_may_not_say(ada: TestClient, vic: TestClient, dataset: Path) -> None:
    assert "<form" not in vic.get(REVIEW).text
    stolen = shown(ada)[1]
    assert say(vic, "dx:mel", stolen).status_code == 403
    assert vic.post(f"{REVIEW}/undo", data=stolen | {"entry": "1"}, headers=FROM_THE_PAGE).status_code == 403
    assert review_log.read(dataset) == []


@pytest.mark.parametrize("headers", FORGED.values(), ids=FORGED)
def test_a_forged_word_is_refused_even_with_the_forms_token(
    ada: TestClient, dataset: Path, headers: dict[str, str]
) -> None:
    say(ada, "dx:mel")
    form = shown(ada)[1] | {"answer": "dx:mel"}
    for path in ("", "/undo"):
        answer = ada.post(REVIEW + path, data=form, headers=headers)
        assert answer.status_code == 403
        assert "did not come from this page" in answer.text
    assert len(review_log.read(dataset)) == 1


def test_a_word_without_the_forms_token_is_refused(ada: TestClient, uma: TestClient, dataset: Path) -> None:
    _, form = shown(ada)
    for token in ("", "x", form["form_token"][:-1], shown(uma)[1]["form_token"]):
        assert say(ada, "dx:mel", form | {"form_token": token}).status_code == 403
    assert review_log.read(dataset) == []


@pytest.mark.parametrize("method", ["get", "put", "delete", "patch"])
def test_nothing_but_a_post_says_anything(ada: TestClient, dataset: Path, method: str) -> None:
    ada.request(method, f"{REVIEW}?answer=dx:mel&image=a", headers=FROM_THE_PAGE)
    assert ada.request(method, f"{REVIEW}/undo", headers=FROM_THE_PAGE).status_code in (404, 405)
    assert review_log.read(dataset) == []


def test_only_pictures_of_the_queue_are_read(ada: TestClient, dataset: Path) -> None:
    names = (
        "../queue.json", "..%2Fqueue.json", "%2e%2e%2fqueue.json", "queue.json", "....//queue", "a", content_of("a")[:-1], content_of("a").upper(),
     f"{content_of('a')}.jpg", f"{content_of('a')}%00", "/etc/passwd", "%2Fetc%2Fpasswd", content_of("not there"), "f" * 63 + "%0a",
    )  # fmt: skip
    assert {name: ada.get(f"{REVIEW}/pictures/{name}").status_code for name in names} == dict.fromkeys(names, 404)


def test_a_link_in_the_place_of_a_picture_is_not_followed(ada: TestClient, dataset: Path) -> None:
    (dataset.parent / "secret").write_text("secret")
    (stored.thumbnails(dataset) / f"{content_of('link')}.jpg").symlink_to(dataset.parent / "secret")
    (stored.thumbnails(dataset) / f"{content_of('folder')}.jpg").mkdir()
    for image in ("link", "folder"):
        assert ada.get(f"{REVIEW}/pictures/{content_of(image)}").status_code == 404


def test_a_picture_is_a_picture_to_every_browser(ada: TestClient, dataset: Path) -> None:
    headers = ada.get(f"{REVIEW}/pictures/{content_of('a')}").headers
    assert (headers["content-type"], headers["x-content-type-options"]) == ("image/jpeg", "nosniff")
    assert headers["cache-control"].startswith("private")
    for path in ("", "/queue", "/history"):
        policy = ada.get(REVIEW + path).headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy


def test_names_diagnoses_and_reasons_are_shown_as_text(ada: TestClient, dataset: Path) -> None:
    other = picture(f"b{EVIL}", EVIL)
    image = asked(EVIL, dx=EVIL, suggested=EVIL, reason=EVIL, label=EVIL, lesion=(other,), neighbours=(other,))
    review_folder.write(dataset, [image])
    say(ada, "dx:mel", shown(ada)[1], why=EVIL)
    review_log.note(dataset, EVIL, "labelled", {EVIL: content_of(EVIL)}, dx=EVIL, before=EVIL, why=EVIL)
    for path in ("", "/queue", "/history", f"?image={EVIL.replace('&', '%26')}"):
        text = ada.get(REVIEW + path).text
        assert "<script>document" not in text
        assert "\"'&" not in text
        assert "&lt;script&gt;document" in text


def test_without_a_queue_the_page_says_what_makes_one(ada: TestClient, dataset: Path) -> None:
    stored.path(dataset).unlink()
    assert "skinlesion review list" in ada.get(REVIEW).text
    assert ada.get(f"{REVIEW}/queue").status_code == 200
    stored.path(dataset).write_text("{}")
    answer = ada.get(REVIEW)
    assert answer.status_code == 409
    assert "makes it anew" in answer.text


# --- Wrong, and nobody says what it is ----------------------------------------------------------------------------


def test_a_label_may_be_called_wrong_and_others_are_asked_what_it_is(
    ada: TestClient, uma: TestClient, dataset: Path
) -> None:
    assert 'data-key="w"' in ada.get(REVIEW).text
    assert say(ada, "wrong", lesion="true").status_code == 303
    [entry] = review_log.read(dataset)
    assert (entry.what, entry.dx, entry.before, list(entry.images)) == ("wrong", "", "nv", ["a", "a2"])
    assert shown(ada)[0] == "b"
    assert shown(uma, "a")[0] == "a"
    assert "ada said that it is not nv on" in uma.get(f"{REVIEW}?image=a").text
    assert "ada said that it is not nv" in uma.get(f"{REVIEW}/queue").text
    assert say(uma, "dx:mel", shown(uma, "a")[1]).status_code == 303
    assert called_wrong(review_log.read_reviews(dataset).of_image).keys() == {"a2"}
    assert "a,mel,labelled,uma" in layout.review_table(dataset).read_text()


def test_where_there_is_no_label_nothing_can_be_wrong(ada: TestClient, dataset: Path) -> None:
    assert 'value="wrong"' not in ada.get(f"{REVIEW}?image=c").text
    assert say(ada, "wrong", shown(ada, "c")[1]).status_code == 409
    assert review_log.read(dataset) == []


# --- Two readers --------------------------------------------------------------------------------------------------


@pytest.fixture
def two_readers(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SKINLESION_REVIEW_READERS", "2")
    return dataset


def pages_about(browser: TestClient, image: str) -> str:
    """Return the text of all pages on which a person might see what was said of the image."""
    return "".join(browser.get(REVIEW + path).text for path in ("", f"?image={image}", "/queue", "/history"))


def test_the_second_reader_is_told_that_there_was_a_first_and_not_what_they_said(
    browser_of: BrowserOf, ada: TestClient, uma: TestClient, two_readers: Path
) -> None:
    say(ada, "dx:vasc", why="lacunae")
    assert not layout.review_table(two_readers).exists()
    assert shown(ada)[0] == "b"  # another person is asked
    assert "You said vasc. It counts when a second reader says the same." in ada.get(f"{REVIEW}?image=a").text
    for name in ("uma", "vic"):
        seen = pages_about(browser_of(name), "a")
        assert "A first reader has answered." in seen
        assert "a first reader has answered" in seen
        assert "said vasc" not in seen
        assert "lacunae" not in seen
    assert say(uma, "dx:vasc", shown(uma, "a")[1]).status_code == 303
    assert "a,vasc,labelled,uma" in layout.review_table(two_readers).read_text()
    assert "ada and uma said vasc on" in uma.get(f"{REVIEW}?image=a").text
    assert "lacunae" in uma.get(f"{REVIEW}/history").text


def test_the_first_reader_is_not_the_second_and_may_take_it_back(
    ada: TestClient, uma: TestClient, two_readers: Path
) -> None:
    say(ada, "dx:mel", shown(ada, "a")[1])
    say(ada, "dx:mel", shown(ada, "a")[1])
    assert not layout.review_table(two_readers).exists()
    say(uma, "dx:mel", shown(uma, "a")[1])
    for _ in range(2):  # both of hers
        ada.post(f"{REVIEW}/undo", data=shown(ada)[1], headers=FROM_THE_PAGE)
    assert not layout.review_table(two_readers).exists()
    assert shown(ada)[0] == "a"
    seen = pages_about(ada, "a")
    assert "uma answered." in seen
    assert "uma said mel" not in seen
    say(ada, "dx:mel", shown(ada, "a")[1])
    assert "a,mel,labelled,ada" in layout.review_table(two_readers).read_text()


def test_a_third_sees_that_two_disagree_and_settles_it(
    ada: TestClient, vic: TestClient, uma: TestClient, two_readers: Path
) -> None:
    _, both_saw = shown(ada)
    _, form = shown(uma)
    assert say(ada, "dx:mel", both_saw, why="streaks").status_code == 303
    assert say(uma, "dx:bcc", form).status_code == 303  # two at once are two readers
    assert "a" not in {shown(ada)[0], shown(uma)[0]}
    assert "two readers disagree" in ada.get(f"{REVIEW}/queue").text
    page = vic.get(f"{REVIEW}?image=a").text
    assert "Two readers disagree, and a third settles it: ada said mel. “streaks” uma said bcc." in page
    newest = fields(uma.get(f"{REVIEW}?image=a").text)["seen"]
    review_log.note(two_readers, "ben", "labelled", {"a": content_of("a")}, dx="bcc", seen=int(newest), readers=2)
    assert "a,bcc,labelled,ben" in layout.review_table(two_readers).read_text()
    assert "uma and ben said bcc on" in ada.get(f"{REVIEW}?image=a").text


def test_who_saw_no_disagreement_looks_again_before_they_settle_it(ada: TestClient, two_readers: Path) -> None:
    _, form = shown(ada)
    for name, dx in (("ben", "mel"), ("cleo", "bcc")):
        review_log.note(two_readers, name, "labelled", {"a": content_of("a")}, dx=dx, readers=2)
    late = say(ada, "dx:mel", form)
    assert late.status_code == 409
    assert "they disagree. What you said was not noted" in late.text
    assert "ben said mel. cleo said bcc." in late.text
    assert say(ada, "dx:mel", fields(late.text)).status_code == 303
    assert "a,mel,labelled,ada" in layout.review_table(two_readers).read_text()


def test_what_waits_is_for_everybody_where_one_reader_is_enough_again(
    ada: TestClient, two_readers: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for image in "abcd":
        assert say(ada, "dx:mel", shown(ada, image)[1]).status_code == 303
    assert "0 of 4 images of this queue answered. 4 more wait for another reader." in ada.get(REVIEW).text
    monkeypatch.setenv("SKINLESION_REVIEW_READERS", "1")
    assert not layout.review_table(two_readers).exists()
    assert shown(ada)[0] == "a"
    say(ada, "dx:mel")
    assert layout.review_table(two_readers).read_text().count("mel") == 1
    assert shown(ada)[0] == "b"

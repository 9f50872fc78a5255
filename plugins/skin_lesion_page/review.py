"""The page Review: images whose label is doubted, one after the other, and what people say of them.

The queue and its pictures lie on disk (`skinlesion review list`, or the night, makes them); nothing is computed here. What
people say goes into the history of reviews before the next image is shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NamedTuple
from urllib.parse import quote

from airflow.api_fastapi.core_api.security import GetUserDep
from fastapi import APIRouter, Form, HTTPException, Query, Request, Response
from fastapi.responses import RedirectResponse

from skin_lesion_page import pages
from skin_lesion_page.access import MAY_REVIEW, may_review
from skin_lesion_page.own_form import OWN_FORM, form_token
from skinlesion.data.labels.readings import Reading, ReviewEntry, hidden_from, said
from skinlesion.data.labels.review_log import LONGEST_REASON, ReviewedMeanwhile, last_of, note, read_reviews, undo
from skinlesion.data.review.queue import Asked, Choice, ReviewQueue, read_queue, thumbnail
from skinlesion.foundation.errors import DataError
from skinlesion.stages.settings import PipelineConfig

ON_A_PAGE: Final = 50
WORKS_STILL: Final = timedelta(minutes=15)
"""How long after somebody's last word the page leaves images for them: two people are not shown the same one."""

KEYS: Final = "1234567890abdefghijklmnopqrtvyz"
"""The keys of the diagnoses, in their order. The others say: c confirm, w wrong, x cannot tell, s skip, u undo."""

Answer = Literal["labelled", "confirmed", "wrong", "cannot tell", "skipped"]

router = APIRouter(prefix="/review")


class Keyed(NamedTuple):
    """A diagnosis that can be given, and its key."""

    choice: Choice
    key: str


@router.get("")
def look(request: Request, user: GetUserDep, image: str = "") -> Response:
    """Show the next image for this user, or a certain one of the queue."""
    return _look(request, user, image)


@router.get("/queue")
def queue(request: Request, number: Annotated[int, Query(alias="page", ge=1, le=1_000_000)] = 1) -> Response:
    """Show the images of the queue, and what was said of each."""
    found, reviews = read_queue(_dataset()), read_reviews(_dataset())
    rows = pages.page_of(found.asked if found is not None else (), number, ON_A_PAGE)
    return pages.page(request, "review_queue.html.j2", queue=found, rows=rows, readings=reviews.of_image, said=said)


@router.get("/history")
def history(
    request: Request, user: GetUserDep, number: Annotated[int, Query(alias="page", ge=1, le=1_000_000)] = 1
) -> Response:
    """Show who said what of which image, newest first."""
    entries, said_of = read_reviews(_dataset())
    undone = {entry.undoes for entry in entries}
    rows = pages.page_of(entries[::-1], number, ON_A_PAGE)
    hidden = hidden_from(user.get_name(), entries, said_of)
    return pages.page(request, "review_history.html.j2", rows=rows, undone=undone, hidden=hidden, said=said)


@router.get("/pictures/{content}")
def picture(content: str) -> Response:
    """Return a picture of the queue by the SHA-256 of its image."""
    jpeg = thumbnail(_dataset(), content)
    if jpeg is None:
        raise HTTPException(404, "There is no such picture.")
    return Response(jpeg, media_type="image/jpeg", headers={"cache-control": "private, max-age=604800, immutable"})


@router.post("", dependencies=[MAY_REVIEW, OWN_FORM])
def say(
    request: Request,
    user: GetUserDep,
    image: Annotated[str, Form()],
    content: Annotated[str, Form()],
    answer: Annotated[str, Form()],
    seen: Annotated[int, Form(ge=0)] = 0,
    why: Annotated[str, Form(max_length=4 * LONGEST_REASON)] = "",
    lesion: Annotated[bool, Form()] = False,
) -> Response:
    """Note what the user says of an image. seen: the newest answer that they were shown. lesion: of its other pictures too."""
    found = read_queue(_dataset())
    asked = _asked(found, image)
    if found is None or asked is None or asked.content != content:
        raise DataError(f"The queue was made anew, and {image} is not in it. What you said was not noted.")
    what, dx = _meant(found, asked, answer)
    images = {asked.image: asked.content}
    if lesion and what in ("labelled", "confirmed", "wrong"):
        images |= {one.image: one.content for one in asked.lesion}
    name, readers = user.get_name(), PipelineConfig.of({}).review_readers
    try:
        note(_dataset(), name, what, images, dx=dx, before=asked.dx, why=why, seen=seen, readers=readers)
    except ReviewedMeanwhile as error:
        return _look(request, user, image, str(error))
    return RedirectResponse(f"{pages.base(request)}/review", 303)


@router.post("/undo", dependencies=[MAY_REVIEW, OWN_FORM])
def take_back(request: Request, user: GetUserDep, entry: Annotated[int, Form(ge=1)]) -> Response:
    """Take back what the user said, and show that image again."""
    undone = undo(_dataset(), user.get_name(), entry)
    return RedirectResponse(f"{pages.base(request)}/review?image={quote(next(iter(undone.images)), safe='')}", 303)


def _look(request: Request, user: Any, image: str, notice: str = "") -> Response:
    found, name = read_queue(_dataset()), user.get_name()
    entries, said_of = read_reviews(_dataset())
    todo = [] if found is None else _todo(found, entries, said_of, name)
    asked = _asked(found, image) if image else next(iter(todo), None)
    following = next((one for one in todo if one is not asked), None)
    return pages.page(
        request,
        "review.html.j2",
        409 if notice else 404 if image and asked is None else 200,
        queue=found,
        asked=asked,
        following=following,
        wanted=image,
        notice=notice,
        of_queue=[said_of[one.image] for one in found.asked if one.image in said_of] if found is not None else [],
        reading=said_of.get(asked.image, Reading()) if asked is not None else None,
        about=[one for one in entries if asked is not None and asked.image in one.images],
        hidden=hidden_from(name, entries, said_of),
        name=name,
        keyed=_keyed(found, asked),
        last=last_of(entries, name),
        token=form_token(user) if may_review(user) else None,
        longest=LONGEST_REASON,
        said=said,
    )


def _asked(found: ReviewQueue | None, image: str) -> Asked | None:
    return next((one for one in found.asked if one.image == image), None) if found is not None else None


def _todo(found: ReviewQueue, entries: Sequence[ReviewEntry], said_of: Mapping[str, Reading], name: str) -> list[Asked]:
    """Return the images that are open for this person, in the order in which to show them.

    Who works alone begins at the top. Of several people each begins elsewhere, who came last the farthest from the first.
    """
    one_is_enough = PipelineConfig.of({}).review_readers == 1
    undone = {entry.undoes for entry in entries}
    skips = (one for one in entries if one.what == "skipped" and one.by == name and one.at >= found.at)
    skipped = {image for one in skips if one.number not in undone for image in one.images}
    since = (datetime.now(UTC) - WORKS_STILL).isoformat(timespec="seconds")
    people = list(dict.fromkeys([*(one.by for one in entries if one.at >= since), name]))
    begins = people.index(name) * len(found.asked) // len(people)

    def is_open_for_them(image: str) -> bool:
        reading = said_of.get(image, Reading())
        # Where one reader is enough by now, who was the first of two may settle it too.
        may_say = name not in reading.people or (one_is_enough and len(reading.open) > 0)
        return may_say and not reading.is_settled and image not in skipped

    is_open = [one for one in enumerate(found.asked) if is_open_for_them(one[1].image)]
    return [one for _, one in sorted(is_open, key=lambda each: (each[0] - begins) % len(found.asked))]


def _keyed(found: ReviewQueue | None, asked: Asked | None) -> list[Keyed]:
    if found is None or asked is None:
        return []
    return [Keyed(one, KEYS[place] if place < len(KEYS) else "") for place, one in enumerate(found.choices)]


def _meant(found: ReviewQueue, asked: Asked, answer: str) -> tuple[Answer, str]:
    """Return what an answer says, and the diagnosis that it gives. Raises DataError for one that the form does not have."""
    match answer.partition(":"):
        case ("confirmed", "", "") if asked.dx:
            return "confirmed", asked.dx
        case ("wrong", "", "") if asked.dx:
            return "wrong", ""
        case ("cannot tell", "", ""):
            return "cannot tell", ""
        case ("skipped", "", ""):
            return "skipped", ""
        case ("dx", ":", dx) if dx in {one.dx for one in found.choices}:
            return ("confirmed" if dx == asked.dx else "labelled"), dx
    raise DataError("This is no answer that the page has. Nothing was noted; load the page again.")


def _dataset() -> Path:
    return PipelineConfig.of({}).dataset

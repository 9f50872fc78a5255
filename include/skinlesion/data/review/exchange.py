"""The queue for people who label elsewhere, and what they say: CSV, and the JSON of Label Studio's tasks (files only)."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qs, quote, unquote, urlsplit
from xml.sax.saxutils import quoteattr

import pandas as pd

from skinlesion.data.catalog import read_catalog
from skinlesion.data.images.formats import image_name
from skinlesion.data.labels.diagnosis import is_recognised
from skinlesion.data.labels.of_dataset import vocabulary_of
from skinlesion.data.labels.readings import Reading, called_wrong, said
from skinlesion.data.labels.review_log import note_all, read_reviews
from skinlesion.data.labels.table_file import read_cells
from skinlesion.data.review.queue import Asked, ReviewQueue, read_queue
from skinlesion.data.settings import DataSettings
from skinlesion.foundation.errors import DataError
from skinlesion.foundation.regular_file import read_file, reason_of
from skinlesion.foundation.spreadsheet import csv_text

COLUMNS: Final = ("image", "file", "labels", "suggested", "reason", "dx", "by", "why")
"""Of the table. `labels` is what the labels say; `dx`, `by` and `why` are for who looks."""

CANNOT_TELL: Final = "cannot tell"
"""What stands in the place of a diagnosis where a person cannot tell."""

WRONG: Final = "wrong"
"""What stands there where a person knows only that the label is wrong."""

CONTROL: Final = "diagnosis"
"""The name of the choices in Label Studio."""

LARGEST_FILE: Final = 1_000_000_000  # bytes
_ERRORS_LISTED: Final = 10


class Answer(NamedTuple):
    """What somebody said elsewhere; where: the row or task, for a message."""

    image: str
    dx: str
    by: str
    why: str
    where: str


def require_queue(dataset: Path) -> ReviewQueue:
    """Return the queue. Raises DataError before one was made."""
    queue = read_queue(dataset)
    if queue is None:
        raise DataError(
            f"{dataset} has no queue of images to look at: expected the one of `skinlesion review list`. Run it first."
        )
    return queue


def as_csv(dataset: Path) -> str:
    """Return the queue as a table, `COLUMNS`, in which a person fills in `dx`; what counts already stands there."""
    found, file_of = read_reviews(dataset).of_image, _files(dataset)
    rows = []
    for one in require_queue(dataset).asked:
        reading = found.get(one.image, Reading())
        reason = _reason(one, reading)
        rows.append((one.image, file_of.get(one.image, ""), one.dx, one.suggested, reason, *_settled(reading)))
    return csv_text(COLUMNS, rows)


def as_tasks(dataset: Path) -> str:
    """Return the queue as Label Studio's tasks: with the images by their paths in images/, and what models say as predictions."""
    found, file_of = read_reviews(dataset).of_image, _files(dataset)
    tasks = [_task(one, file_of, found.get(one.image, Reading())) for one in require_queue(dataset).asked]
    return json.dumps(tasks, indent=1, ensure_ascii=False)


def labelling_interface(dataset: Path) -> str:
    """Return the labelling interface that Label Studio needs for these tasks."""
    choices = [one.dx for one in require_queue(dataset).choices]
    lines = "\n".join(f"    <Choice value={quoteattr(dx)}/>" for dx in [*choices, WRONG, CANNOT_TELL])
    return (
        '<View>\n  <Image name="image" value="$image"/>\n  <Text name="reason" value="$reason"/>\n'
        f'  <Choices name="{CONTROL}" toName="image" choice="single" showInline="true">\n{lines}\n  </Choices>\n'
        '  <TextArea name="why" toName="image"/>\n</View>\n'
    )


def take(config: DataSettings, path: Path, by: str) -> tuple[int, int]:
    """Note the answers in a file, all or none; return how many are new, and how many there are.

    by: who said what no row says who did. Raises DataError, which names the row and the value, if an answer cannot be used.
    """
    catalog = read_catalog(config.dataset).set_index("image")
    contents = {str(image): str(content) for image, content in catalog["sha256"].items() if content}
    labels = {str(image): str(dx) for image, dx in catalog["dx"].items()}
    known, words = set(catalog["dx"]) - {""}, vocabulary_of(config.dataset)
    lost = {image: entry.before for image, entry in called_wrong(read_reviews(config.dataset).of_image).items()}
    answers = [answer for answer in _answers(path, by, config.review_readers) if answer.dx]
    problems, entries = [], []
    for written in answers:
        answer = written._replace(image=_named(written.image, contents))
        dx = words.canonical(answer.dx)
        if answer.image not in contents:
            problems.append(f"{answer.where}: no image file of the data set is called {written.image[:80]!r}")
        elif answer.dx == CANNOT_TELL:
            entries.append(_entry(answer, contents, what="cannot tell", before=labels[answer.image]))
        elif answer.dx == WRONG and (before := labels[answer.image] or lost.get(answer.image)):
            entries.append(_entry(answer, contents, what="wrong", before=before))
        elif answer.dx == WRONG:
            problems.append(f"{answer.where}: {written.image[:80]!r} has no diagnosis that could be {WRONG}")
        elif dx not in known and not is_recognised(dx):
            problems.append(f"{answer.where}: {answer.dx[:80]!r} is no diagnosis that is known")
        else:
            what = "confirmed" if dx == labels[answer.image] else "labelled"
            entries.append(_entry(answer, contents, what=what, dx=dx, before=labels[answer.image]))
    if problems:
        more = f" and {len(problems) - _ERRORS_LISTED} more" if len(problems) > _ERRORS_LISTED else ""
        raise DataError(
            f"{path}: {'; '.join(problems[:_ERRORS_LISTED])}{more}. Nothing was noted. Expected names of images of the data set, "
            f"and diagnoses of the data set or of docs/reference/labels.md, {WRONG!r} or {CANNOT_TELL!r}."
        )
    return note_all(config.dataset, by, entries, config.review_readers), len(entries)


def _entry(answer: Answer, contents: Mapping[str, str], **fields: str) -> dict[str, object]:
    return {"by": answer.by, "images": {answer.image: contents[answer.image]}, "why": answer.why, **fields}


def _answers(path: Path, by: str, readers: int) -> Iterator[Answer]:
    """Yield the answers in a table or in Label Studio's JSON. Where two readers are asked, each may have a row of their own."""
    if path.suffix.lower() == ".json":
        yield from _of_tasks(path, by)
        return

    def choose(header: list[str]) -> list[str]:
        if missing := [name for name in ("image", "dx") if name not in header]:
            raise DataError(
                f"{path} lacks the column{'s' * (len(missing) > 1)} {', '.join(missing)}; expected image and dx, and perhaps by and "
                f"why, found: {', '.join(header)[:300]}."
            )
        return [name for name in ("image", "dx", "by", "why") if name in header]

    seen: dict[tuple[str, str], tuple[str, int]] = {}
    for row in read_cells(path, choose, lambda names: "image" in names).to_dict("records"):
        image, dx = str(row["image"]).strip(), str(row["dx"]).strip()
        who = str(row.get("by", "")).strip() or by
        first, where = seen.setdefault((image, who if readers > 1 else ""), (dx, row["row"])) if dx else ("", 0)
        if first != dx:
            raise DataError(
                f"{path}, row {row['row']}: {image[:80]!r} is {dx[:80]!r}, in row {where} {first[:80]!r}. Remove one."
            )
        yield Answer(image, dx, who, str(row.get("why", "")), f"row {row['row']}")


def _of_tasks(path: Path, by: str) -> Iterator[Answer]:
    try:
        tasks = json.loads(read_file(path, most=LARGEST_FILE))
    except OSError as error:
        raise DataError(f"{path}: {reason_of(error)}; expected Label Studio's tasks as JSON.") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is no JSON ({error}); expected Label Studio's tasks.") from None
    if not isinstance(tasks, list) or not all(isinstance(task, dict) for task in tasks):
        raise DataError(
            f"{path}: expected a list of Label Studio's tasks, as its export `JSON` or `JSON-MIN` writes it."
        )
    for number, task in enumerate(tasks, start=1):
        try:
            yield from _of_task(task, by, f"task {task.get('id', number)}")
        except (AttributeError, KeyError, TypeError, IndexError, ValueError) as error:
            raise DataError(
                f"{path}, task {task.get('id', number)} is not as Label Studio writes it ({type(error).__name__}: {error}). Expected its "
                f"export `JSON` or `JSON-MIN` of tasks whose data name an image, with choices called `{CONTROL}`."
            ) from None


def _of_task(task: dict[str, Any], by: str, where: str) -> Iterator[Answer]:
    if "annotations" not in task:  # JSON-MIN
        said = task.get(CONTROL, "")
        yield Answer(_image_of(task), _one(said), _person(task.get("annotator"), by), str(task.get("why", "")), where)
        return
    annotations = [one for one in task["annotations"] if not one.get("was_cancelled")]
    for one in sorted(annotations, key=lambda each: str(each.get("created_at", ""))):
        results = {result["from_name"]: result["value"] for result in one["result"]}
        why = " ".join(map(str, results.get("why", {}).get("text", [])))
        said = results[CONTROL]["choices"] if CONTROL in results else ""
        yield Answer(_image_of(task["data"]), _one(said), _person(one.get("completed_by"), by), why, where)


def _one(said: object) -> str:
    """Return the one choice. Raises ValueError where there are several."""
    choices = said if isinstance(said, list) else [said]
    if len(choices) > 1:
        raise ValueError(f"one diagnosis expected, {len(choices)} found")
    return str(choices[0]).strip() if choices else ""


def _person(who: object, by: str) -> str:
    if isinstance(who, dict):
        return str(who.get("email") or who.get("username") or who["id"])
    return by if who is None else f"Label Studio's user {who}"


def _image_of(data: Mapping[str, Any]) -> str:
    if data.get("name"):
        return str(data["name"])
    address = urlsplit(str(data["image"]))
    return parse_qs(address.query).get("d", [unquote(address.path)])[0]


def _named(written: str, known: Collection[str]) -> str:
    """Return the name of an image that was written as it is, as a spreadsheet shows it (an apostrophe first), or as its file."""
    plain = written.removeprefix("'")
    whole = PurePosixPath(plain.replace("\\", "/")).name
    return next((name for name in (written, plain, whole) if name in known), image_name(whole))


def _task(one: Asked, file_of: Mapping[str, str], reading: Reading) -> dict[str, object]:
    choices = [{"from_name": CONTROL, "to_name": "image", "type": "choices", "value": {"choices": [one.suggested]}}]
    prediction = {"model_version": "out of fold", "score": one.probabilities.get(one.suggested, 0.0), "result": choices}
    address = f"/data/local-files/?d={quote(file_of.get(one.image, ''))}"
    data = {"image": address, "name": one.image, "labels": one.dx, "reason": _reason(one, reading)}
    return {"data": data, "predictions": [prediction] if one.suggested else []}


def _reason(one: Asked, reading: Reading) -> str:
    """Return why an image is asked, with both answers where two readers disagree. A first reader's answer is not shown."""
    if len(reading.open) < 2:
        return one.reason
    return f"{one.reason} Two readers disagree: {' and '.join(f'{each.by} {said(each)}' for each in reading.open)}."


def _settled(reading: Reading) -> tuple[str, str, str]:
    """Return what was said, by whom and why; blank while people are asked."""
    entry = reading.counts
    return ("", "", "") if entry is None or not reading.is_settled else (entry.dx or CANNOT_TELL, entry.by, entry.why)


def _files(dataset: Path) -> dict[str, str]:
    catalog: pd.DataFrame = read_catalog(dataset)
    return dict(zip(catalog["image"], catalog["file"], strict=True))

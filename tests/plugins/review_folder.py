"""A data set with a queue for the page Review: drawn pictures, or a few bytes in their place."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from skinlesion.data.review import queue as stored
from skinlesion.data.review.queue import Asked, Choice, Picture, ReviewQueue

CHOICES = (
    Choice(dx="nv", title="nevus", label="benign"),
    Choice(dx="mel", title="melanoma", label="malignant"),
    Choice(dx="bcc", title="basal cell carcinoma", label="malignant"),
    Choice(dx="bkl", title="benign keratosis", label="benign"),
    Choice(dx="df", title="dermatofibroma", label="benign"),
    Choice(dx="vasc", title="vascular lesion", label="benign"),
    Choice(dx="scc", title="squamous cell carcinoma", label="malignant"),
    Choice(dx="ak", title="actinic keratosis", label="unknown"),
)
AT = "2026-07-01T03:00:00+00:00"


def content_of(image: str) -> str:
    return hashlib.sha256(image.encode()).hexdigest()


def asked(image: str, dx: str = "nv", suggested: str = "mel", **more: object) -> Asked:
    values: dict[str, object] = {
        "image": image,
        "content": content_of(image),
        "dx": dx,
        "label": "benign",
        "split": "train",
        "suggested": suggested,
        "reason": f"A model that saw no picture of this lesion gives {suggested} 81% and {dx} 12%.",
        "probabilities": {suggested: 0.81, dx: 0.12, "bkl": 0.06, "bcc": 0.01},
        "lesion": (),
        "neighbours": (),
    }
    return Asked.model_validate(values | more)


def picture(image: str, dx: str) -> Picture:
    return Picture(image=image, content=content_of(image), dx=dx)


def write(dataset: Path, queue: Sequence[Asked], jpeg: bytes = b"\xff\xd8\xff the picture") -> None:
    """Write the queue and a picture of each image in it."""
    made = ReviewQueue(
        at=AT, key="key", labelled=1000, doubted=len(queue), waiting=0, choices=CHOICES, asked=tuple(queue)
    )
    made.write(stored.path(dataset))
    stored.thumbnails(dataset).mkdir(exist_ok=True)
    for one in queue:
        for content in (one.content, *(each.content for each in (*one.lesion, *one.neighbours))):
            (stored.thumbnails(dataset) / f"{content}.jpg").write_bytes(jpeg)

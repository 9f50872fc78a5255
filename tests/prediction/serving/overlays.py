"""What stands in for Grad-CAM; a module of its own, for the process that runs it imports it."""

from __future__ import annotations

import os
import time
from pathlib import Path

from skinlesion.data.images.file import encode_jpeg
from skinlesion.prediction.serving.grad_cam_process import Question


def who(question: Question) -> bytes:
    """Return the label and the process that answers."""
    return f"{question.label} by {os.getpid()}".encode()


def the_image_itself(question: Question) -> bytes:
    return encode_jpeg(question.pixels, 90)


def when_released(release: Path, question: Question) -> bytes:
    """Answer as `who` does, once a file is there."""
    while not release.exists():
        time.sleep(0.01)
    return who(question)


def harmful_for_dark_images(question: Question) -> bytes:
    """Hang for benign, die for malignant and fail for unknown; answer for a light image as `who` does."""
    if question.pixels.max() > 50:
        return who(question)
    if question.label == "benign":
        time.sleep(600)
    if question.label == "malignant":
        os._exit(9)
    raise ValueError("no convolution")

"""What stands in for Grad-CAM; a module of its own, for the process that runs it imports it."""

from __future__ import annotations

import os
import time

from skinlesion.prediction.serving.grad_cam_process import Question


def quick(question: Question) -> bytes:
    return f"{question.label} by {os.getpid()}".encode()


def slow_for_benign(question: Question) -> bytes:
    time.sleep(60 if question.label == "benign" else 0)
    return quick(question)


def dies_for_benign(question: Question) -> bytes:
    if question.label == "benign":
        os._exit(9)
    return quick(question)


def fails_for_benign(question: Question) -> bytes:
    if question.label == "benign":
        raise ValueError("no convolution")
    return quick(question)


def slow(question: Question) -> bytes:
    time.sleep(1)
    return quick(question)

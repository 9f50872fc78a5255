"""What stands for a model where tables of predictions are tested: it can be killed, and says what it was asked."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from pathlib import Path

from skinlesion.prediction.classifier import Prediction


class Killed(BaseException):
    """As by a signal: nothing that would tidy up after an error runs."""


class PredictingModel(ABC):
    """Refuses files called `bad...`, says of the others what `answer` gives, and notes what it was asked."""

    def __init__(self, kill_after: int | None = None) -> None:
        self.asked: list[str] = []
        self._kill_after = kill_after

    def __call__(self, files: Iterable[Path]) -> Iterator[Prediction]:
        for file in files:
            if len(self.asked) == self._kill_after:
                raise Killed
            self.asked.append(file.name)
            if file.name.startswith("bad"):
                yield Prediction(file, None, "not a readable image")
            else:
                yield self.answer(file)

    @abstractmethod
    def answer(self, file: Path) -> Prediction:
        """Give what is said of a file that is not refused."""

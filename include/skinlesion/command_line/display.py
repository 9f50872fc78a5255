"""What a run shows while it works: in a terminal a live line with a bar below what is finished, elsewhere plain lines."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Column, Table
from rich.text import Text

from skinlesion.foundation.progress import Advance, watched_by
from skinlesion.foundation.stage_report import StageReport
from skinlesion.foundation.terminal import wrapped
from skinlesion.stages.sentences import duration, sentence

_HEAD: Final = "{:<9}{:>8}"
"""The name of a stage and its duration."""

_BAR_IN_FULL: Final = 80  # columns of a terminal from which the bar makes room for the text, not the text for the bar
_BAR: Final = 30  # columns of the bar, fewer in a narrow terminal
_UNTIL_FORESEEN: Final = 10.0  # seconds until it can be said how long the rest takes, and of which it is worth saying
_NARROWEST: Final = 40  # columns of text; a narrower terminal breaks the lines itself


@dataclass(eq=False)
class _Work:
    """A piece of work and how much of it is done; `total` is 0 where nobody knows."""

    name: str
    total: float = 0
    unit: str = ""
    done: float = 0
    since: float = field(default_factory=time.monotonic)

    def head(self) -> str:
        """Return the name and the time since the beginning, as wide for every stage."""
        return _HEAD.format(self.name, duration(time.monotonic() - self.since))

    def amount(self) -> str:
        """Return what is done of what there is, and how long the rest may take; empty where nobody knows."""
        if not self.total:
            return ""
        spent = time.monotonic() - self.since
        left = spent * (self.total - self.done) / self.done if self.done else 0
        about = f", {duration(left)} left" if spent > _UNTIL_FORESEEN and left > _UNTIL_FORESEEN else ""
        return f"{self.done:.0f} of {self.total:.0f} {self.unit}{about}"


class Display(logging.Handler):
    """Shows stages, the progress within them, and this package's log, on one console.

    Entered, it watches the progress of this process where there is a live line; elsewhere the package logs how far it is. It is a
    log handler too, so that what the package logs stands between the stages.
    """

    def __init__(self, console: Console) -> None:
        super().__init__(logging.INFO)
        self.console = console
        self.is_live = console.is_terminal and not console.is_dumb_terminal
        self._stage: _Work | None = None
        self._parts: list[_Work] = []
        self._live: Live | None = None
        self._entered = ExitStack()

    def __enter__(self) -> Self:
        if self.is_live:
            self._entered.enter_context(watched_by(self))
            self._live = Live(
                get_renderable=self._live_line,
                console=self.console,
                transient=True,
                refresh_per_second=4,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._entered.enter_context(self._live)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._entered.close()

    @contextmanager
    def watch(self, work: str, total: float, unit: str) -> Iterator[Advance]:
        """Show a piece of work while the context is entered, and provide the function that counts its items."""
        part = _Work(work, total, unit)
        self._parts.append(part)

        def advance(count: float) -> None:
            part.done += count

        try:
            yield advance
        finally:
            self._parts.remove(part)

    def begin(self, stage: str) -> None:
        """Show that a stage is at work."""
        self._stage = _Work(stage)

    def finish(self, report: StageReport) -> None:
        """Say what a stage did."""
        self.finish_with(sentence(report))

    def finish_with(self, text: str, style: str = "") -> None:
        """Say what came of the stage that is at work."""
        stage, self._stage = self._stage, None
        if stage is not None:
            if self._live is not None:
                self._live.refresh()  # what is printed is followed by the live line as it was drawn last
            head = f"{stage.head()}  "
            self._print(f"{head}{text}", indent=" " * len(head), style=style, bold=len(stage.name))

    def stop(self) -> None:
        """Take the stage that is at work away: it failed, or was stopped."""
        self.finish_with("did not finish.", style="bold red")

    def say(self, text: str = "", style: str = "") -> None:
        """Print lines that stay. In a terminal they are broken between words; nothing is cut."""
        for line in text.split("\n"):
            self._print(line, indent="", style=style)

    def pairs(self, lines: dict[str, str]) -> None:
        """Print names with their texts beside them."""
        width = max(map(len, lines)) + 3
        for name, text in lines.items():
            for number, line in enumerate(text.split("\n")):
                head = f"{f'{name}:' if number == 0 else '':<{width}}"
                self._print(f"{head}{line}", indent=" " * width if " " in line else None)

    def emit(self, record: logging.LogRecord) -> None:
        """Print a record of the log below the stage that it belongs to."""
        text = record.getMessage()
        if record.levelno < logging.WARNING:
            self._print(f"  {text}", indent="    ", style="dim")
        else:
            self._print(
                f"  {'Note' if record.levelno < logging.ERROR else 'Error'}: {text}", indent="    ", style="yellow"
            )

    def _print(self, line: str, *, indent: str | None, style: str = "", bold: int = 0) -> None:
        """Print a line, in a terminal broken between words, with this indentation; None leaves it whole, as a path."""
        if self.console.is_terminal and indent is not None:
            line = wrapped(line, max(self.console.width, len(indent) + _NARROWEST), indent)
        text = Text(line, style=style)
        text.stylize("bold", 0, bold)
        self.console.print(text, soft_wrap=True, highlight=False)

    def _live_line(self) -> RenderableType:
        stage, parts = self._stage, list(self._parts)
        work = parts[-1] if parts else stage
        if work is None:
            return Group()
        shown = stage or work
        bar = ProgressBar(
            total=work.total or None, completed=work.done, pulse=not work.total, animation_time=time.monotonic()
        )
        detail = Column(no_wrap=self.console.width >= _BAR_IN_FULL)
        line = Table.grid(Column(no_wrap=True), Column(max_width=_BAR), detail, padding=(0, 2, 0, 0))
        line.add_row(Text(shown.head()), bar, Text(_detail(shown, work)))
        return line


def _detail(stage: _Work, work: _Work) -> str:
    """Return how much of the work within a stage is done, and its name where that is another one."""
    name = work.name.removeprefix(f"{stage.name}: ")
    return ", ".join(filter(None, ("" if name == stage.name else name, work.amount())))

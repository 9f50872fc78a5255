"""The log of a server that answers: entries go through a bounded queue to one thread, which writes them.

An answer waits for its entry, so that what was answered is in the log even if the process is killed; but it waits `LONGEST_WAIT`
at most, and not at all while the queue is full or the disk takes nothing. Answers whose entry is not written are counted.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import queue
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from skinlesion.foundation.errors import DataError
from skinlesion.prediction.log.entries import Entry, LogKey
from skinlesion.prediction.log.gaps import GapCount
from skinlesion.prediction.log.journal import Journal, journals, parts, store_closed
from skinlesion.prediction.log.reading import remove_older

log = logging.getLogger(__name__)

LONGEST_WAIT: Final = 0.1
"""Seconds that an answer waits for its entry. A disk that works takes a thousandth of it."""

MOST_WAITING: Final = 2048
"""Requests whose entries wait to be written."""

LARGEST_JOURNAL: Final = 50_000
"""Entries after which a journal becomes a Parquet file, at the latest; it becomes one every day as well."""

JUMP: Final = 60.0
"""Seconds by which the clock may part from the steady one; beyond it nothing is removed for its age."""

_AT_ONCE: Final = 1000
_TICK: Final = 0.5


@dataclass
class _Batch:
    """Lines that wait. count: how many answers are in them. tell: called with whether they are written."""

    lines: bytes
    count: int
    tell: Callable[[bool], None]
    gave_up: bool = False
    settled: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)


class PredictionLog:
    """The log in a folder, which one server writes; others may write to the same folder.

    Attributes:
        key: of the hashes in its entries.
    """

    def __init__(self, folder: Path, *, days: int) -> None:
        """days: how long entries are kept. Raises DataError if the folder cannot be written to for another reason than room."""
        self.folder, self._days = folder, days
        try:
            for part in (journals(folder), parts(folder)):
                part.mkdir(parents=True, exist_ok=True)
            self.key = LogKey.drawn(folder)
        except OSError as error:
            raise DataError(
                f"The prediction log cannot be kept in {folder} ({error.strerror or error}): expected a folder that the server may "
                "write to, as its setting `log` (SKINLESION_SERVE_LOG) names it. Make it, or choose another."
            ) from None
        self._gaps = GapCount(folder)
        self._waiting: queue.Queue[_Batch | None] = queue.Queue(MOST_WAITING)
        self._ids = itertools.count((secrets.randbits(40) << 24) + 1)
        self._journal: Journal | None = None
        self._works = True
        self._offset = time.time() - time.monotonic()
        self._storing = ThreadPoolExecutor(1, thread_name_prefix="log-store")
        self._storing.submit(self._store)
        self.entries = 0
        self._thread = threading.Thread(target=self._write, name="log", daemon=True)
        self._thread.start()

    @property
    def missing(self) -> int:
        """How many answers of this process are not in the log."""
        return self._gaps.count

    async def note(self, entries: Sequence[Entry], case: str) -> bool:
        """Complete the entries of a request, write them, and return whether they are written. Never raises for the disk's sake."""
        now, loop = int(time.time() * 1e6), asyncio.get_running_loop()
        done, hashed, lines = loop.create_future(), self.key.of_case(case), []
        for entry in entries:
            entry |= {"id": next(self._ids), "at": now, "case": hashed}
            lines.append(json.dumps(entry) + "\n")

        def answer(is_written: bool) -> None:
            if not done.done():
                done.set_result(is_written)

        def tell(is_written: bool) -> None:
            with suppress(RuntimeError):  # the server has ended, and nobody waits any more
                loop.call_soon_threadsafe(answer, is_written)

        batch = _Batch("".join(lines).encode(), len(lines), tell)
        try:
            self._waiting.put_nowait(batch)
        except queue.Full:
            self._gaps.add(batch.count)
            return False
        try:
            return await asyncio.wait_for(asyncio.shield(done), LONGEST_WAIT)
        except TimeoutError:
            with batch.lock:
                if not batch.settled:
                    batch.gave_up = True
                    self._gaps.add(batch.count)
            return False

    def note_beside(self, entry: Entry, said: Entry, tell: Callable[[bool], None]) -> None:
        """Let it be written what a candidate in the shadow said beside an answer, of which this is the entry; see `entries.said`.

        tell: called with whether it is written.
        """
        line = json.dumps(entry | said | {"id": next(self._ids), "beside": entry["id"]}) + "\n"
        try:
            self._waiting.put_nowait(_Batch(line.encode(), 0, tell))
        except queue.Full:
            tell(False)

    def close(self) -> None:
        """Write what waits, and store it."""
        self._waiting.put(None)
        self._thread.join()
        self._storing.submit(self._store)
        self._storing.shutdown()
        self._gaps.close()

    def _write(self) -> None:
        """Write batches until the server ends, several at once where several wait."""
        is_over = False
        while not is_over:
            batches: list[_Batch] = []
            try:
                found = self._waiting.get(timeout=_TICK)
                while True:
                    if found is None:
                        is_over = True
                        break
                    batches.append(found)
                    if len(batches) == _AT_ONCE:
                        break
                    found = self._waiting.get_nowait()
            except queue.Empty:
                pass
            if batches:
                is_written = self._append(b"".join(one.lines for one in batches), sum(one.count for one in batches))
                for batch in batches:
                    self._settle(batch, is_written)
            self._rotate(now=is_over)

    def _append(self, lines: bytes, count: int) -> bool:
        try:
            if self._journal is None:
                self._journal = Journal(self.folder)
            self._journal.append(lines, count)
        except OSError as error:
            if self._works:
                log.warning("The prediction log is not written (%s); answers go on, those not noted are counted", error)
            self._works = False
            return False
        if not self._works:
            log.warning("The prediction log is written again; %d answers are not in it", self._gaps.count)
        self._works = True
        self.entries += count
        return True

    def _settle(self, batch: _Batch, is_written: bool) -> None:
        with batch.lock:
            batch.settled = True
            if batch.count and batch.gave_up == is_written:  # counted too early, or not yet
                self._gaps.add(-batch.count if is_written else batch.count)
        batch.tell(is_written)

    def _rotate(self, *, now: bool) -> None:
        journal = self._journal
        if journal is None:
            return
        if now or journal.entries >= LARGEST_JOURNAL or journal.day != datetime.now(UTC).date():
            self._journal = None
            try:
                journal.close()
            except OSError as error:
                log.warning("%s could not be brought to the disk: %s", journal.path, error)
            if not now:
                self._storing.submit(self._store)

    def _store(self) -> None:
        """Store closed journals, and remove what is older than it may be, unless the clock has jumped since the start."""
        try:
            store_closed(self.folder)
            if abs(time.time() - time.monotonic() - self._offset) <= JUMP:
                remove_older(self.folder, self._days)
            else:
                log.warning(
                    "The clock has jumped: nothing is removed from the prediction log for its age until the next start"
                )
        except OSError as error:
            log.warning("The journals of the prediction log wait to be stored as tables: %s", error)
        except Exception:  # nobody asks this thread what came of it, so it would be lost
            log.exception("The journals of the prediction log could not be stored as tables; they are kept")

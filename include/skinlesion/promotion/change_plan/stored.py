"""A change record on disk: the record itself, and the same as a page for the reports of the version. It loads no pandas."""

from __future__ import annotations

from pathlib import Path

from skinlesion.foundation import atomic, layout
from skinlesion.foundation.errors import DataError
from skinlesion.promotion.change_plan.document import record_page
from skinlesion.promotion.change_plan.record import ChangeRecord, read_record, record_path, with_decisions
from skinlesion.registry import model_files
from skinlesion.registry.snapshot import Registry


def write_record(record: ChangeRecord, registry: Registry) -> None:
    """Store a record beside the version's other files, with what was decided of it, and as a page."""
    record = with_decisions(record, registry)
    record.write(record_path(registry.models, record.run))
    page = layout.candidate(registry.models, record.run) / model_files.CHANGE_RECORD_PAGE
    atomic.write_if_changed(page, record_page(record).encode())


def note_decisions(models: Path, number: int) -> None:
    """Bring the record of a version up to date with the history; a version without a whole one gets none."""
    registry = Registry.read(models)
    try:
        record = read_record(models, registry.version(number).run, number)
    except DataError:
        return
    if record is not None:
        write_record(record, registry)

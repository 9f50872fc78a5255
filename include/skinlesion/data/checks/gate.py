"""The checks that a new catalog passes before it replaces the accepted one; its report is written either way."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from skinlesion.data import catalog as contract
from skinlesion.data.checks.accepted_data import appearances_of, is_in_force, read_accepted, write_appearances
from skinlesion.data.checks.checks import check_alone, check_changes, is_new
from skinlesion.data.checks.settings import CheckSettings
from skinlesion.data.finding import Finding
from skinlesion.data.images.statistics import COLUMNS as STATISTICS
from skinlesion.data.report.contents import contents, equal_files, near_duplicates
from skinlesion.data.report.written import remove_failed_report, report_of, write_report, write_table_of_failures
from skinlesion.foundation import layout
from skinlesion.foundation.errors import DataError


def check_and_report(
    config: CheckSettings, catalog: pd.DataFrame, files: pd.DataFrame, pairs: pd.DataFrame, notes: Sequence[str] = ()
) -> None:
    """Raise DataError unless the data may be trained on; write the data report.

    Call it before the split and the catalog are written, so that these stay as they are when a check fails. Everything that
    is written here names the catalog that it belongs to; when the process is killed before the catalog is written, the next
    run writes the same.

    catalog: `catalog.COLUMNS`, with groups and sides. files: columns file and those of `images.statistics.COLUMNS`.
    pairs: the near-duplicates among them, as `find_near_duplicates` returns them. notes: sentences on how the labels were read.
    """
    dataset = config.dataset
    findings = check_alone(config, catalog)
    is_known = not config.force and not _failed(findings) and is_in_force(dataset, catalog)
    known = report_of(dataset, catalog) if is_known else None
    if known is not None:
        remove_failed_report(dataset)
        if known.notes == list(notes):
            return
    images = contract.accepted(catalog).merge(files[["file", *STATISTICS]], on="file", how="left")
    if known is not None:
        now = known.model_copy(update={"notes": list(notes)})
        write_report(config, layout.data_report(dataset), now, catalog, images)
        return
    accepted = read_accepted(dataset)
    new = is_new(images, accepted)
    findings += check_changes(config, catalog, images, new, accepted)
    duplicates = equal_files(catalog) + near_duplicates(catalog, pairs)
    report = contents(catalog, images, findings, duplicates, notes)
    if failed := _failed(findings):
        page = layout.failed_data_report(dataset)
        table = write_table_of_failures(page, findings)
        write_report(config, page, report, catalog, images)
        where = f"All rows: {table}; with images: {page}"
        raise DataError(_message(config, failed, notes, where))
    is_excused = any(one.check == "max_image_shift" and one.verdict == "accepted" for one in findings)
    appearances = appearances_of(images, new & is_excused, accepted.appearances if accepted else {})
    write_appearances(dataset, contract.data_version(catalog), appearances, accepted)
    write_report(config, layout.data_report(dataset), report, catalog, images)
    remove_failed_report(dataset)


def _failed(findings: list[Finding]) -> list[Finding]:
    return [finding for finding in findings if finding.verdict == "failed"]


def _message(config: CheckSettings, failed: list[Finding], notes: Sequence[str], where: str) -> str:
    path = layout.catalog(config.dataset)
    kept = f"{path} stays as it was" if path.is_file() else f"{path} was not written"
    count = "a check" if len(failed) == 1 else f"{len(failed)} checks"
    meant = ""
    if any(finding.compares for finding in failed):
        meant = "\nIf the change is meant, run once with accept_data_changes=true."
    return "\n".join([f"The data did not pass {count}; {kept}.", *map(str, failed), *notes, f"{where}."]) + meant

"""The commands about the model in use: `skinlesion monitor`, `diagnoses` and `log`."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from skinlesion.command_line.options import Dataset, Models, Settings, commands, config_of, err, out, show_log
from skinlesion.foundation.terminal import print_whole
from skinlesion.foundation.wording import counted

Folder = Annotated[
    Path | None, typer.Option("--log", help="Folder of the prediction log.", show_default="the setting prediction_log")
]

log_app = commands("The prediction log: what is in it, and how a case is removed from it.")


def monitor(dataset: Dataset = None, models: Models = None, log: Folder = None, settings: Settings = None) -> None:
    """Compare what the model in use says, week by week, with its held-out images; the page "In use" shows what was found.

    Writes models/monitor.json. An alarm is no failure: the exit status is 0.
    """
    from skinlesion.evaluation.in_use.record import PERFORMANCE, ShadowRecord, by_remedy
    from skinlesion.stages.monitor import run_monitor

    show_log(quiet=True)
    config = config_of(dataset, models, _with_log(log, settings))
    found, _ = run_monitor(config)
    table = Table("Week", "Version", "Answers", "No answer", *PERFORMANCE.values())
    for week in found.weeks[-12:]:
        figures = [
            week.measured[name].text if name in week.measured and week.measured[name].is_shown
            else f"{week.estimated[name].text}, estimated" if name in week.estimated
            else "–"
            for name in PERFORMANCE
        ]  # fmt: skip
        table.add_row(
            week.monday, str(week.number or week.version), str(week.images), f"{week.no_answer:.0%}", *figures
        )
    print_whole(out, table)
    for warning in found.warnings:
        print_whole(err, warning)
    for remedy, alarms in by_remedy(found.alarms).items():
        for alarm in alarms:
            print_whole(out, f"ALARM since {alarm.since}: {alarm.sentence}", style="red", indent=2)
        print_whole(out, remedy, indent=2)
    if not found.alarms:
        print_whole(out, "No alarm.")
    for agreement in ShadowRecord.known(config.models)[0][-1:]:
        print_whole(out, " ".join(agreement.sentences))


def diagnoses(
    table: Annotated[Path, typer.Argument(metavar="TABLE", help="Columns case or picture, dx and, if known, date.")],
    log: Folder = None,
    settings: Settings = None,
) -> None:
    """Note diagnoses that came after the answers, all of a table or none. They never enter the training data by themselves.

    `case` is the id that was sent with the pictures, `picture` what an answer had in `logged`, `date` the day of the diagnosis.
    """
    from skinlesion.prediction.log import diagnoses as late
    from skinlesion.prediction.log.entries import LogKey

    folder = config_of(None, None, _with_log(log, settings)).log_folder()
    noted = late.add(folder, late.of_table(LogKey.of(folder), table))
    print_whole(out, f"{counted(noted, 'diagnosis', 'diagnoses')} noted. `skinlesion monitor` measures with them.")


@log_app.command("show", rich_help_panel="Look")
def show(log: Folder = None, settings: Settings = None) -> None:
    """Show how many answers and diagnoses the log holds, of which time, and how many answers are known to be missing."""
    from skinlesion.prediction.log import diagnoses as late
    from skinlesion.prediction.log.gaps import read_gaps
    from skinlesion.prediction.log.reading import read_log

    folder = config_of(None, None, _with_log(log, settings)).log_folder()
    found = read_log(folder, ("id", "at", "picture", "case"))
    print_whole(
        out, f"{counted(len(found), 'answer')} in {folder}, for {counted(found['picture'].nunique(), 'picture')}."
    )
    if len(found):
        first, last = (f"{at:%Y-%m-%d %H:%M} UTC" for at in (_time(found["at"].min()), _time(found["at"].max())))
        with_case = found.loc[found["case"] != "", "case"]
        print_whole(
            out, f"From {first} to {last}; {len(with_case):,} of them of {counted(with_case.nunique(), 'case')}."
        )
    print_whole(out, f"{counted(len(late.read(folder)), 'diagnosis', 'diagnoses')}.")
    missing = sum(gap.answers for gap in read_gaps(folder))
    known = counted(missing, "answer is", "answers are") if missing else "No answer is"
    print_whole(out, f"{known} known to be missing.")


@log_app.command("forget", rich_help_panel="Decide")
def forget(
    case: Annotated[str, typer.Argument(metavar="CASE", help="The id of the case, as it was sent with its pictures.")],
    log: Folder = None,
    settings: Settings = None,
) -> None:
    """Remove all answers and diagnoses of a case from the log; a server may go on writing it. Back-ups are not reached."""
    from skinlesion.prediction.log.reading import forget as remove

    removed = remove(config_of(None, None, _with_log(log, settings)).log_folder(), case)
    print_whole(out, f"{counted(removed, 'answer')} removed." if removed else "No answer in the log is of this case.")


def _with_log(log: Path | None, settings: list[str] | None) -> list[str]:
    return [*(settings or []), *([f"prediction_log={log.absolute()}"] if log is not None else [])]


def _time(microseconds: int) -> datetime:
    return datetime.fromtimestamp(int(microseconds) / 1e6, UTC)

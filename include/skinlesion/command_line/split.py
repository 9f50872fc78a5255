"""`skinlesion split`: which split is in force, and how to accept another one."""

from __future__ import annotations

from typing import Annotated

import typer

from skinlesion.command_line.options import Dataset, Models, Settings, commands, config_of, out
from skinlesion.foundation.terminal import print_whole
from skinlesion.registry.history import this_user

split_app = commands(
    "The split into training and held-out lesions: show it, or accept one that does not follow from the last."
)


@split_app.command("show", rich_help_panel="Look")
def show_split(dataset: Dataset = None, models: Models = None, settings: Settings = None) -> None:
    """Show the split in force, whether all that is known follows to it, and who accepted which one."""
    from skinlesion.data.split_table import read_split
    from skinlesion.registry.versions import splits_known
    from skinlesion.stages.accept_split import read_acceptances

    config = config_of(dataset, models, settings)
    for entry in read_acceptances(config.dataset):
        print_whole(out, f"{entry.at}  {entry.actor} accepted {entry.split}. {entry.reason}", indent=4)
    table = read_split(config.dataset, splits_known(config.models))
    if table.version is None:
        print_whole(out, f"There is no split in {config.dataset} yet. `skinlesion ingest` decides it.")
        return
    sides = ", ".join(
        f"{count} {str(side).replace('_', ' ')}" for side, count in table.decisions["split"].value_counts().items()
    )
    print_whole(out, f"The split is {table.version}, with {len(table.decisions)} keys ({sides}).")


@split_app.command("accept", rich_help_panel="Decide")
def accept(
    reason: Annotated[str, typer.Option(help="The reason, which the history keeps.")],
    dataset: Dataset = None,
    models: Models = None,
    settings: Settings = None,
) -> None:
    """Take split.parquet as it is although it does not follow from what is known; where it is missing, begin a new one.

    The history, split_history.jsonl in the data set, notes who did it, why, and what it means for every version.
    """
    from skinlesion.stages.accept_split import accept_split

    done = accept_split(config_of(dataset, models, settings), actor=this_user(), reason=reason)
    print_whole(out, f"Accepted as {done.split}. The next `skinlesion run` gives every image its side.")
    for sentence in done.meaning:
        print_whole(out, f"  {sentence}", indent=2)

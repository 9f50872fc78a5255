"""The settings of the monitor."""

from __future__ import annotations

import os
from pathlib import Path

from skinlesion.foundation.errors import DataError
from skinlesion.foundation.settings import PROJECT_ROOT, OptionalText, RunSettings, setting

SERVERS: str = "SKINLESION_SERVE_LOG"
"""The variable of the server's own setting for the same folder."""


class MonitorSettings(RunSettings):
    """What the monitor reads, and from when on it gives an alarm."""

    section = "In use"

    prediction_log: OptionalText = setting(
        "",
        "Prediction log",
        f"Folder of the prediction log that `skinlesion serve` writes. Empty: the one that {SERVERS} names.",
        in_form=False,
    )
    monitor_cases: int = setting(
        50,
        "Monitor: fewest cases",
        "A week with fewer cases, or pictures without a case, is shown, and no alarm is given for it.",
        ge=20,
        le=100_000,
    )
    monitor_effect: float = setting(
        0.1,
        "Monitor: effect",
        "Difference from the held-out images, in their standard deviations, beyond which the whole interval of a week must lie "
        "for an alarm.",
        ge=0,
        le=3,
    )
    monitor_drop: float = setting(
        0.05,
        "Monitor: loss of performance",
        "Loss against the held-out images beyond which the whole interval of the malignant AUROC, the balanced accuracy or the "
        "sensitivity must lie for an alarm.",
        ge=0,
        le=0.5,
    )
    monitor_weeks: int = setting(
        2,
        "Monitor: weeks in a row",
        "Number of weeks in a row that must lie beyond the bound, to the same side.",
        ge=1,
        le=20,
    )

    def log_folder(self) -> Path:
        """Return the folder of the prediction log. Raises DataError if none is named."""
        named = self.prediction_log or os.environ.get(SERVERS, "")
        if not named:
            raise DataError(
                "No prediction log is named. Start the server with `SKINLESION_SERVE_LOG=FOLDER`, and give the monitor the same "
                "folder: as that variable, or as the setting `prediction_log`."
            )
        return PROJECT_ROOT / named

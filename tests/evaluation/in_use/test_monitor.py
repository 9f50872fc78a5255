"""What the monitor says of logs of which the truth is known."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tests.evaluation.in_use.logs import DX, FIRST, InUse, in_use
from tests.measured import known
from tests.trained import skinlesion

from skinlesion.data.labels.classes import LABELS
from skinlesion.evaluation.in_use.estimate import figures_of, measured
from skinlesion.evaluation.in_use.record import PERFORMANCE, SIGNALS, Alarm, MonitorRecord
from skinlesion.evaluation.in_use.reference import Seen
from skinlesion.evaluation.shares import Share
from skinlesion.foundation import layout
from skinlesion.foundation.errors import DataError
from skinlesion.prediction.log import diagnoses
from skinlesion.prediction.log.entries import LogKey
from skinlesion.prediction.log.gaps import GapCount
from skinlesion.registry.figure import Figure
from skinlesion.stages.monitor import run_monitor


@pytest.fixture
def used(tmp_path: Path) -> InUse:
    return in_use(tmp_path)


def test_weeks_like_the_held_out_images_give_no_alarm_and_estimates_that_hold_the_truth(used: InUse) -> None:
    weeks = [used.week(number) for number in range(10)]
    found = used.monitor()
    assert (found.entries, len(found.weeks), found.missing) == (2000, 10, 0)
    assert found.alarms == found.past == ()
    assert found.weeks[0].monday == f"{FIRST:%Y-%m-%d}"
    held = 0
    for week, seen in zip(weeks, found.weeks, strict=True):
        assert seen.images == seen.cases == 200
        assert set(seen.effects) == set(SIGNALS)
        assert seen.called_malignant == pytest.approx((week["decision"] == "malignant").mean())
        labels = week["label"].map(LABELS.index).to_numpy()
        true = figures_of(labels[np.newaxis], week[list(LABELS)].to_numpy(), 0.2)
        for name in PERFORMANCE:
            figure = seen.estimated[name]
            held += known(figure.low) <= true[name][0] <= known(figure.high)
    assert held >= 26, "of 30 intervals that hold the truth in 95 of 100 cases"


def test_what_stays_gives_one_alarm_that_names_it_and_widens_what_is_estimated(used: InUse) -> None:
    for number in range(3):
        used.week(number)
    for number in range(3, 6):
        used.week(number, brightness=-1.0)
    found = used.monitor()
    (alarm,) = found.alarms
    assert (alarm.signal, alarm.side) == ("brightness", "below")
    assert found.weeks[3].monday <= alarm.since <= found.weeks[4].monday
    assert "standard deviations" in alarm.sentence and "below the held-out images" in alarm.sentence
    assert "camera" in alarm.remedy
    before, after = found.weeks[2], found.weeks[5]
    assert before.moved < 0.1 < after.moved
    assert wide(after.estimated["balanced_accuracy"]) > 1.5 * wide(before.estimated["balanced_accuracy"])


def wide(figure: Figure) -> float:
    return known(figure.high) - known(figure.low)


def test_one_strange_week_and_a_week_that_is_not_over_give_none_and_what_has_passed_is_kept(used: InUse) -> None:
    for number, shift in enumerate((0.0, -1.0, 0.0, -1.0, -1.0, 0.0, -1.0, -1.0)):
        used.week(number, brightness=shift, count=100)
    found = used.monitor(now=FIRST.replace(day=2 + 3, month=4), monitor_effect=0.5)
    assert [week.is_over for week in found.weeks] == [True] * 4 + [False] * 4
    assert found.alarms == found.past == ()
    found = used.monitor(now=FIRST.replace(month=4, day=16), monitor_effect=0.5)
    assert [alarm.signal for alarm in found.past] == ["brightness"]
    assert found.alarms == ()


def test_few_pictures_give_no_alarm(used: InUse) -> None:
    for number in range(4):
        used.week(number, 49, brightness=-5)
    assert used.monitor().alarms == ()
    assert used.monitor(monitor_cases=20).alarms != ()


def test_a_hundred_pictures_of_one_case_are_no_hundred_observations(used: InUse) -> None:
    for number in range(3):
        one = pd.concat([used.pictures(1, brightness=-3)] * 100, ignore_index=True)
        used.week(number, cases=[f"{number:032x}"] * 100, table=one)
        assert used.monitor().weeks[number].cases == 1
    assert used.monitor().alarms == ()


def test_what_is_small_and_stays_is_found_over_eight_weeks(used: InUse) -> None:
    for number in range(8):
        used.week(number, saturation=0.3)
    (alarm,) = used.monitor(monitor_weeks=20).alarms
    assert alarm.signal == "saturation" and "8 weeks" in alarm.sentence


def test_each_version_is_compared_with_its_own_images_and_one_without_says_why(used: InUse) -> None:
    used.version("second")
    used.week(0)
    used.week(0, 100, version="second")
    used.week(1, version="gone")
    found = used.monitor()
    assert [(week.monday, week.version, week.images) for week in found.weeks] == [
        ("2026-03-02", "first", 200),
        ("2026-03-02", "second", 100),
        ("2026-03-09", "gone", 200),
    ]
    assert found.weeks[2].effects == {} and "Evaluate" in found.weeks[2].note
    assert set(found.reference) == {"first", "second"}


def test_what_the_model_learnt_from_is_in_no_figure(used: InUse) -> None:
    used.week(0)
    used.week(0, 50, learnt="same file", brightness=-5)
    used.week(1, 50, learnt="same file")
    found = used.monitor()
    assert [(week.images, week.learnt) for week in found.weeks] == [(200, 50), (0, 50)]
    assert abs(found.weeks[0].effects["brightness"].value) < 0.4
    assert "learnt from all pictures" in found.weeks[1].note


# --- Diagnoses -------------------------------------------------------------------------------------------------------


def test_late_diagnoses_and_those_of_the_data_set_measure_and_too_few_are_not_shown(used: InUse) -> None:
    week = used.week(0, 400)
    first = week.head(300)
    used.diagnose(first["picture"], first["label"].map(DX))
    (found,) = used.monitor().weeks
    assert found.diagnosed == 300
    true = figures_of(
        first["label"].map(LABELS.index).to_numpy()[np.newaxis],
        first[list(LABELS)].to_numpy(np.float32).astype(float),
        0.2,
    )
    for name in ("malignant_auroc", "sensitivity"):
        assert found.measured[name].value == pytest.approx(float(true[name][0]), abs=1e-3)
        assert found.measured[name].is_shown == ((first["label"] == "malignant").sum() >= 20)
    diagnoses.keep(used.folder, lambda one: False)
    assert used.monitor().weeks[0].diagnosed == 0


def test_of_few_malignant_lesions_that_are_all_found_the_sensitivity_is_not_sure() -> None:
    # A bootstrap, which was here before, sees no variation and leaves the interval without width.
    labels = np.repeat([0, 1], [40, 24])
    probabilities = np.where(labels[:, np.newaxis] == 1, [0.2, 0.8, 0.0], [0.8, 0.2, 0.0])
    seen = Seen(probabilities, np.zeros((64, 1)), np.arange(64))
    found = measured(seen, labels, 0.5)["sensitivity"]
    assert (found.value, found.high, found.lesions) == (1, 1, 24)
    assert found.low is not None and found.low < 0.9
    assert found.low == pytest.approx(Share.of(np.ones(24, np.bool_), np.arange(24)).interval()[0])


def test_a_picture_of_the_data_set_joins_it_by_its_file(used: InUse) -> None:
    sha256 = "ab" * 32
    used.week(0, files=[LogKey.of(used.folder).of_file(sha256), *(["0" * 32] * 199)])
    assert used.monitor({sha256: "malignant"}).weeks[0].diagnosed == 1
    assert used.monitor({"cd" * 32: "malignant"}).weeks[0].diagnosed == 0


def test_a_loss_that_is_measured_gives_an_alarm_although_nothing_else_has_changed(used: InUse) -> None:
    for number in range(2):
        week = used.week(number, 400)
        used.diagnose(
            week["picture"], week["label"].sample(frac=1, random_state=1).map(DX)
        )  # nothing to do with the pictures
    found = used.monitor()
    assert {"malignant_auroc", "sensitivity"} & {alarm.signal for alarm in found.alarms}
    assert all("rollback" in alarm.remedy for alarm in found.alarms)
    assert any("sooner for those that were excised" in warning for warning in found.warnings)


# --- The record ------------------------------------------------------------------------------------------------------


def test_there_is_a_notice_of_an_alarm_once_and_again_where_the_record_was_damaged(used: InUse) -> None:
    def notices() -> list[str]:
        given: list[str] = []
        found = run_monitor(config, lambda alarms: given.extend(alarm.signal for alarm in alarms))
        assert [alarm.signal for alarm in found.new] == given
        return given

    for number in range(3):
        used.week(number, brightness=-1)
    config = used.settings(dataset=used.folder / "none")
    assert notices() == ["brightness"]
    assert notices() == []
    path = layout.monitored(used.models)
    assert MonitorRecord.read(path).alarms[0].signal == "brightness"
    path.write_text("{")
    assert len(notices()) == 1
    used.week(3, brightness=-1)
    assert notices() == [], "it still is the same alarm"


def test_a_run_by_hand_or_one_that_dies_before_its_notice_leaves_it_to_the_next(used: InUse) -> None:
    def dies(alarms: Sequence[Alarm]) -> None:
        raise KeyboardInterrupt

    for number in range(3):
        used.week(number, brightness=-1)
    config = used.settings(dataset=used.folder / "none")
    with pytest.raises(KeyboardInterrupt):
        run_monitor(config, dies)
    run_monitor(config)
    assert [alarm.signal for alarm in run_monitor(config, lambda alarms: None).new] == ["brightness"]


def test_gaps_of_the_log_are_said(used: InUse) -> None:
    used.week(0)
    GapCount(used.folder).add(50)
    found = used.monitor()
    assert found.missing == 50
    assert "50 answers are known not to be in the log (20.0%)" in found.warnings[0]


def test_an_empty_log_is_none_to_speak_of_and_without_a_log_the_error_says_what_to_do(
    used: InUse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert used.monitor().weeks == ()
    with pytest.raises(DataError, match="holds no prediction log"):
        used.monitor(prediction_log=str(tmp_path))
    monkeypatch.delenv("SKINLESION_SERVE_LOG", raising=False)
    with pytest.raises(DataError, match="SKINLESION_SERVE_LOG=FOLDER"):
        used.monitor(prediction_log="")


def test_the_commands_say_what_there_is(used: InUse, tmp_path: Path) -> None:
    def called(*words: str | Path) -> str:
        done = skinlesion(*words, "--log", used.folder)
        assert done.returncode == 0
        return " ".join(done.stdout.split())

    key = LogKey.of(used.folder)
    for number in range(2):
        used.week(number, brightness=-2, cases=[key.of_case(str(one % 50)) for one in range(200)])
    said = called("monitor", "--models", used.models, "--dataset", tmp_path / "none")
    assert "ALARM since" in said and "Brightness lies" in said
    (tmp_path / "late.csv").write_text("case,dx,date\n7,mel,2026-04-01\n")
    assert called("diagnoses", tmp_path / "late.csv").startswith("1 diagnosis noted")
    assert "400 answers" in called("log", "show")
    assert called("log", "forget", "7") == "8 answers removed."
    assert "0 diagnoses." in called("log", "show")

"""A candidate in the shadow beside the answers: where they agree, and which of them the late diagnoses say is right."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.evaluation.in_use.logs import InUse, in_use
from tests.trained import skinlesion

from skinlesion.evaluation.in_use.agreement import compare_shadow
from skinlesion.evaluation.in_use.record import Agreement, ShadowRecord
from skinlesion.evaluation.shares import Share
from skinlesion.foundation import layout
from skinlesion.stages.monitor import refresh_agreement, run_monitor


@pytest.fixture
def used(tmp_path: Path) -> InUse:
    return in_use(tmp_path)


def compared(used: InUse) -> tuple[Agreement, ...]:
    return compare_shadow(used.settings(), {}, "indeterminate").agreements


def test_pictures_of_a_case_count_as_one_and_what_either_learnt_or_was_not_asked_is_left_out(used: InUse) -> None:
    cases = [f"{number // 4:032x}" for number in range(200)]
    answers = used.week(0, cases=cases).sort_values("at")
    asked, learnt = answers.iloc[[*range(0, 90), *range(100, 190), 199]], answers.iloc[90:100]
    turned = np.where(np.arange(len(asked)) < 40, "no answer", asked["decision"])
    used.beside(asked, turned)
    used.beside(learnt, "no answer", learnt="same file")
    (found,) = compared(used)
    assert (found.number, found.against, found.pictures, found.learnt, found.not_asked) == (2, 1, 181, 10, 9)
    assert (found.differ, found.diagnosed) == (40, 0)
    groups = np.unique(asked["case"], return_inverse=True)[1].astype(np.int64)
    share = Share.of(turned == asked["decision"].to_numpy(), groups)
    assert found.alike.value == pytest.approx(share.point)
    assert found.alike.lesions == share.lesions
    assert [found.alike.low, found.alike.high] == pytest.approx(share.interval())
    assert sum(sum(row.values()) for row in found.counts.values()) == 181
    assert sum(row["no answer"] for row in found.counts.values() if "no answer" in row) == 40
    said = " ".join(found.sentences)
    assert "asked about 181 real pictures" in said and found.alike.text in said
    assert "About 9 more of that time it was not asked." in said and "10 more, from which one of the two learnt" in said
    assert "of none of these a diagnosis has come in" in said


def test_diagnoses_say_who_is_right_where_they_differ_unless_too_few_lesions_have_one(used: InUse) -> None:
    answers = used.week(0)
    turned = np.where(answers["decision"] == "malignant", "benign", "malignant")
    used.beside(answers, turned)
    malignant = answers[answers["decision"] == "malignant"]["picture"].tolist()
    used.diagnose(malignant[:9], ["mel"] * 9)
    (found,) = compared(used)
    assert (found.differ, found.diagnosed, found.right.number) == (200, 9, "too few lesions to judge (9)")
    assert "version 2 too few lesions to judge (9), version 1 too few lesions to judge (9)" in found.sentences[-1]
    used.diagnose(malignant[9:30], ["mel"] * 15 + ["nv"] * 6)
    (found,) = compared(used)
    assert found.diagnosed == 30
    assert (found.right.value, found.right_in_service.value) == pytest.approx((6 / 30, 24 / 30))
    expected = Share.of(np.arange(30) < 6, np.arange(30)).interval()
    assert [found.right.low, found.right.high] == pytest.approx(expected, abs=1e-9)


def test_each_version_that_answered_is_compared_for_itself_and_the_last_one_stands_last(used: InUse) -> None:
    first = used.week(0)
    used.beside(first, first["decision"])
    used.beside(first, "no answer", number=4, version="fourth")
    assert [(one.number, one.against) for one in compared(used)] == [(2, 1), (4, 1)]
    assert compared(used)[0].sentences[-1] == "They differ on none."


def test_what_was_said_in_the_shadow_is_no_answer(used: InUse) -> None:
    answers = used.week(0)
    before = used.monitor()
    used.beside(answers, "malignant")
    assert used.monitor() == before
    done = skinlesion("monitor", "--log", used.folder, "--models", used.models, "--dataset", used.folder)
    assert done.returncode == 0
    (found,) = ShadowRecord.read(layout.shadowed(used.models)).agreements
    assert " ".join(found.sentences) in " ".join(done.stdout.split())


def test_it_is_brought_up_to_date_for_a_promotion_and_a_damaged_log_is_no_obstacle(
    used: InUse, caplog: pytest.LogCaptureFixture
) -> None:
    path = layout.shadowed(used.models)
    answers = used.week(0)
    run_monitor(used.settings())
    assert ShadowRecord.known(used.models) == ((), "")
    used.beside(answers, answers["decision"])
    refresh_agreement(used.settings(prediction_log=""))
    assert ShadowRecord.known(used.models) == ((), ""), "no log is named"
    refresh_agreement(used.settings())
    (found,) = ShadowRecord.known(used.models, 2)[0]
    assert found.alike.value == 1 and ShadowRecord.known(used.models, 3) == ((), "")
    next(used.folder.rglob("beside*.parquet")).write_bytes(b"damaged")
    refresh_agreement(used.settings())
    assert "could not be brought up to date" in caplog.text and ShadowRecord.known(used.models, 2)[0] == (found,)
    path.write_text("{")
    assert "writes it anew" in ShadowRecord.known(used.models)[1]

"""The account of malignant lesions adds up, follows Bayes' rule, and says so when there are too few lesions."""

from __future__ import annotations

import re

import pytest
from tests.evaluation.test_operating_point import scored
from tests.measured import known

from skinlesion.evaluation.account import account
from skinlesion.registry.figure import FEWEST_LESIONS, Figure
from skinlesion.registry.group_decisions import DECISIONS, NO_ANSWER, PREVALENCES, Account


def of(malignant: list[str], others: list[str]) -> Account:
    """Return the account of images, one a lesion, with these decisions; each score is above the threshold if it is malignant."""
    first, other = ([0.9 if one in ("malignant", NO_ANSWER) else 0.1 for one in side] for side in (malignant, others))
    return account(scored(first, other), malignant + others, 0.5)


MANY = of(
    ["malignant"] * 30 + [NO_ANSWER] * 6 + ["benign"] * 4, ["malignant"] * 10 + ["benign"] * 70 + ["unknown"] * 20
)


def test_of_100_malignant_lesions_each_gets_one_decision() -> None:
    found = known(MANY.malignant)
    assert [found.counts[name] for name in DECISIONS] == [30, 6, 4, 0]
    assert sum(known(found.shares[name].value) for name in DECISIONS) == pytest.approx(1)
    assert found.shares["malignant"].of_100.startswith("75 (")
    assert found.counts["at_threshold"] == 36, "an image without an answer may reach the threshold"


def test_what_a_decision_is_worth_follows_bayes_rule() -> None:
    assert [row.prevalence for row in MANY.at_prevalence] == list(PREVALENCES) == [0.01, 0.03, 0.10]
    for row in MANY.at_prevalence:
        share = row.prevalence
        assert row.malignant.value == pytest.approx(0.75 * share / (0.75 * share + 0.1 * (1 - share)))
        assert row.benign.value == pytest.approx(0.1 * share / (0.1 * share + 0.7 * (1 - share)))
        for figure in (row.malignant, row.benign):
            assert known(figure.low) < known(figure.value) < known(figure.high)
    assert "7.0 (" in MANY.meaning("malignant"), "0.0704 of 100 called so, where 1 of 100 lesions is malignant"


def test_a_decision_that_is_never_wrong_is_no_certainty() -> None:
    found = of(["malignant"] * 40, ["benign"] * 40).at_prevalence[0]
    assert (found.malignant.value, found.benign.value) == (1, 0)
    assert known(found.malignant.low) < 0.5 and known(found.benign.high) > 0


def test_the_sentence_tells_the_three_shares_apart() -> None:
    sentence = MANY.sentence
    malignant = known(MANY.malignant)
    for text in (f"36, {MANY.likeliest.text} (recall)", f"30, {malignant.shares['malignant'].text} (decision)"):
        assert text in sentence


@pytest.mark.parametrize("lesions", [1, 7, FEWEST_LESIONS - 1])
def test_too_few_lesions_are_counted_and_not_judged(lesions: int) -> None:
    few = of(["malignant"] * lesions, ["benign"] * 40)
    says = f"too few lesions to judge ({lesions})"
    assert known(few.malignant).shares["malignant"].of_100 == says
    assert says in few.meaning("malignant") and says in few.meaning(NO_ANSWER)
    assert f"for {lesions} (decision)" in few.sentence
    assert not re.search(r"\d\.\d", few.sentence.partition("(decision)")[0].partition("0.500")[2]), "no share"


def test_without_a_malignant_lesion_nothing_is_claimed() -> None:
    none = of([], ["benign"] * 40)
    assert none.malignant is None
    assert "nothing is known" in none.sentence
    assert "not measured" in none.meaning("malignant")


def test_a_figure_is_written_in_one_way() -> None:
    figure = Figure(value=0.857, low=0.4869, high=0.974, lesions=FEWEST_LESIONS)
    assert (figure.text, figure.of_100) == ("0.857 (0.487–0.974)", "86 (49–97)")
    assert figure.signed == "+0.857 (+0.487 to +0.974)"
    few = figure.model_copy(update={"lesions": 7})
    assert {few.text, few.number, few.of_100, few.signed} == {"too few lesions to judge (7)"} and few.interval == ""
    assert Figure().text == Figure(lesions=0).text == "not measured"
    assert Figure(value=-0.0001).signed == "+0.000"
    assert [Figure(value=value).of_100 for value in (0.0032, 0.029, 0.997, 0)] == ["0.32", "2.9", "100", "0"]

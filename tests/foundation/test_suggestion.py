import pytest

from skinlesion.foundation.suggestion import did_you_mean

KNOWN = ("epochs", "head_epochs", "batch_size")


@pytest.mark.parametrize("name", ["epohcs", "epoch", "EPOCHS"])
def test_a_mistyped_name_is_answered_with_the_closest_known_name(name: str) -> None:
    assert did_you_mean(name, KNOWN) == "Did you mean `epochs`?"


def test_nothing_is_suggested_for_a_name_that_is_like_no_other() -> None:
    assert did_you_mean("zzz", KNOWN) == ""

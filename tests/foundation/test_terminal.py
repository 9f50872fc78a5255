"""What is printed to a terminal, whatever its width, and into a pipe."""

from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console
from rich.table import Column, Table

from skinlesion.foundation.terminal import print_whole

PATH = "/a/path/that/is/longer/than/the/terminal/is/wide/skin_lesion_classifier_trained.h5"
SENTENCE = f"The model is in {PATH} and nowhere else, as everybody should know by now."


def printed(*content: str | Table, width: int, is_terminal: bool = True, indent: int = 0) -> list[str]:
    file = StringIO()
    console = Console(file=file, width=width, force_terminal=is_terminal, color_system=None, soft_wrap=True)
    print_whole(console, *content, indent=indent)
    return [line.rstrip() for line in file.getvalue().splitlines()]


def table() -> Table:
    made = Table("no.", "balanced accuracy", "sensitivity", Column("file", max_width=12))
    made.add_row("1", "0.812 (0.700–0.900)", "not measured", "isic\\[1].jpg")
    made.add_row("2", "0.9", "0.9", "x" * 30)
    return made


def test_a_table_fits_the_terminal_and_breaks_its_headings_between_words() -> None:
    lines = printed(table(), width=50)
    assert max(map(len, lines)) <= 50
    words = " ".join(lines).split()
    assert {"balanced", "accuracy", "sensitivity", "(0.700–0.900)", "measured", "isic[1].jpg"} <= set(words)


def test_words_of_users_are_broken_where_they_are_too_long_but_none_is_lost() -> None:
    assert sum(line.count("x") for line in printed(table(), width=50)) == 30


def test_a_terminal_too_narrow_for_the_words_cuts_none_either() -> None:
    words = " ".join(printed(table(), width=20)).split()
    assert {"balanced", "sensitivity", "(0.700–0.900)"} <= set(words)


def test_nor_where_no_column_has_more_than_a_word() -> None:
    made = Table("Version", "Standing")
    made.add_row("1", "waits")
    assert {"Version", "Standing", "waits"} <= set(" ".join(printed(made, width=8)).split())


def test_a_table_takes_no_more_lines_than_it_needs() -> None:
    assert len(printed(table(), width=200)) == 2 + 1 + 3


def test_in_a_pipe_each_row_is_one_line() -> None:
    heading, _, first, second = printed(table(), width=20, is_terminal=False)
    assert heading.split("  ")[1] == "balanced accuracy"
    assert "0.812 (0.700–0.900)  not measured" in first
    assert second.endswith("x" * 30)


@pytest.mark.parametrize("width", [30, 80])
def test_a_sentence_is_wrapped_between_words_and_no_path_is_broken(width: int) -> None:
    lines = printed(SENTENCE, width=width, indent=4)
    assert PATH in [line.strip() for line in lines]
    assert all(len(line) <= width for line in lines if PATH not in line)
    assert all(line.startswith("    ") for line in lines[1:])
    assert " ".join(" ".join(lines).split()) == SENTENCE


def test_in_a_pipe_a_sentence_is_one_line_and_markup_is_text() -> None:
    assert printed(f"[red]{SENTENCE}\nAnother", width=40, is_terminal=False) == [f"[red]{SENTENCE}", "Another"]

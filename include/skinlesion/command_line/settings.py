"""`skinlesion settings`: every setting with its value, its bounds and its meaning."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from typing import Annotated, Any

import typer

from skinlesion.foundation.errors import DataError
from skinlesion.foundation.settings import value_text
from skinlesion.foundation.suggestion import did_you_mean
from skinlesion.stages.settings import SECTION_OF, PipelineConfig

WIDEST = 110
"""Columns; longer lines are hard to read."""


def _sections_that_begin(incomplete: str) -> list[str]:
    """Return the sections of the settings."""
    return [name for name in dict.fromkeys(SECTION_OF.values()) if name.lower().startswith(incomplete.lower())]


def list_settings(
    section: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Only this section, such as Training.",
            show_default=False,
            autocompletion=_sections_that_begin,
        ),
    ] = None,
    search: Annotated[
        str | None,
        typer.Option(metavar="WORD", help="Only settings whose name or text holds this word.", show_default=False),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print them as JSON.")] = False,
) -> None:
    """List the settings, section by section, with their values now, their bounds and what they do."""
    found = [described for described in describe_settings() if _is_wanted(described, section, search)]
    if section is not None and not found:
        _refuse_unknown(section)
    if as_json:
        typer.echo(json.dumps(found, indent=1))
        return
    if not found:
        raise DataError(f"No setting has `{search}` in its name or text. `skinlesion settings` lists them all.")
    width = min(shutil.get_terminal_size().columns if sys.stdout.isatty() else 80, WIDEST)
    heading = None
    for described in found:
        if described["section"] != heading:
            typer.echo(("" if heading is None else "\n") + described["section"])
            heading = described["section"]
        typer.echo("\n".join(_lines(described, width)))
    typer.echo("\n" + textwrap.fill(HOW_TO_SET, width))


HOW_TO_SET = "Set one with `--set name=value`, with an environment variable such as SKINLESION_EPOCHS, or in the trigger form of the DAG."


def describe_settings() -> list[dict[str, Any]]:
    """Return every setting in the order of the sections, as JSON-able values.

    Keys: name, section, title, description, value, default, allowed (bounds or choices as text), choices (empty if there are
    none), environment.
    """
    now = PipelineConfig.of({}).model_dump(mode="json")
    properties = PipelineConfig.model_json_schema()["properties"]
    return [
        {
            "name": name,
            "section": section,
            "title": properties[name]["title"],
            "description": properties[name].get("description", ""),
            "value": now[name],
            "default": properties[name]["default"],
            "allowed": _allowed(properties[name]),
            "choices": _choices(properties[name]),
            "environment": f"SKINLESION_{name.upper()}",
        }
        for name, section in SECTION_OF.items()
    ]


def _is_wanted(described: dict[str, Any], section: str | None, search: str | None) -> bool:
    if section is not None and described["section"].lower() != section.strip().lower():
        return False
    text = " ".join(described[key] for key in ("name", "title", "description")).lower()
    return search is None or search.lower() in text


def _refuse_unknown(section: str) -> None:
    found = {known.lower(): known for known in SECTION_OF.values()}
    if section.strip().lower() not in found:
        suggestion = did_you_mean(section, found)
        sentences = (f"There is no section `{section}`.", suggestion, f"Sections: {', '.join(found.values())}.")
        raise DataError(" ".join(filter(None, sentences)))


def _lines(described: dict[str, Any], width: int) -> list[str]:
    """Return the lines of one setting: name and value with what is allowed, then its text, none wider than `width`."""
    head = f"  {described['name']} = {value_text(described['value'])}"
    if described["allowed"]:
        head += f"  ({described['allowed']})"
    if described["value"] != described["default"] and described["section"] != "Data":
        head += f"  [default {value_text(described['default'])}]"
    text = ". ".join(filter(None, (described["title"], described["description"])))
    return [
        *textwrap.wrap(head, width, subsequent_indent=" " * 8, break_long_words=False, break_on_hyphens=False),
        *textwrap.wrap(
            text,
            width,
            initial_indent=" " * 6,
            subsequent_indent=" " * 6,
            break_long_words=False,
            break_on_hyphens=False,
        ),
    ]


def _allowed(schema: dict[str, Any]) -> str:
    if schema.get("type") == "boolean":
        return "true or false"
    if choices := _choices(schema):
        return ", ".join(choices)
    named = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "exclusiveMaximum": "below"}
    return ", ".join(f"{words} {schema[key]}" for key, words in named.items() if key in schema)


def _choices(schema: dict[str, Any]) -> list[str]:
    return ["true", "false"] if schema.get("type") == "boolean" else [str(one) for one in schema.get("enum", ())]

"""Pages of the documentation that are made from the code when the documentation is built. MkDocs loads this file as a hook.

The pages of docs/reference/ on settings, the command line, files on disk, records and the HTTP API are written here, so
that they cannot disagree with the program. CONTRIBUTING.md and CHANGELOG.md become pages too.
"""

from __future__ import annotations

import ast
import asyncio
import importlib
import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import httpx
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT: Final = Path(__file__).resolve().parents[1]
PACKAGE: Final = ROOT / "include" / "skinlesion"

NOT_OF_RECORDS: Final = ("skinlesion.foundation.", "skinlesion.prediction.serving.", "skinlesion.data.sources.isic_api")
"""Where pydantic models are that are no records: what records inherit, documents of the HTTP API, answers of the ISIC Archive."""

# The hook ------------------------------------------------------------------------------------------------------------


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made from the code."""
    for address, page in PAGES.items():
        files.append(File.generated(config, address, content=page()))
    return files


# Settings ------------------------------------------------------------------------------------------------------------


SETTINGS: Final = {
    "PipelineConfig": ("a run", "every other command and to the DAGs; in containers they are lines of `settings.env`."),
    "SignatureSettings": ("signatures", "all commands; they come from the environment alone."),
    "ServerSettings": ("the prediction server", "`skinlesion serve`; in containers they are lines of `predictor.env`."),
}
"""What the settings of a class are of, and what they belong to."""


def settings_page() -> str:
    """Return the page of all settings: of a run, of signatures, of the server, each with default, bounds and variable."""
    parts = [
        "# Settings",
        "A setting is taken from the trigger form or from `--set NAME=VALUE` where it is given there, else from its "
        "environment variable, else from its default. `skinlesion settings` prints the values that hold on your machine. "
        "An unknown name or a value out of bounds is refused.",
    ]
    models = {model.__name__: model for model in classes_named("BaseSettings", leaves_only=True)}
    for name, (what, owner) in SETTINGS.items():
        parts += [f"# Settings of {what}", f"These belong to {owner}", *_settings_of(models.pop(name))]
    if models:
        raise LookupError(f"The page has no heading for the settings in {', '.join(models)}.")
    return "\n\n".join(parts).replace("\n# ", "\n## ") + "\n"


def _settings_of(model: Any) -> Iterator[str]:
    schema = model.model_json_schema()["properties"]
    prefix = model.model_config.get("env_prefix", "")
    # A module may say in which order people see its settings.
    names = list(getattr(importlib.import_module(model.__module__), "SECTION_OF", model.model_fields))
    for section in dict.fromkeys(section_of(model, name) for name in names):
        yield f"### {section}"
        for name in (name for name in names if section_of(model, name) == section):
            field = model.model_fields[name]
            yield f"#### `{name}` {{ #{'server-' if 'serving' in model.__module__ else ''}{name} }}"
            yield f"**{(field.title or name).rstrip('.')}.** {field.description or ''}".strip()
            yield f"Default {_default(field)}{_allowed(schema.get(name, {}))}. Environment: `{prefix}{name.upper()}`."


def section_of(model: Any, name: str) -> str:
    """Return the section of a setting: from the field itself, else from the class that declares the field."""
    extra = model.model_fields[name].json_schema_extra
    if isinstance(extra, Mapping) and "section" in extra:
        return str(extra["section"])
    for declaring in reversed(model.__mro__):
        if name in vars(declaring).get("__annotations__", {}):
            return str(getattr(declaring, "section", None) or getattr(declaring, "SECTION", None) or "Server")
    raise LookupError(f"No class declares the setting {name}")


def _default(field: Any) -> str:
    if field.is_required():
        return "none: it must be given"
    value = field.get_default(call_default_factory=True)
    return "empty" if value in ("", None) else f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _allowed(schema: Mapping[str, Any]) -> str:
    if "enum" in schema:
        return "; one of " + ", ".join(f"`{value}`" for value in schema["enum"])
    named = {
        "minimum": "at least {:g}",
        "exclusiveMinimum": "more than {:g}",
        "maximum": "at most {:g}",
        "exclusiveMaximum": "less than {:g}",
    }
    bounds = [text.format(schema[key]).replace("e+08", "00000000") for key, text in named.items() if key in schema]
    return "; " + ", ".join(bounds) if bounds else ""


# Command line --------------------------------------------------------------------------------------------------------


def command_line_page() -> str:
    """Return the page of every command with its arguments and options."""
    import typer

    from skinlesion.command_line.main import app

    parts = [
        "# Command line",
        "Without Airflow, everything is done with `skinlesion`. Exit status 2 means that the data or a setting is wrong and "
        "the message says what to do; 3 means that a disk or a network failed; 130 that you stopped it. What was finished "
        "is kept, and the same command goes on.",
        "`skinlesion --version` prints the version, and `skinlesion --install-completion` lets the shell complete commands, settings and "
        "numbers of versions (where `skinlesion` is found, as after `source .venv/bin/activate`). `--json` of `skinlesion run` and of "
        "a stage writes a `RunReport`, one of the [records](records.md).",
    ]
    parts += _commands(typer.main.get_command(app), "skinlesion")
    return "\n\n".join(parts) + "\n"


def _commands(command: Any, name: str) -> Iterator[str]:
    if hasattr(command, "list_commands"):
        panel = None
        for child_name in command.list_commands(None):
            child = command.commands[child_name]
            if panel != (panel := child.rich_help_panel) and panel:
                yield f"## {panel}"
            yield from _commands(child, f"{name} {child_name}")
        return
    yield f"### {name}"
    yield inspect.cleandoc(command.help or "")
    arguments = [parameter for parameter in command.params if parameter.param_type_name == "argument"]
    shown = [parameter.metavar or parameter.name.upper() for parameter in arguments]
    usage = " ".join([name, *shown, *(["[OPTIONS]"] if len(arguments) < len(command.params) else [])])
    yield f"```text\n{usage}\n```"
    rows = [_parameter_row(parameter) for parameter in command.params]
    if rows:
        yield "\n".join(["| | default | |", "|---|---|---|", *rows])


def _parameter_row(parameter: Any) -> str:
    named = parameter.metavar or parameter.name.upper()
    if parameter.param_type_name != "argument":
        named = ", ".join(parameter.opts)
        if not getattr(parameter, "is_flag", False):
            named += f" {parameter.metavar or _type_named(parameter)}"
    default = parameter.default
    if isinstance(parameter.show_default, str):
        default = parameter.show_default
    elif default in (None, False, [], ()) or callable(default):
        default = "required" if parameter.required else ""
    return _row(f"`{named}`", f"`{default}`" if default not in ("", "required") else default, parameter.help or "")


def _type_named(parameter: Any) -> str:
    annotation = getattr(getattr(parameter, "type_descriptor", None), "annotation", None)
    return str(getattr(annotation, "__name__", parameter.name)).upper()


# Files and records ---------------------------------------------------------------------------------------------------


def files_page() -> str:
    """Return the page of the files under dataset/ and models/, from the one module that names them."""
    from skinlesion.foundation import layout
    from skinlesion.registry.candidate import Candidate, CandidateFile

    folders = {"dataset": Path("dataset"), "models": Path("models")}
    samples = folders | {"run": "<run>", "stage": "<stage>"}
    found: dict[str, list[str]] = {folder: [] for folder in folders}
    for name, function in inspect.getmembers(layout, inspect.isfunction):
        names = list(inspect.signature(function).parameters)
        if name.startswith("_") or function.__module__ != layout.__name__ or not names or names[0] not in folders:
            continue
        place = function(*(samples.get(parameter, f"<{parameter}>") for parameter in names))
        found[names[0]].append(_row(f"`{place}`", _what_is_returned(function)))
    folder = Candidate(layout.candidate(Path("models"), "<run>"))
    of_candidate = [
        _row(f"`{getattr(folder, name).name}`", file.description)
        for name, file in inspect.getmembers(Candidate, lambda member: isinstance(member, CandidateFile))
    ]
    head = ["| path | |", "|---|---|"]
    return "\n".join(
        [
            "# Files on disk",
            "",
            "The names are relative to the folders that the settings `dataset` and `models` name. Only `images/`, "
            "`diagnoses.csv` and `labels/` are yours; everything else is derived from them. Of what is derived, keep "
            "`split.parquet`, `split_history.jsonl`, `review_history.jsonl` and the whole models folder in your back-up: nothing can make them again.",
            "",
            "## The data set",
            "",
            *head,
            *sorted(found["dataset"]),
            "",
            "## The models",
            "",
            *head,
            *sorted(found["models"]),
            "",
            "What to do about a file of the registry that does not fit is listed under "
            "[decide](../how-to/deciding.md#when-a-file-of-the-registry-is-damaged-or-lost).",
            "",
            "## A candidate",
            "",
            f"Each trained candidate has a folder `{folder.folder}`. `<run>` is a hash of what the model depends on.",
            "",
            *head,
            *sorted(of_candidate),
            "",
        ]
    )


def records_page() -> str:
    """Return the page of the records that are written to disk as JSON, and of what is nested in them or handed on as JSON."""
    from skinlesion.foundation.record import Record

    models = [
        model
        for model in classes_named("BaseModel")
        if model.__doc__
        and model.model_fields
        and not model.__name__.startswith("_")
        and not model.__module__.startswith(NOT_OF_RECORDS)
    ]
    records = [model for model in models if issubclass(model, Record)]
    parts = [model for model in models if model not in records]
    return "\n".join(
        [
            "# Records",
            "",
            "Records are written to disk as JSON, one object a file or one a line. Each has a `format_version`; one without it "
            "has format 1, and one of a newer format is refused. (`decision_rule.json` calls it `version`.) What the program reads back is checked. A record that does "
            "not fit is named with its file and the field, and the message says what to do. Unknown fields are ignored. The "
            "answers of the HTTP API are described on [its own page](http-api.md).",
            "",
            "## Files and lines",
            "",
            "| record | defined in | what it is | fields | if it does not fit |",
            "|---|---|---|---|---|",
            *sorted(_row(*_described(model), model.remedy) for model in records),
            "",
            "## Parts",
            "",
            "These are nested in records, or handed on as JSON by commands and tasks.",
            "",
            "| part | defined in | what it is | fields |",
            "|---|---|---|---|",
            *sorted(_row(*_described(model)) for model in parts),
            "",
        ]
    )


def _described(model: Any) -> tuple[str, str, str, str]:
    fields = ", ".join(f"`{name}`" for name in model.model_fields)
    return f"`{model.__name__}`", f"`{model.__module__}`", _first_paragraph(model), fields


# HTTP API ------------------------------------------------------------------------------------------------------------


def api_page() -> str:
    """Return the page of the HTTP API, from the description that the server itself gives at /openapi.json."""
    described = _openapi()
    parts = [
        "# HTTP API",
        described["info"].get("description", ""),
        "The server gives this description to programs at `/openapi.json`. Errors are problem details (RFC 9457) whose "
        "`detail` says what to do.",
    ]
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            parts.append(f"## {method.upper()} {path}")
            text = operation.get("description") or operation.get("summary", "")
            parts.append(text.rstrip(".") + ".")
            named = [
                _row(f"`{one['name']}`", one["in"], _type(one.get("schema", {})), one.get("description", ""))
                for one in operation.get("parameters", ())
            ]
            if named:
                parts.append("\n".join(["| parameter | in | type | |", "|---|---|---|---|", *named]))
            body = operation.get("requestBody", {}).get("content", {})
            if body:
                parts.append("The body is " + ", ".join(f"`{kind}`" for kind in body) + ".")
            answers = [
                _row(code, ", ".join(f"`{kind}`" for kind in answer.get("content", {})), answer.get("description", ""))
                for code, answer in operation.get("responses", {}).items()
            ]
            parts.append("\n".join(["| status | type | |", "|---|---|---|", *answers]))
    parts.append("## Documents")
    for name, schema in described.get("components", {}).get("schemas", {}).items():
        parts.append(f"### {name}")
        parts.append(schema.get("description", ""))
        fields = [
            _row(f"`{field}`", _type(of), of.get("description", ""))
            for field, of in schema.get("properties", {}).items()
        ]
        if fields:
            parts.append("\n".join(["| field | type | |", "|---|---|---|", *fields]))
    return "\n\n".join(filter(None, parts)) + "\n"


def _openapi() -> dict[str, Any]:
    from skinlesion.prediction.serving.app import create_app
    from skinlesion.prediction.serving.settings import ServerSettings
    from skinlesion.stages.settings import PipelineConfig

    transport = httpx.ASGITransport(app=create_app(PipelineConfig(), ServerSettings()))

    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as client:
            return await client.get("/openapi.json")

    answer: dict[str, Any] = asyncio.run(ask()).raise_for_status().json()
    return answer


def _type(schema: Mapping[str, Any]) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[-1]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(_type(one) for one in schema["anyOf"])
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    return str(schema.get("type", "any"))


# What the pages have in common ---------------------------------------------------------------------------------------


def classes_named(ancestor: str, *, leaves_only: bool = False) -> list[Any]:
    """Return the package's classes that descend from the pydantic class of this name, in the order of their modules.

    The sources are read first, and only modules that define such a class are imported: others load TensorFlow.
    leaves_only: leave out classes that another one of them inherits.
    """
    bases: dict[str, set[str]] = {}
    defined_in: dict[str, str] = {}
    for file in sorted(PACKAGE.rglob("*.py")):
        module = ".".join(file.relative_to(PACKAGE.parent).with_suffix("").parts)
        for node in ast.parse(file.read_text()).body:
            if isinstance(node, ast.ClassDef):
                bases[node.name] = {ast.unparse(base).split("[")[0].rsplit(".", 1)[-1] for base in node.bases}
                defined_in[node.name] = module
    found: set[str] = set()
    while more := {name for name, above in bases.items() if above & (found | {ancestor})} - found:
        found |= more
    if leaves_only:
        found -= set().union(*(bases[name] for name in found))
    classes = [getattr(importlib.import_module(defined_in[name]), name) for name in found]
    return sorted(classes, key=lambda model: (model.__module__, model.__name__))


def _first_paragraph(described: Any) -> str:
    return " ".join((inspect.getdoc(described) or "").split("\n\n")[0].split())


def _what_is_returned(function: Any) -> str:
    """Return what a function's docstring says that it returns: "The catalog." of "Return the path of the catalog."."""
    text = re.sub(r"^Return (the path of )?", "", _first_paragraph(function))
    return text[:1].upper() + text[1:]


def _row(*cells: str) -> str:
    return "| " + " | ".join(" ".join(str(cell).split()).replace("|", "\\|") for cell in cells) + " |"


def _root_page(name: str) -> Callable[[], str]:
    """Return what makes a page of a Markdown file at the root; its links into docs/ become links between pages."""
    return lambda: (ROOT / name).read_text().replace("](docs/", "](")


PAGES: Final[dict[str, Callable[[], str]]] = {
    "reference/settings.md": settings_page,
    "reference/command-line.md": command_line_page,
    "reference/files.md": files_page,
    "reference/records.md": records_page,
    "reference/http-api.md": api_page,
    "contributing.md": _root_page("CONTRIBUTING.md"),
    "changelog.md": _root_page("CHANGELOG.md"),
}
"""Address of each page below docs/, and what makes it."""

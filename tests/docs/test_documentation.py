from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import ClassVar

import pytest
import yaml
from mkdocs.commands import build
from mkdocs.config import load_config
from mkdocs.exceptions import Abort
from pydantic import BaseModel, Field
from tools import broken_links, reference_pages

ROOT = Path(__file__).resolve().parents[2]

LOADED = re.compile(
    r"""<(?:script|img|iframe|link rel="(?:stylesheet|preconnect|icon)")[^>]*(?:src|href)="((?:https?:)?//[^"]+)"""
)
"""What a browser loads of an HTML page."""

EMBEDDED = re.compile(r"""!\[[^]]*\]\(((?:https?:)?//[^)]+)|<[^>]*(?:src|srcset|data)=["']((?:https?:)?//[^"']+)""")
"""What a Markdown page has a browser load."""

PAGE = """
# A page

[Another](other.md#part)

!!! note

    With `code`.

| a | table |
|---|---|

```python
print("and this")
```
"""


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """Return a folder with the project's theme, extensions and validation, and two pages in docs/."""
    (tmp_path / "mkdocs.yml").write_text(
        f"INHERIT: {ROOT / 'mkdocs.yml'}\nhooks: []\nnav: [index.md, other.md]\ndocs_dir: docs\nsite_dir: site\n"
    )
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text(PAGE)
    (tmp_path / "docs" / "other.md").write_text("# Another\n\n## Part\n")
    return tmp_path


def built(folder: Path, site: Path) -> list[Path]:
    """Build the documentation as `mkdocs build --strict` does; return its pages."""
    build.build(load_config(str(folder / "mkdocs.yml"), strict=True, site_dir=str(site)))
    return list(site.rglob("*.html"))


def test_what_the_theme_adds_to_a_page_loads_nothing_from_elsewhere(small: Path) -> None:
    pages = built(small, small / "site")
    assert len(pages) >= 2
    assert {address for page in pages for address in LOADED.findall(page.read_text())} == set()


def test_no_page_embeds_what_is_elsewhere() -> None:
    sources = [page.read_text() for page in (ROOT / "docs").rglob("*.md")] + [
        page() for page in reference_pages.PAGES.values()
    ]
    assert len(sources) > 30
    assert [address for source in sources for address in EMBEDDED.findall(source)] == []


NAMED_TEST = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")
"""A test that a page names as the one that holds a claim."""


@pytest.mark.parametrize("page", ["explanation/threat-model.md", "explanation/reliability.md"])
def test_each_test_that_a_page_names_is_there(page: str) -> None:
    named = set(NAMED_TEST.findall((ROOT / "docs" / page).read_text()))
    missing = [f"{file}::{name}" for file, name in named if f"def {name}(" not in (ROOT / file).read_text()]
    assert missing == []
    assert named or page != "explanation/threat-model.md"


@pytest.mark.slow  # `make lint` builds it too
def test_the_documentation_builds_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    pages = built(ROOT, tmp_path)
    assert len(pages) > 30
    assert {address for page in pages for address in LOADED.findall(page.read_text())} == set()
    assert "<code>SKINLESION_" in (tmp_path / "reference" / "settings.html").read_text()
    assert "models/candidates/&lt;run&gt;" in (tmp_path / "reference" / "files.html").read_text()


@pytest.mark.parametrize("link", ["other.md#no-such-heading", "no-such-page.md"])
def test_a_strict_build_fails_on_a_broken_link(small: Path, link: str, caplog: pytest.LogCaptureFixture) -> None:
    with (small / "docs" / "index.md").open("a") as page:
        page.write(f"\n[nowhere]({link})\n")
    with pytest.raises(Abort):
        built(small, small / "site")
    assert "no-such-" in caplog.text


def test_the_reference_lists_every_setting_with_its_variable() -> None:
    page = reference_pages.settings_page()
    models = reference_pages.classes_named("BaseSettings", leaves_only=True)
    names = [model.model_config["env_prefix"] + name.upper() for model in models for name in model.model_fields]
    assert len(names) > 80
    assert [name for name in names if f"`{name}`" not in page] == []


def test_the_reference_lists_commands_files_and_addresses() -> None:
    assert "skinlesion models rollback" in reference_pages.command_line_page()
    assert "models/candidates/<run>" in reference_pages.files_page()
    assert "POST /v1/predict" in reference_pages.api_page()


def test_the_reference_names_each_file_once_and_says_what_it_is() -> None:
    rows = [line.split(" | ") for line in reference_pages.files_page().splitlines() if line.startswith("| `")]
    paths = [row[0] for row in rows]
    assert len(paths) > 30
    assert len(set(paths)) == len(paths)
    assert [row for row in rows if row[1].startswith("Return")] == []


def test_the_reference_says_what_to_do_about_a_record_that_does_not_fit() -> None:
    files, parts = reference_pages.records_page().split("## Parts")
    verdict = next(line for line in files.splitlines() if line.startswith("| `Verdict` "))
    assert "judge the version again" in verdict
    assert "| `Criterion` " in parts
    assert "isic_api" not in files + parts


def test_the_section_of_a_setting_is_its_own_or_its_class() -> None:
    class Base(BaseModel):
        section: ClassVar[str] = "Base"
        inherited: int = 0

    class Part(Base):
        section: ClassVar[str] = "Part"
        own: int = 0
        marked: int = Field(0, json_schema_extra={"section": "Marked"})

    sections = [reference_pages.section_of(Part, name) for name in ("inherited", "own", "marked")]
    assert sections == ["Base", "Part", "Marked"]


def test_links_and_mentions_outside_the_documentation_are_checked(tmp_path: Path) -> None:
    for name in broken_links.LINKING:
        (tmp_path / name).write_text("[web](https://example.org/a.md) [here](#here)")
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "there.md").touch()
    gone, lost = (f"docs/{name}.md" for name in ("gone", "lost"))  # not to be found in this file itself
    (tmp_path / "README.md").write_text(f"[a](docs/{'there'}.md#part) [b]({gone})")
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / "run.sh").write_text(f"# docs/{'there'}.md and {lost} say more\n")
    assert list(broken_links.broken_links(tmp_path)) == [
        f"README.md links to {gone}, which does not exist.",
        f"tools/run.sh names {lost}, which does not exist.",
    ]


def test_the_version_is_the_same_wherever_it_is_written() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    newest = re.search(r"^## (\S+) - (\S+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest is not None
    assert newest.groups() == (project["version"], str(cited["date-released"]))
    assert cited["version"] == project["version"]

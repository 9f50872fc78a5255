from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType
from typing import ClassVar

import pytest
import yaml
from pydantic import BaseModel, Field

ROOT = Path(__file__).resolve().parents[2]

LOADED = re.compile(
    r"""<(?:script|img|iframe|link rel="(?:stylesheet|preconnect|icon)")[^>]*(?:src|href)="((?:https?:)?//[^"]+)"""
)


def hook(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def pages() -> ModuleType:
    return hook("reference_pages")


def build(root: Path, site: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(site)],
        cwd=root,
        capture_output=True,
        text=True,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    built = build(ROOT, folder)
    assert built.returncode == 0, built.stderr
    return folder


def test_a_page_loads_nothing_from_elsewhere(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 30
    assert {address for page in pages for address in LOADED.findall(page.read_text())} == set()


def test_the_reference_lists_every_setting_with_its_variable(site: Path, pages: ModuleType) -> None:
    page = (site / "reference" / "settings.html").read_text()
    models = pages.classes_named("BaseSettings", leaves_only=True)
    names = [model.model_config["env_prefix"] + name.upper() for model in models for name in model.model_fields]
    assert len(names) > 80
    assert [name for name in names if f"<code>{name}</code>" not in page] == []


def test_the_reference_lists_commands_files_and_addresses(site: Path) -> None:
    reference = site / "reference"
    assert "skinlesion models rollback" in (reference / "command-line.html").read_text()
    assert "models/candidates/&lt;run&gt;" in (reference / "files.html").read_text()
    assert "POST /v1/predict" in (reference / "http-api.html").read_text()


def test_the_reference_names_each_file_once_and_says_what_it_is(pages: ModuleType) -> None:
    rows = [line.split(" | ") for line in pages.files_page().splitlines() if line.startswith("| `")]
    paths = [row[0] for row in rows]
    assert len(paths) > 30
    assert len(set(paths)) == len(paths)
    assert [row for row in rows if row[1].startswith("Return")] == []


def test_the_reference_says_what_to_do_about_a_record_that_does_not_fit(pages: ModuleType) -> None:
    files, parts = pages.records_page().split("## Parts")
    verdict = next(line for line in files.splitlines() if line.startswith("| `Verdict` "))
    assert "judge the version again" in verdict
    assert "| `Criterion` " in parts
    assert "isic_api" not in files + parts


def test_the_section_of_a_setting_is_its_own_or_its_class(pages: ModuleType) -> None:
    class Base(BaseModel):
        section: ClassVar[str] = "Base"
        inherited: int = 0

    class Part(Base):
        section: ClassVar[str] = "Part"
        own: int = 0
        marked: int = Field(0, json_schema_extra={"section": "Marked"})

    assert [pages.section_of(Part, name) for name in ("inherited", "own", "marked")] == ["Base", "Part", "Marked"]


def test_a_strict_build_fails_on_a_broken_link(tmp_path: Path) -> None:
    for name in ("docs", "include", "tools"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("mkdocs.yml", "README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "LICENSE", "NOTICE"):
        shutil.copy(ROOT / name, tmp_path / name)
    with (tmp_path / "docs" / "faq.md").open("a") as page:
        page.write("\n[nowhere](how-to/running.md#no-such-heading)\n")
    built = build(tmp_path, tmp_path / "site")
    assert built.returncode == 1
    assert "no-such-heading" in built.stderr


def test_links_and_mentions_outside_the_documentation_are_checked(tmp_path: Path) -> None:
    links = hook("broken_links")
    for name in links.LINKING:
        (tmp_path / name).write_text("[web](https://example.org/a.md) [here](#here)")
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "there.md").touch()
    gone, lost = (f"docs/{name}.md" for name in ("gone", "lost"))  # not to be found in this file itself
    (tmp_path / "README.md").write_text(f"[a](docs/{'there'}.md#part) [b]({gone})")
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / "run.sh").write_text(f"# docs/{'there'}.md and {lost} say more\n")
    assert list(links.broken_links(tmp_path)) == [
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

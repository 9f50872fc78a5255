"""Every file that must last is written in foundation/atomic.py, which checks what the disk took."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
WRITING = {
    "write_text", "write_bytes", "write_table", "ParquetWriter", "rename", "symlink_to", "hardlink_to", "link", "copyfile",
    "copy", "copy2", "copyfileobj", "move", "save", "savez", "savez_compressed", "tofile", "to_csv", "to_parquet", "savefig",
    "save_weights", "imwrite", "mkstemp", "NamedTemporaryFile",
}  # fmt: skip
"""Names of functions and methods that write a file or give it a name."""

OF_ATOMIC = {"replacing", "replacing_folder", "writing"}
"""Contexts whose path may be written to in any way: they flush and rename. `writing` is that of sources/intake.py."""

ELSEWHERE = {
    "data/sources/drawn/sample.py": "drawn beside, flushed as one, then renamed",
    "data/sources/drop_folder.py:_copy": "to a path of `writing`, flushed and compared",
    "data/sources/http_download.py:_receive": "a part that a later run continues; checked by its checksum, then flushed",
    "data/sources/intake.py": "`put` flushes what it links or renames",
    "data/sources/isic_archive.py:_csv": "a table in memory",
    "data/sources/zip_archive.py": "to a path of `writing`; checked by its CRC-32",
    "evaluation/plots.py": "a plot in memory",
    "foundation/atomic.py": "here it is",
    "foundation/lock.py": "who holds a lock, for people; the lock itself is the kernel's",
    "network/feature_store.py:add": "an array in memory",
    "network/quiet_tensorflow.py": "the terminal",
    "registry/release.py": "links that are renamed and flushed",
    "registry/switch.py": "a second name for a file on a full disk; another name for what is no folder",
    "registry/restore.py": "what cannot be read gets another name",
    "stages/augment.py": "a picture in memory",
    "stages/organize.py:_link": "links, flushed as one",
    "prediction/log/gaps.py:_open": "a count that the system keeps for a killed process; the disk may be full",
    "prediction/log/journal.py:append": "lines behind an answer that waits a tenth of a second; on the disk once it is closed",
    "prediction/log/journal.py:blank": "blanks over the entries of a case, flushed",
    "foundation/tables.py:write_table": "a table in memory",
    "foundation/regular_file.py:set_aside": "another name for a folder in the place of a file",
    "data/sources/object_store.py:_copy": "a file beside the data set, which is compared with the store and then linked",
}
"""Files, or functions in them, that write otherwise, and why that is right."""


def writes(tree: ast.AST, inside: str = "", is_safe: bool = False) -> Iterator[tuple[str, int, str]]:
    """Yield the function, the line and the name of each call that writes outside of the contexts of atomic."""
    for node in ast.iter_child_nodes(tree):
        function, safe = inside, is_safe
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            function = node.name
        if isinstance(node, ast.With):
            safe = is_safe or any(name_of(item.context_expr) in OF_ATOMIC for item in node.items)
        if isinstance(node, ast.Call) and not safe and is_write(node):
            yield inside, node.lineno, name_of(node)
        yield from writes(node, function, safe)


def name_of(node: ast.expr) -> str:
    called = node.func if isinstance(node, ast.Call) else node
    return called.attr if isinstance(called, ast.Attribute) else called.id if isinstance(called, ast.Name) else ""


def owner_of(node: ast.Call) -> str:
    return ast.unparse(node.func.value) if isinstance(node.func, ast.Attribute) else ""


def is_write(node: ast.Call) -> bool:
    name, owner = name_of(node), owner_of(node)
    if owner == "os":
        return name in {"write", "replace", "rename", "link", "symlink", "pwrite", "writev"}
    if name == "open":
        given = [*node.args, *(keyword.value for keyword in node.keywords if keyword.arg == "mode")]
        modes = [one.value for one in given if isinstance(one, ast.Constant) and isinstance(one.value, str)]
        return any(set(mode) & set("wax+") and len(mode) <= 3 for mode in modes)
    if name in ("write_table", "write_text", "write_bytes") and owner in ("", "atomic", "tables"):
        return False  # ours
    if name in ("copy", "model_copy", "rename", "link"):
        return owner in ("shutil", "os") or (name == "rename" and len(node.args) == 1 and not node.keywords)
    return name in WRITING and not (name == "write_table" and owner not in ("pq", "writer"))


def test_no_other_module_writes_a_file_that_must_last() -> None:
    found = {
        (str(path.relative_to(ROOT)).removeprefix("include/skinlesion/"), function, line, name)
        for folder in ("include", "plugins", "dags")
        for path in (ROOT / folder).rglob("*.py")
        for function, line, name in writes(ast.parse(path.read_text()))
    }
    others = [one for one in found if not {one[0], f"{one[0]}:{one[1]}"} & ELSEWHERE.keys()]
    assert sorted(others) == []
    used = {name for file, function, *_ in found for name in (file, f"{file}:{function}")}
    assert [name for name in ELSEWHERE if name not in used] == [], "exceptions that are needed no more"


def test_the_search_finds_what_it_is_for() -> None:
    code = """
def one(path):
    path.write_text("x")
    with atomic.replacing(path) as partial:
        partial.write_text("x")
    open(path, "wb")
    os.replace(path, path)
"""
    assert [(line, name) for _, line, name in writes(ast.parse(code))] == [
        (3, "write_text"),
        (6, "open"),
        (7, "replace"),
    ]

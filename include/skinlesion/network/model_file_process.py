"""A process that reads a Keras file from outside once, so that the file does its harm here: python -m ... FILE.

HDF5's library can be made to loop without end, to take all memory and to crash by a few changed bytes, in calls that Python
cannot interrupt. Here time and memory are limited. Every object is walked and every array is read; a file that passes
contains nothing that leads out of it. What the process writes is an `Examined`, as JSON.
"""

from __future__ import annotations

import io
import math
import resource
import sys
import zipfile
from pathlib import Path
from typing import Final

import h5py
from pydantic import BaseModel

LARGEST: Final = 256 * 2**20
"""Bytes of a file, and of the arrays that it declares; a classifier with the widest head has 34 MB."""

LONGEST_CONFIG: Final = 4 * 2**20
"""Characters of a configuration; that of a classifier has 160,000."""

MOST_OBJECTS: Final = 20_000
"""Groups, arrays and attributes of an HDF5 file; a classifier has 1,300."""

SECONDS: Final = 30
"""Of processor time; a classifier takes half of one."""

_MEMORY: Final = 4 * 2**30
"""Bytes of addresses, most of which Python and HDF5 reserve and never touch."""


class Examined(BaseModel):
    """What was found: the configuration of the model, None in a file of weights alone; or why the file is refused."""

    config: str | None = None
    refused: str = ""


class Refused(Exception):
    """The file is not one that may be loaded; the message is the reason."""


def require_size(size: int, what: str) -> None:
    """Raise Refused for more than `LARGEST` bytes."""
    if size > LARGEST:
        raise Refused(f"{what} {size:,} bytes, at most {LARGEST:,} are read.")


def examine(path: Path) -> str | None:
    """Return the configuration in a .h5 or .keras file after everything in it was read once. Raises Refused."""
    if path.suffix != ".keras":
        with h5py.File(path, "r") as file:
            _read_all(file)
            text = file.attrs.get("model_config")
    else:
        with zipfile.ZipFile(path) as archive:
            require_size(sum(member.file_size for member in archive.infolist()), "its members have")
            with archive.open("config.json") as member:
                text = member.read(LONGEST_CONFIG + 1)
            with h5py.File(io.BytesIO(archive.read("model.weights.h5")), "r") as file:
                _read_all(file)
    if text is None:
        return None
    if not isinstance(text, str | bytes):
        raise Refused("its configuration is no text.")
    if len(text) > LONGEST_CONFIG:
        raise Refused(f"its configuration has more than {LONGEST_CONFIG:,} characters.")
    return text if isinstance(text, str) else text.decode()


def _read_all(file: h5py.File) -> None:
    """Read each object; raise unless it is a group or an array of numbers in this file, reached once, within the bounds."""
    pending: list[h5py.Group] = [file]
    seen = {h5py.h5o.get_info(file.id).addr}
    objects = size = 0
    while pending:
        group = pending.pop()
        objects += len(group) + len(group.attrs)
        if objects > MOST_OBJECTS:
            raise Refused(f"it holds more than {MOST_OBJECTS:,} groups, arrays and attributes.")
        size += _size_of_attributes(group)
        for name in group:
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise Refused(f"{group.name}/{name} is a link to another place; expected an array or a group.")
            item = group[name]
            if (address := h5py.h5o.get_info(item.id).addr) in seen:
                raise Refused(f"{item.name} is reached twice; expected each array and group in one place.")
            seen.add(address)
            if isinstance(item, h5py.Group):
                pending.append(item)
                continue
            if not isinstance(item, h5py.Dataset) or item.dtype.kind not in "biuf":
                raise Refused(f"{item.name} is no array of numbers.")
            if item.is_virtual or item.external:
                raise Refused(f"the values of {item.name} are in another file.")
            objects += len(item.attrs)
            size += math.prod(item.shape or ()) * item.dtype.itemsize + _size_of_attributes(item)
            require_size(size, f"{item.name} and the arrays before it have")
            item[()]


def _size_of_attributes(item: h5py.HLObject) -> int:
    """Return the bytes that the attributes declare, which are read once they are few."""
    size = 0
    for name in item.attrs:
        one = item.attrs.get_id(name)
        size += math.prod(one.shape or ()) * one.dtype.itemsize
        require_size(size, f"the attributes of {item.name} have")
        item.attrs[name]
    return size


def main() -> None:
    """Examine the file that the command line names."""
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        found = Examined(config=examine(Path(sys.argv[1])))
    except Refused as refusal:
        found = Examined(refused=str(refusal))
    except Exception as error:  # h5py and zipfile raise some dozen kinds of errors for damaged files
        found = Examined(refused=f"{type(error).__name__}: {error}"[:300])
    sys.stdout.write(found.model_dump_json())


if __name__ == "__main__":
    main()

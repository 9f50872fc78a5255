"""Names of images: as tables and files write them, and which of them mean one image."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

import numpy as np
import pandas as pd

from skinlesion.data.images.formats import SUFFIXES

_SMALLER_COPY: Final = "_downsampled"

_LONGEST_NAME: Final = 200  # bytes: a file name holds 255, and suffixes of ours need some
_PLAIN_NAME: Final = rf"[A-Za-z0-9][A-Za-z0-9_-]{{0,{_LONGEST_NAME - 1}}}"
_SUFFIX: Final = rf"(?i)\.(?:{'|'.join(sorted(suffix[1:] for suffix in SUFFIXES))})$"
_FOLDER: Final = r"(?:[A-Za-z]:)?[/\\]?(?:[^./\\\x00-\x1f][^/\\\x00-\x1f]*[/\\])*(?:[^./\\\x00-\x1f][^/\\\x00-\x1f]*)"
_AUGMENTED: Final = re.compile(r"__aug\d+$")
_ZEROS: Final = re.compile(r"(?<![0-9])0+(?=[0-9])")
_DECIMALS: Final = re.compile(r"(?<=[0-9])\.0+$")


def full_size_name(images: pd.Series) -> pd.Series:
    """Return the name that an image and its smaller copy share (ISIC 2019 has `ISIC_0000017_downsampled` where the archive
    has `ISIC_0000017`); str in, str out."""
    return images.str.removesuffix(_SMALLER_COPY)


def composed(name: str) -> str:
    """Return a name in Unicode's composed form: macOS writes `é` as two characters, and most tables as one."""
    return unicodedata.normalize("NFC", name)


def alike(name: str) -> str:
    """Return what names share that differ in case, leading zeros and a final `.0` alone: `24585.0` and `0024585`."""
    return _ZEROS.sub("", _DECIMALS.sub("", composed(name).casefold()))


def matched_alike(wanted: pd.Index, there: pd.Index) -> dict[str, str]:
    """Return, for each of the wanted names that is like exactly one that is there, that name; both sides must be alone."""
    by_key: dict[str, list[str]] = {}
    for name in there:
        by_key.setdefault(alike(name), []).append(name)
    asked: dict[str, list[str]] = {}
    for name in wanted:
        asked.setdefault(alike(name), []).append(name)
    return {
        names[0]: by_key[key][0] for key, names in asked.items() if len(names) == 1 and len(by_key.get(key, ())) == 1
    }


def without_folder(images: pd.Series) -> pd.Series:
    """Return the names without the folders before them: `NEL/NEL025.jpg` is in images/ as any NEL025.jpg.

    What goes up (`..`) or into a hidden folder stays as it is, and is refused.
    """
    in_folder = images.str.contains(r"[/\\]", regex=True)
    if not in_folder.any():
        return images
    in_folder &= images.str.fullmatch(_FOLDER)
    return images.where(~in_folder, images[in_folder].str.replace(r"^.*[/\\]", "", regex=True))


def without_suffix(images: pd.Series) -> pd.Series:
    """Return the names without the suffix of an image file."""
    has_suffix = images.str.contains(_SUFFIX, regex=True)
    if not has_suffix.any():
        return images
    return images.where(~has_suffix, images[has_suffix].str.rpartition(".")[0].astype("str"))


def name_problems(images: pd.Series) -> pd.Series:
    """Return why each name cannot be that of a file in images/, empty where it can."""
    is_plain = (images.str.fullmatch(_PLAIN_NAME) & ~images.str.contains("__aug", regex=False)).to_numpy(dtype=bool)
    problems = np.full(len(images), "", dtype=object)
    problems[~is_plain] = [_name_problem(image) for image in images[~is_plain]]
    return pd.Series(problems, index=images.index, dtype="str")


def _name_problem(image: str) -> str:
    if not image:
        return "the row has no image name"
    size = len(image.encode())
    if size > _LONGEST_NAME:
        return f"the image name has {size} bytes; at most {_LONGEST_NAME} are taken"
    if "/" in image or "\\" in image or image.startswith(".") or not image.isprintable():
        return "the image name holds a path separator, a leading dot or a control character; expected a plain file name"
    if _AUGMENTED.search(image):
        return "the image name ends as an augmented copy's does (__aug01); expected an original"
    return ""

"""Data sets to measure on, made from a given one. The given one is only read."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd


def part_of(source: Path, folder: Path, images: int = 0) -> int:
    """Copy the first images of a data set, or all, with their labels; give how many there are."""
    diagnoses = pd.read_csv(source / "diagnoses.csv", dtype=str, keep_default_na=False)
    names = {path.stem: path for path in sorted((source / "images").glob("*.jpg"))}
    rows = diagnoses[diagnoses["image"].isin(names)].iloc[: images or None]
    (folder / "images").mkdir(parents=True)
    for image in rows["image"]:
        shutil.copyfile(names[image], folder / "images" / names[image].name)
    rows.to_csv(folder / "diagnoses.csv", index=False)
    return len(rows)


def add_images(dataset: Path, images: int) -> None:
    """Add new images of new lesions: the last ones of the data set turned by 180 degrees, under new names."""
    diagnoses = pd.read_csv(dataset / "diagnoses.csv", dtype=str, keep_default_na=False)
    new = diagnoses.iloc[-images:].copy()
    for image in new["image"]:
        turned = cv2.rotate(_read(dataset / "images" / f"{image}.jpg"), cv2.ROTATE_180)
        cv2.imwrite(str(dataset / "images" / f"new_{image}.jpg"), turned)
    for column in new.columns.intersection(["image", "lesion_id"]):
        new[column] = "new_" + new[column]
    pd.concat([diagnoses, new]).to_csv(dataset / "diagnoses.csv", index=False)


def at_size(source: Path, folder: Path, images: int, side: int | None) -> int:
    """Write `images` JPEGs made from those of a data set, taken in turn: as they are, or side x side pixels.

    No two files are alike: each carries its number in a comment.
    """
    paths = sorted((source / "images").glob("*.jpg"))
    diagnoses = pd.read_csv(source / "diagnoses.csv", dtype=str, keep_default_na=False).set_index("image")["dx"]
    (folder / "images").mkdir(parents=True)

    def write(number: int) -> dict[str, str]:
        path = paths[number % len(paths)]
        content = path.read_bytes()
        if side:
            scaled = cv2.resize(_read(path), (side, side), interpolation=cv2.INTER_CUBIC)
            content = cv2.imencode(".jpg", scaled, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()
        image = f"{path.stem}_{number:06d}"
        (folder / "images" / f"{image}.jpg").write_bytes(_with_comment(content, image))
        return {"image": image, "dx": diagnoses.get(path.stem, "unk")}

    with ThreadPoolExecutor() as pool:
        rows = list(pool.map(write, range(images)))
    pd.DataFrame(rows).to_csv(folder / "diagnoses.csv", index=False)
    return len(rows)


def _with_comment(jpeg: bytes, comment: str) -> bytes:
    """Give a JPEG with a comment segment behind its start marker (ITU-T T.81, B.2.4.5)."""
    return jpeg[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment.encode() + jpeg[2:]


def _read(path: Path) -> npt.NDArray[np.uint8]:
    pixels = cv2.imread(str(path))
    if pixels is None:
        raise ValueError(f"{path} is not an image that OpenCV reads")
    return pixels.astype(np.uint8, copy=False)

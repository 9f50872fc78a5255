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
    """Write `images` JPEGs of side x side pixels, or of their own size, from those of a data set, taken in turn.

    Each is encoded anew with a few pixels cut off its top, so that no two files are alike.
    """
    paths = sorted((source / "images").glob("*.jpg"))
    diagnoses = pd.read_csv(source / "diagnoses.csv", dtype=str, keep_default_na=False).set_index("image")["dx"]
    (folder / "images").mkdir(parents=True)

    def write(number: int) -> dict[str, str]:
        path = paths[number % len(paths)]
        pixels = _read(path)
        size = (side, side) if side else (pixels.shape[1], pixels.shape[0])
        scaled = cv2.resize(pixels[number // len(paths) :], size, interpolation=cv2.INTER_CUBIC)
        image = f"{path.stem}_{number:06d}"
        cv2.imwrite(str(folder / "images" / f"{image}.jpg"), scaled, [cv2.IMWRITE_JPEG_QUALITY, 90])
        return {"image": image, "dx": diagnoses.get(path.stem, "unk")}

    with ThreadPoolExecutor() as pool:
        rows = list(pool.map(write, range(images)))
    pd.DataFrame(rows).to_csv(folder / "diagnoses.csv", index=False)
    return len(rows)


def _read(path: Path) -> npt.NDArray[np.uint8]:
    pixels = cv2.imread(str(path))
    if pixels is None:
        raise ValueError(f"{path} is not an image that OpenCV reads")
    return pixels.astype(np.uint8, copy=False)

"""The files of the training view, processed_images/output/, as the manifest lists them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import simplejpeg

from skinlesion.foundation import layout
from skinlesion.foundation.checksum import sha256_of
from skinlesion.foundation.regular_file import read_file

LARGEST_FILE: Final = 10_000_000
"""Bytes; ten times what 224x224 pixels take at most."""


@dataclass(frozen=True)
class ViewFile:
    """A file of the training view and the SHA-256 that its content had when organize listed it."""

    path: Path
    sha256: str

    def read(self) -> npt.NDArray[np.uint8]:
        """Return its pixels, RGB uint8 (224, 224, 3). Raises OSError when its content has changed."""
        content = read_file(self.path, most=LARGEST_FILE)
        if sha256_of(content) != self.sha256:
            raise OSError(f"{self.path} has changed since organize listed it. Run the pipeline again from resize.")
        # The same pixels as OpenCV's, as RGB, in a third of the time.
        pixels: npt.NDArray[np.uint8] = simplejpeg.decode_jpeg(content, "RGB")
        return pixels


def view_files(dataset: Path, rows: pd.DataFrame) -> list[ViewFile]:
    """Return the files of these rows of the manifest, in the order of the rows."""
    folder = layout.output(dataset)
    return [ViewFile(folder / file, sha256) for file, sha256 in zip(rows["file"], rows["sha256"], strict=True)]

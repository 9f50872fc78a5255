"""Names of one picture in two sizes: ISIC 2019 gives `ISIC_0000017_downsampled` where the archive has `ISIC_0000017`."""

from __future__ import annotations

from typing import Final

import pandas as pd

_SMALLER_COPY: Final = "_downsampled"


def picture_of(images: pd.Series) -> pd.Series:
    """Give the name that an image and its smaller copy share; str in, str out."""
    return images.str.removesuffix(_SMALLER_COPY)

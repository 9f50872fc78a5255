"""Names of one image in two sizes: ISIC 2019 has `ISIC_0000017_downsampled` where the archive has `ISIC_0000017`."""

from __future__ import annotations

from typing import Final

import pandas as pd

_SMALLER_COPY: Final = "_downsampled"


def full_size_name(images: pd.Series) -> pd.Series:
    """Return the name that an image and its smaller copy share; str in, str out."""
    return images.str.removesuffix(_SMALLER_COPY)

"""The settings of the data: what is accepted, how it is split and prepared."""

from __future__ import annotations

from typing import Final, Literal

from skinlesion.foundation.settings import RunSettings, setting

IMAGE_SIDE: Final = 224
"""Side in pixels of the network's input, which the recipe fixes: MobileNetV2's published input."""


class DataSettings(RunSettings):
    """What is accepted as an image, which class a diagnosis has, and how large the held-out part is."""

    section = "Data"

    held_out_fraction: float = setting(
        0.2,
        "Held-out share",
        "Share of each diagnosis that is held out for evaluation. A lesion's side of the split, once decided, never changes: "
        "another value applies to lesions that arrive later.",
        ge=0.05,
        le=0.5,
    )
    actinic_keratosis: Literal["indeterminate", "malignant"] = setting(
        "indeterminate",
        "Actinic keratosis",
        "What `ak` counts as, and `akiec` where no table says which of its two diagnoses an image shows. `indeterminate`, as "
        "in the ISIC Archive, is the class unknown.",
    )
    review_labels: Literal["win", "ask", "ignore"] = setting(
        "win",
        "Labels of reviews",
        "What the diagnoses of labels/review.csv are worth, which people gave who looked at the image. With `win` they come before "
        "all other tables; with `ask` an image is set aside where a table gives it another class; with `ignore` they are not read.",
    )
    review_queue: int = setting(
        200,
        "Review queue",
        "Number of images that the night puts before people on the page Review, the likeliest errors first. 0 makes no queue.",
        ge=0,
        le=5000,
    )
    review_readers: int = setting(
        1,
        "Readers of an image",
        "How many people must give an image of the page Review the same answer before it counts. With 2 the second is not shown what "
        "the first said; if they disagree, a third sees both answers and decides. An answer keeps the number under which it was given.",
        in_form=False,
        ge=1,
        le=2,
    )
    max_image_pixels: int = setting(
        100_000_000,
        "Largest image (pixels)",
        "An image of more pixels is refused by its header, before it is decoded. The largest in the ISIC Archive have about "
        "24 million; the bound keeps a decompression bomb from taking the machine's memory.",
        makes_stale=("ingest",),
        ge=50_176,
    )
    min_image_side: int = setting(
        32,
        "Smallest side (pixels)",
        "An image with a shorter side is refused, because it shows nothing when it is enlarged to 224 pixels.",
        makes_stale=("ingest",),
        ge=1,
        le=IMAGE_SIDE,
    )
    near_duplicates: bool = setting(
        True,
        "Near-duplicates",
        "Find images that are a copy of another one: compressed again, resized, rotated by quarter turns, mirrored or cropped "
        "by a few per cent. A copy shares the original's side of the split. Equal files do so in any case.",
    )
    jpeg_quality: int = setting(
        95,
        "JPEG quality",
        "JPEG quality of processed and augmented images. At 95 the error of the second compression stays under one grey "
        "level on average.",
        makes_stale=("resize", "augment"),
        ge=50,
        le=100,
    )

    @property
    def largest_file(self) -> int:
        """Bytes of the largest file that is opened as an image, or as a table of a source."""
        return largest_file(self.max_image_pixels)


def largest_file(max_pixels: int) -> int:
    """Return the bytes of the largest file that is opened as an image of at most so many pixels.

    RGBA of 16 bits needs 8 bytes a pixel when nothing is compressed; 64 MB are left for what else a file holds.
    """
    return 8 * max_pixels + 64_000_000

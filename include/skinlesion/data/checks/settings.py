"""The settings of the checks that a new catalog passes before it replaces the last accepted one."""

from __future__ import annotations

from skinlesion.data.settings import DataSettings
from skinlesion.foundation.settings import setting


class CheckSettings(DataSettings):
    """The bounds of the data checks. For most of them, 1 switches the check off."""

    section = "Data checks"

    max_refused_share: float = setting(
        0.1,
        "Largest share of refused images",
        "Largest share of refused files among all image files, and among those of this night. More means a broken copy, "
        "mount or table rather than a few bad images. 1 switches the check off.",
        ge=0,
        le=1,
    )
    max_unmapped_share: float = setting(
        0.1,
        "Largest share of unmapped diagnoses",
        "Largest share of accepted images whose diagnosis is not recognised and therefore counts as unknown. More means "
        "another vocabulary or the wrong column. 1 switches the check off.",
        ge=0,
        le=1,
    )
    max_one_id_share: float = setting(
        0.2,
        "Largest share of one id",
        "Largest share of the images that one lesion or patient may have. More, or very different images under one id, means "
        "that the id stands for `not known`. A small set may have a patient with more: it passes while other patients have "
        "a fifth as many. 1 switches the check off.",
        ge=0,
        le=1,
    )
    max_held_out_gap: float = setting(
        0.75,
        "Largest gap in a class's held-out part",
        "Largest part of the held-out share that a class may lack: at 0.75, a class of which 5 % are held out passes where 20 % "
        "are wanted. More means that one id covers most of the class, which then cannot be measured. 1 switches the check "
        "off.",
        ge=0,
        le=1,
    )
    require_classes: bool = setting(
        True,
        "Require the classes",
        "Fail without a benign or without a malignant image, which training needs, and when a class that the accepted "
        "catalog had is gone.",
    )
    max_lost_share: float = setting(
        0.1,
        "Largest share of lost images",
        "Largest share of the last accepted catalog's images that are gone, refused or without a diagnosis now. More means "
        "a lost folder or a truncated table. 1 switches the check off.",
        ge=0,
        le=1,
    )
    max_relabelled_share: float = setting(
        0.1,
        "Largest share of changed classes",
        "Largest share of the last accepted catalog's images that have another class now. A column that slipped by a row "
        "changes many classes and leaves their proportions as they were. 1 switches the check off.",
        ge=0,
        le=1,
    )
    max_class_shift: float = setting(
        0.15,
        "Largest shift of a class's share",
        "Largest change of a class's share within a source, against the last accepted catalog, beyond what chance explains. "
        "HAM10000 in five steps in the order of its table, which is sorted by diagnosis, changes by 0.14. 1 switches the "
        "check off.",
        ge=0,
        le=1,
    )
    max_image_shift: float = setting(
        0.65,
        "Largest shift of the images",
        "Largest Kolmogorov-Smirnov distance within a source between new and accepted images in brightness, contrast, "
        "colours, size and aspect ratio, beyond what chance explains. In 300 images, swapped colour channels or 30 % less "
        "light or blue give 0.78 or more; HAM10000's own parts differ by up to 0.64. 1 switches the check off.",
        ge=0,
        le=1,
    )
    min_images_checked: int = setting(
        50,
        "Fewest images judged",
        "No share and no distribution of fewer images than this is judged, so that a small night raises no alarm.",
        ge=10,
        le=100_000,
    )
    accept_data_changes: bool = setting(
        False,
        "Accept the data's changes",
        "For one run by hand: the findings of the checks are reported and do not stop the run, and later runs are compared "
        "with this run's data.",
    )

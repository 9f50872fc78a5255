"""The checks of ids, of the held-out part, and of words for malignant diseases: what would make a training worthless."""

from __future__ import annotations

from typing import Final

import pandas as pd

from skinlesion.data.catalog import is_unmapped
from skinlesion.data.checks.check import Check
from skinlesion.data.checks.settings import CheckSettings
from skinlesion.data.finding import Finding
from skinlesion.data.labels.classes import LABELS
from skinlesion.data.labels.diagnosis_columns import SHOWN
from skinlesion.data.labels.spelling import may_be_malignant
from skinlesion.data.split import HELD_OUT, own_groups
from skinlesion.foundation.wording import counted

FEWEST_OF_ONE_ID: Final = 25
"""Number of images from which an id may be found implausible. A lesion of HAM10000 has up to 6, of ISIC 2019 up to 31,
all of them with one diagnosis."""

DIAGNOSES_OF_A_LESION: Final = 3
SOURCES_OF_AN_ID: Final = 3
"""Numbers of different diagnoses and sources from which so large a lesion is implausible, whatever its share."""

MOST: Final = 0.5
"""Share from which a patient's id may be implausible with as few images as a lesion's."""

FEWEST_OF_A_PATIENT: Final = 50
"""Number of images from which a patient's share alone may be implausible. A patient of ISIC 2020 has up to 115, of ISIC 2024 up
to 9,184, which are 2.3 % of its images."""

MANY_OF_A_PATIENT: Final = 200
TIMES_THE_NEXT: Final = 5
"""In a small set one patient may have a third of the images; only from so many images, or from so many times those of the next
id, is the share alone implausible."""

DIAGNOSES_OF_A_PATIENT: Final = 5
FEWEST_OF_A_CLASS: Final = 10
WORDS_LISTED: Final = 10


def check_labels(config: CheckSettings, images: pd.DataFrame) -> list[Finding]:
    """Return the findings on ids, the held-out part and words. images: the accepted rows of a catalog, with their sides."""
    return [_malignant_words(config, images), _one_id(config, images), _held_out(config, images)]


def _malignant_words(config: CheckSettings, images: pd.DataFrame) -> Finding:
    """Return the finding on words that name a malignant disease, or deny one, and are not known: none may count as unknown."""
    counts = images["dx"].value_counts()
    words = [str(dx) for dx in counts.index[is_unmapped(counts.index.to_series())] if may_be_malignant(str(dx))]
    rows = images[images["dx"].isin(words)]
    found = "every word that names a malignant disease is known."
    if words:
        listed = ", ".join(f"{word[:SHOWN]!r} ({counts[word]:,})" for word in words[:WORDS_LISTED])
        more = f" and {len(words) - WORDS_LISTED} more" if len(words) > WORDS_LISTED else ""
        found = (
            f"{counted(len(words), 'word')} of {counted(len(rows), 'image')} may name a malignant disease "
            f"or deny one, and would count as unknown: {listed}{more}."
        )
    return Check(config, "max_unmapped_share", "Words for malignant diseases", compares=False).finding(
        len(words),
        found,
        "Say what each means in labels/vocabulary.csv, with the columns word and dx (malignant, benign, unknown, or a code such "
        "as mel), or correct the column.",
        rows,
        rows["dx"],
        bound=0,
    )


def _one_id(config: CheckSettings, images: pd.DataFrame) -> Finding:
    check = Check(config, "max_one_id_share", "Images of one id", compares=False)
    if unjudged := check.unless_judged(len(images)):
        return unjudged
    groups = own_groups(images)
    counts = groups[~groups.str.startswith("image:")].value_counts()
    if counts.empty:
        return check.not_judged("no image has a lesion or a patient.")
    name, count = str(counts.index[0]), int(counts.iloc[0])
    following = int(counts.iloc[1]) if len(counts) > 1 else 0
    rows = images[groups == name]
    share, dx, sources = count / len(images), rows["dx"].nunique(), rows.loc[rows["source"] != "", "source"].nunique()
    is_large = share > check.bound
    kind, _, value = name.partition(":")
    is_outlier = count > TIMES_THE_NEXT * following
    if kind == "lesion":
        is_implausible = is_large or dx >= DIAGNOSES_OF_A_LESION or sources >= SOURCES_OF_AN_ID
    elif count < FEWEST_OF_A_PATIENT:
        is_implausible = is_large and share >= MOST and is_outlier
    else:
        is_implausible = (is_large and (is_outlier or count >= MANY_OF_A_PATIENT)) or (
            count > 2 * TIMES_THE_NEXT * following and (dx >= DIAGNOSES_OF_A_PATIENT or sources >= SOURCES_OF_AN_ID)
        )
    is_implausible &= count >= FEWEST_OF_ONE_ID
    of_sources = f" from {sources} sources" if sources > 1 else ""
    return check.finding(
        share,
        f"the {kind} {value[:SHOWN]!r} has the most: {count:,} of {len(images):,} images ({share:.1%}) with "
        f"{counted(dx, 'diagnosis', 'diagnoses')}{of_sources}; the next has {following:,}.",
        f"All images of a {kind} lie on one side of the split. If {value[:SHOWN]!r} stands for `not known`, or is no {kind}, "
        f"leave these cells of {kind}_id blank{', or add patient_id if lesions are numbered within each patient' * (kind == 'lesion')}. "
        f"If it is one {kind}, set max_one_id_share=1.",
        rows,
        rows["dx"] if is_implausible else None,
        passed=not is_implausible,
    )


def _held_out(config: CheckSettings, images: pd.DataFrame) -> Finding:
    """Return the finding on the class of which least is held out, against the wanted share.

    Where less than that is held out of everything, as after a change of `held_out_fraction`, that is what is wanted.
    """
    check = Check(config, "max_held_out_gap", "Held-out part of each class", compares=False)
    if unjudged := check.unless_judged(config.min_images_checked):  # what is held out has bounds of its own
        return unjudged
    is_held = images["split"] == HELD_OUT
    wanted = min(config.held_out_fraction, float(is_held.mean()) or config.held_out_fraction)
    gaps: dict[str, float] = {}
    for label in LABELS:
        of_class = images["label"] == label
        total, held = int(of_class.sum()), int((of_class & is_held).sum())
        if total * wanted >= FEWEST_OF_A_CLASS or (total >= FEWEST_OF_A_CLASS and not held):
            gaps[label] = max(0.0, 1 - held / total / wanted)
    if not gaps and len(images) >= FEWEST_OF_A_CLASS and not is_held.any():
        gaps[str(images["label"].mode().iloc[0])] = 1.0
    if not gaps:
        return check.not_judged("no class has enough images to be judged.")
    worst = max(gaps, key=gaps.__getitem__)
    rows = images[images["label"] == worst]
    held = int((rows["split"] == HELD_OUT).sum())
    groups = own_groups(rows).value_counts()
    kind, _, value = str(groups.index[0]).partition(":")
    return check.finding(
        gaps[worst],
        f"{held:,} of {len(rows):,} images that are {worst} ({held / len(rows):.1%}) are held out; wanted are {wanted:.1%}.",
        f"The {kind} {value[:SHOWN]!r} has {groups.iloc[0]:,} of them: correct the ids, or add images of other lesions, because "
        "what is not held out cannot be measured. If it is right, set max_held_out_gap=1.",
        rows,
        own_groups(rows) if gaps[worst] > check.bound else None,
    )

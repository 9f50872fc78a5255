"""The checks: of a catalog by itself, and of what changed against the accepted one."""

from __future__ import annotations

from collections.abc import Iterator
from math import sqrt
from typing import Final

import pandas as pd

from skinlesion.data import catalog as contract
from skinlesion.data.catalog import is_unmapped
from skinlesion.data.checks import distribution
from skinlesion.data.checks.accepted_data import OTHERS, AcceptedData, Appearance, appearances_of, is_among
from skinlesion.data.checks.check import Check
from skinlesion.data.checks.distribution import PROPERTIES, Counts, Property
from skinlesion.data.checks.ids import check_labels
from skinlesion.data.checks.settings import CheckSettings
from skinlesion.data.finding import Finding
from skinlesion.data.labels.classes import BENIGN, LABELS, MALIGNANT
from skinlesion.foundation.wording import counted

NEEDED: Final = (BENIGN, MALIGNANT)
"""The classes without which nothing can be trained. `unknown` may be empty: no lesion need be indeterminate."""

FEWEST_OF_A_CLASS: Final = 10
"""Number of images from which a class of the accepted catalog is missed when it is gone."""

NORMAL_95: Final = 1.96

_REPAIR: Final = "Repair or remove the files, or correct their rows in the table of diagnoses"


def check_alone(config: CheckSettings, catalog: pd.DataFrame) -> list[Finding]:
    """Return the findings on a catalog without another to compare it with. catalog: `catalog.COLUMNS`."""
    images = contract.accepted(catalog)
    files = catalog[catalog["file"] != ""]
    refused = files[files["refused"] != ""]
    unmapped = images[is_unmapped(images["dx"])]
    return [
        Check(config, "max_refused_share", "Refused images", compares=False).of_share(
            refused, refused["refused"], len(files), "image files are refused", _REPAIR
        ),
        Check(config, "max_unmapped_share", "Unmapped diagnoses", compares=False).of_share(
            unmapped,
            unmapped["dx"],
            len(images),
            "accepted images have a diagnosis that is not recognised and count as unknown",
            "Use codes that docs/reference/labels.md lists, or correct the column",
        ),
        _missing_needed(config, images),
        *check_labels(config, images),
    ]


def check_changes(
    config: CheckSettings, catalog: pd.DataFrame, images: pd.DataFrame, new: pd.Series, accepted: AcceptedData | None
) -> list[Finding]:
    """Return the findings on what changed against the accepted catalog.

    catalog: `catalog.COLUMNS`. images: its accepted rows, with the columns of `images.statistics.COLUMNS` as well. new: what
    `is_new` returns for them.
    """
    if accepted is None:
        titles = {
            "max_lost_share": "Lost images",
            "max_relabelled_share": "Changed classes",
            "max_class_shift": "Shares of the classes",
            "max_image_shift": "Appearance of the images",
        }
        none = "there is no accepted catalog to compare with."
        return [Check(config, name, title).not_judged(none) for name, title in titles.items()]
    source_of = _judged_as(accepted, config.min_images_checked)
    return [
        _refused_tonight(config, catalog, accepted),
        _classes_gone(config, images, accepted),
        _lost(config, images, accepted),
        _relabelled(config, images, accepted),
        *_class_shifts(config, images, new, accepted, source_of),
        *_image_shifts(config, images, new, accepted, source_of),
        *_new_sources(config, images, source_of),
    ]


def is_new(images: pd.DataFrame, accepted: AcceptedData | None) -> pd.Series:
    """Return, for each image, whether its content was not in the accepted catalog."""
    if accepted is None:
        return pd.Series(True, index=images.index)
    return ~is_among(images["sha256"], accepted.contents)


def _missing_needed(config: CheckSettings, images: pd.DataFrame) -> Finding:
    check = Check(config, "require_classes", "Classes to train on", compares=False)
    if unjudged := check.unless_judged(len(images)):
        return unjudged
    missing = [label for label in NEEDED if not (images["label"] == label).any()]
    found = (
        f"no image of {len(images):,} is {' or '.join(missing)}."
        if missing
        else "there are benign and malignant images."
    )
    return check.finding(
        len(missing), found, "Correct the column of diagnoses, add images, or set require_classes=false."
    )


def _refused_tonight(config: CheckSettings, catalog: pd.DataFrame, accepted: AcceptedData) -> Finding:
    files = catalog[(catalog["file"] != "") & ~is_among(catalog["sha256"], accepted.contents)]
    refused = files[files["refused"] != ""]
    check = Check(config, "max_refused_share", "Refused images among the new")
    return check.of_share(refused, refused["refused"], len(files), "new image files are refused", _REPAIR)


def _classes_gone(config: CheckSettings, images: pd.DataFrame, accepted: AcceptedData) -> Finding:
    check = Check(config, "require_classes", "Classes that were there")
    if unjudged := check.unless_judged(len(accepted.rows)):
        return unjudged
    before, now = accepted.rows["label"].value_counts(), images["label"].value_counts()
    gone = [label for label in LABELS if before.get(label, 0) >= FEWEST_OF_A_CLASS and not now.get(label)]
    had = " and ".join(f"{label} had {counted(before[label], 'image')}" for label in gone)
    rows = accepted.rows[accepted.rows["label"].isin(gone)]
    found = f"{had} in the accepted catalog and has none now." if gone else "every class still has images."
    remedy = "Correct the column of diagnoses, or set require_classes=false."
    return check.finding(len(gone), found, remedy, rows, rows["label"].radd("was "))


def _lost(config: CheckSettings, images: pd.DataFrame, accepted: AcceptedData) -> Finding:
    before = accepted.rows
    lost = before[~is_among(before["image"], images["image"])]
    lost = lost[~is_among(lost["sha256"], images["sha256"])]  # what is left was not just renamed
    why = pd.Series("gone, refused or without a diagnosis", index=lost.index)
    found = "images of the accepted catalog are gone, are refused or have no diagnosis any more"
    check = Check(config, "max_lost_share", "Lost images")
    return check.of_share(lost, why, len(before), found, "Bring the files and their rows back")


def _relabelled(config: CheckSettings, images: pd.DataFrame, accepted: AcceptedData) -> Finding:
    both = images[["image", "file", "label"]].merge(
        accepted.rows[["image", "label"]], on="image", suffixes=("", "_was")
    )
    changed = both[both["label"] != both["label_was"]]
    why = changed["label_was"] + ", now " + changed["label"]
    found = "images of the accepted catalog have another class now"
    check = Check(config, "max_relabelled_share", "Changed classes")
    return check.of_share(changed, why, len(both), found, "Correct the column of diagnoses")


def _judged_as(accepted: AcceptedData, enough: int) -> dict[str, str]:
    """Return, for each source of the accepted catalog, the source itself where it has enough images, else `OTHERS`."""
    counts = accepted.rows["source"].value_counts()
    return {
        str(source): str(source)
        if images >= enough and (source in accepted.appearances or not accepted.appearances)
        else OTHERS
        for source, images in counts.items()
    }


def _where(source: str, source_of: dict[str, str]) -> str:
    """Return the words for a source in a title; none where there is only one source."""
    if len(source_of) == 1:
        return ""
    return f", {source}" if source else ", images without a source"


def _class_shifts(
    config: CheckSettings, images: pd.DataFrame, new: pd.Series, accepted: AcceptedData, source_of: dict[str, str]
) -> Iterator[Finding]:
    before = accepted.rows.groupby(accepted.rows["source"].map(source_of))
    now = dict(list(images.groupby(images["source"].map(source_of))))
    for name, old in before:
        source = str(name)
        check = Check(config, "max_class_shift", f"Shares of the classes{_where(source, source_of)}")
        rows = now.get(source, images.iloc[:0])
        if unjudged := check.unless_judged(min(len(old), len(rows))):
            yield unjudged
            continue
        shares = [table["label"].value_counts(normalize=True).reindex(LABELS, fill_value=0.0) for table in (old, rows)]
        moved = {label: _moved(shares[0][label], shares[1][label], len(old), len(rows)) for label in LABELS}
        worst = max(moved, key=moved.__getitem__)
        suspects = rows[new.loc[rows.index]]
        if shares[1][worst] > shares[0][worst]:
            suspects = suspects[suspects["label"] == worst]
        yield check.finding(
            moved[worst],
            f"{worst} went from {shares[0][worst]:.1%} of {len(old):,} images to {shares[1][worst]:.1%} of {len(rows):,}, "
            f"{moved[worst]:.2f} more than chance explains; at most {check.bound:g} may be.",
            "Correct the table of diagnoses; give images of another kind a `source` of their own; or raise "
            "max_class_shift.",
            suspects,
            suspects["label"],
        )


def _moved(before: float, after: float, n: int, m: int) -> float:
    """Return by how much two shares differ beyond what chance explains (95 %, normal approximation)."""
    together = (before * n + after * m) / (n + m)
    return max(0.0, abs(after - before) - NORMAL_95 * sqrt(together * (1 - together) * (1 / n + 1 / m)))


def _image_shifts(
    config: CheckSettings, images: pd.DataFrame, new: pd.Series, accepted: AcceptedData, source_of: dict[str, str]
) -> Iterator[Finding]:
    appearances = _judged_appearances(images, new, accepted, source_of)
    for name, rows in images.groupby(images["source"].map(source_of)):
        source = str(name)
        before = appearances.get(source, Appearance())
        added = rows[new.loc[rows.index]]
        where = _where(source, source_of)
        yield _image_shift(config, f"New images{where}", before, added, with_excused=True)
        yield _image_shift(config, f"All images{where}", before, rows, with_excused=False)


def _judged_appearances(
    images: pd.DataFrame, new: pd.Series, accepted: AcceptedData, source_of: dict[str, str]
) -> dict[str, Appearance]:
    """Return the accepted appearance of each source as it is judged: small sources together."""
    stored = accepted.appearances
    if not stored:  # the file is gone or cannot be read: take the accepted files that are still there
        known = images[~new]
        stored = appearances_of(known, pd.Series(False, index=known.index), {})
    together: dict[str, list[Appearance]] = {}
    for source, appearance in stored.items():
        together.setdefault(source_of.get(source, OTHERS), []).append(appearance)
    return {
        source: Appearance(
            all=distribution.total([one.all for one in several]),
            excused=distribution.total([one.excused for one in several]),
        )
        for source, several in together.items()
    }


def _image_shift(
    config: CheckSettings, title: str, accepted: Appearance, images: pd.DataFrame, *, with_excused: bool
) -> Finding:
    """Return the finding on the appearance of images, judged by the property that moved most.

    New images pass when they are like all accepted ones, or like those that looked different and that a person accepted: a
    camera that was accepted once does not fail again.
    """
    check = Check(config, "max_image_shift", title)
    now = distribution.count(images)
    known = min(distribution.images_in(accepted.all), distribution.images_in(now))
    if unjudged := check.unless_judged(known):
        return unjudged
    moved = {one.name: distribution.distance(accepted.all[one.name], now[one.name]) for one in PROPERTIES}
    if with_excused and distribution.images_in(accepted.excused) >= config.min_images_checked:
        excused = {one.name: distribution.distance(accepted.excused[one.name], now[one.name]) for one in PROPERTIES}
        moved = min(moved, excused, key=lambda figures: max(figures.values()))
    worst = max(PROPERTIES, key=lambda one: moved[one.name])
    beyond = [one.title for one in PROPERTIES if moved[one.name] > config.max_image_shift and one is not worst]
    also = f" So did {', '.join(beyond)}." if beyond else ""
    before, after = (distribution.middle(worst, counts[worst.name]) for counts in (accepted.all, now))
    is_beyond = moved[worst.name] > check.bound
    rows, why = _strangest(worst, accepted.all[worst.name], images) if is_beyond else (None, None)
    return check.finding(
        moved[worst.name],
        f"of {len(images):,}, {worst.title} moved most: its median from {worst.show(before)} to {worst.show(after)}, a "
        f"distance of {moved[worst.name]:.2f} beyond chance; at most {check.bound:g} may be.{also}",
        "Look at the images: a scanner, a white balance, the order of colours? Give those of another camera a `source` "
        "of their own, or raise max_image_shift.",
        rows,
        why,
    )


def _strangest(one: Property, before: Counts, images: pd.DataFrame) -> tuple[pd.DataFrame, pd.Series]:
    """Return the images outside the middle nine tenths of the accepted ones, the farthest first, and what is odd of each."""
    low, high = (distribution.middle(one, before, quantile) for quantile in (0.05, 0.95))
    values = one.of(images)
    beyond = (low - values).where(values < low, values - high)
    beyond = beyond[beyond > 0].sort_values(ascending=False, kind="stable")
    rows = images.loc[beyond.index]
    return rows, values.loc[beyond.index].map(lambda value: f"{one.title} {one.show(value)}")


def _new_sources(config: CheckSettings, images: pd.DataFrame, source_of: dict[str, str]) -> Iterator[Finding]:
    counts = images.loc[~images["source"].isin(list(source_of)), "source"].value_counts()
    for source, number in list(counts.items())[:20]:
        found = f"{counted(number, 'image')} of {source or 'no source'}: there is nothing to compare them with."
        yield Check(config, "max_image_shift", "New source").not_judged(found)

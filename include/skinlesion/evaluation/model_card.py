"""model_card.md: what a model is for, how it was made and how well it does, by three lists of reporting items.

- CLEAR Derm: Daneshjou et al., "Checklist for evaluation of image-based artificial intelligence reports in dermatology",
  JAMA Dermatol. 158:90, 2022.
- TRIPOD+AI: Collins et al., BMJ 385:e078378, 2024.
- MI-CLAIM: Norgeot et al., "Minimum information about clinical artificial intelligence modeling", Nat. Med. 26:1320, 2020.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from skinlesion.data.labels.classes import BENIGN, LABELS, MALIGNANT
from skinlesion.evaluation.html_report import COLUMNS, by_column, compared, diagnosis, figure, gain, percent, versions
from skinlesion.foundation.wording import counted
from skinlesion.prediction.decision import DecisionRule
from skinlesion.registry.figure import FEWEST_LESIONS, signed
from skinlesion.registry.group_decisions import DECISIONS
from skinlesion.registry.metrics_record import MetricsRecord
from skinlesion.registry.training_record import TrainingRecord
from skinlesion.registry.versions import FIGURES

TITLES: Final = {**FIGURES, "macro_f1": "Macro F1", "accuracy": "Accuracy"}
"""The figures of the card."""


WAYS: Final = {"histo": "histology", "follow_up": "follow-up", "confocal": "confocal microscopy"}
"""Ways of making a diagnosis, by the word of the tables; others are shown as they are."""


@dataclass(frozen=True)
class Section:
    """A section of the card and the items of the three lists that it covers."""

    title: str
    clear_derm: str
    tripod: str
    mi_claim: str


SECTIONS: Final = {
    "model": Section(
        "Model",
        "Technique: model, input and output",
        "1, 9a, 12c, 15, 22",
        "Part 1 (research question), Part 2 (model and its inputs)",
    ),
    "use": Section(
        "Intended use",
        "Application: use cases, target conditions, intended users",
        "3a, 3b, 4, 27b",
        "Part 1 (study population and setting)",
    ),
    "data": Section(
        "Data",
        "Data: image types, acquisition, references and licences of public images, patient-level metadata, "
        "dataset origin, how images were labelled, exclusions",
        "5a, 6b, 7, 8a, 10, 11, 18c, 20a, 20b",
        "Part 1 (cohorts), Part 2 (origin of the data, transformations)",
    ),
    "split": Section(
        "Split",
        "Data: training, validation and test sets, and how they are kept apart",
        "12a, 16",
        "Part 2 (independence of the sets)",
    ),
    "training": Section(
        "Training",
        "Data: preprocessing; Technique: algorithm development",
        "12b, 12c, 13, 21",
        "Part 2 (model development and optimization)",
    ),
    "rule": Section(
        "Decision rule",
        "Technical assessment: operating threshold; Application: what is shown to the user",
        "12f, 15, 27a",
        "Part 3 (choice of metrics)",
    ),
    "performance": Section(
        "Performance",
        "Technical assessment: performance measures, public test data, comparison with another model",
        "12e, 12g, 23a",
        "Part 3 (metrics, clinical utility, uncertainty)",
    ),
    "groups": Section(
        "Groups",
        "Data: skin tone, potential biases; Technical assessment: bias",
        "3c, 14, 23a, 23b",
        "Part 4 (examination: subgroups)",
    ),
    "abstaining": Section(
        "Abstaining and pictures without a lesion",
        "Technical assessment: uncertainty, images outside the training distribution",
        "15, 27a",
        "Part 4 (examination: sensitivity)",
    ),
    "robustness": Section(
        "Worse pictures",
        "Data: image artefacts; Technical assessment: robustness",
        "12e, 27a",
        "Part 4 (examination: sensitivity)",
    ),
    "limits": Section(
        "Limits", "Application: potential impacts and limits", "25, 26, 27c", "Part 4 (examination: limits)"
    ),
    "reproduce": Section(
        "How to reproduce it",
        "Technical assessment: public evaluation of the algorithm",
        "18e, 18f, 24",
        "Part 5 (reproducibility: code and data)",
    ),
}
"""In the order of the card. Items of CLEAR Derm are named by section and topic, those of TRIPOD+AI by number."""

NOT_ANSWERED: Final = (
    "CLEAR Derm: skin tone of the people pictured; cameras and dermatoscopes; comparison with clinicians; evaluation in use.",
    "TRIPOD+AI: 2 (abstract), 5b (dates), 6a (centres), 6c (treatments), 8b and 8c (who made the diagnosis, blinded or not), "
    "9b, 9c (how other predictors were measured: there are none), 17 (ethics), 18a, 18b, 18d (funding, interests, registration), 19 (patient "
    "involvement), 20c (comparison with development data of others).",
    "MI-CLAIM: Part 1, state of the art used as a baseline, beyond the model in service.",
)
"""Items that a program cannot answer from its data; who publishes the model answers them."""


def render_model_card(
    created: str,
    metrics: MetricsRecord,
    training: TrainingRecord,
    rule: DecisionRule,
    shaping: Collection[str] = frozenset(),
) -> str:
    """Return the card as Markdown; what comes from the user's files is escaped.

    created: when the model was trained, ISO 8601. shaping: names of the settings that shaped the model; the others are left out.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).with_name("templates")),
        autoescape=False,  # Markdown, escaped by `text` and `code`
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "counted": counted,
        "figure": figure,
        "percent": percent,
        "signed": signed,
        "text": text,
        "code": code,
    }
    card = environment.get_template("model_card.md.j2").render(
        created=created,
        metrics=metrics,
        training=training,
        settings=training.settings,
        rule=rule,
        data=metrics.data,
        versions=versions(metrics, training),
        labels=LABELS,
        sections=SECTIONS,
        not_answered=NOT_ANSWERED,
        slices={name.replace("_", " "): rows for name, rows in by_column(metrics.slices).items()},
        decisions=metrics.decisions,
        decided=DECISIONS,
        diagnosis=diagnosis,
        titles=TITLES,
        columns=COLUMNS,
        fewest=FEWEST_LESIONS,
        gain=gain(metrics),
        compared=compared(metrics),
        glance=glance(metrics, training, rule),
        made=diagnoses_made(metrics),
        shaping={name: value for name, value in training.settings.items() if name in shaping},
        classes=sum(row.support > 0 for row in metrics.per_class.values()),
    )
    return re.sub(r"\n{3,}", "\n\n", card)


def glance(metrics: MetricsRecord, training: TrainingRecord, rule: DecisionRule) -> list[str]:
    """Return what a clinician reads: ten lines at most."""
    lines = [
        "It sorts dermoscopic images into benign, malignant and unknown (an indeterminate diagnosis), or gives no answer.",
        f"It learnt from {counted(training.images, 'image')} of {counted(training.lesions, 'lesion')} and was measured on "
        f"{counted(metrics.images, 'image')} of {counted(metrics.lesions, 'other')}.",
    ]
    account = metrics.decisions.account
    found = account.malignant
    if found is not None:
        shares = "; ".join(f"{title} {found.shares[name].of_100}" for name, title in DECISIONS.items())
        few = found.shares[MALIGNANT]
        lines.append(
            f"Of 100 images of malignant lesions so many get each answer: {few.number if few.has_too_few else shares}."
        )
    lines += [account.meaning(MALIGNANT), account.meaning(BENIGN)]
    lines.append(
        f"Sensitivity for malignant at its threshold: {metrics.figure('sensitivity').text}; specificity: "
        f"{metrics.figure('specificity').text}. The threshold was {rule.chosen}."
    )
    lines.append(
        f"Malignant AUROC: {metrics.figure('malignant_auroc').text}; balanced accuracy: "
        f"{metrics.figure('balanced_accuracy').text}. {metrics.guessing}"
    )
    lines.append(diagnoses_made(metrics))
    lines.append("Not assessed: skin tone, other cameras and clinics, use by patients or clinicians.")
    if metrics.warnings:
        lines.append(f"Read with care: {' '.join(metrics.warnings)}")
    return lines


def diagnoses_made(metrics: MetricsRecord) -> str:
    """Return how the diagnoses of the held-out images were made, as far as the tables tell."""
    rows = [row for row in metrics.slices if row.column == "dx_type"]
    if not rows:
        return "How the diagnoses were made (histology, follow-up, consensus) is not recorded in the data set."
    named = ", ".join(f"{WAYS.get(row.value, row.value)} {row.n} of {metrics.images}" for row in rows)
    return f"How the diagnoses of the held-out images were made: {named}."


def text(value: object) -> str:
    """Return text on one line, escaped so that Markdown and HTML in it mean nothing, also within a table."""
    line = " ".join(str(value).split())
    return re.sub(r"([\\`*_{}\[\]<>#|~!&])", r"\\\1", line)


def code(value: object) -> str:
    """Return a code span on one line; a pipe in it is escaped for tables, a backtick is replaced."""
    line = " ".join(str(value).split()).replace("`", "'").replace("|", r"\|")
    return f"`{line}`" if line else ""

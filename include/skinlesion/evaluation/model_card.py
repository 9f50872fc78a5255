"""model_card.md: what a model is for, how it was made and how well it does, by three lists of reporting items.

- CLEAR Derm: Daneshjou et al., "Checklist for evaluation of image-based artificial intelligence reports in dermatology",
  JAMA Dermatol. 158:90, 2022.
- TRIPOD+AI: Collins et al., BMJ 385:e078378, 2024.
- MI-CLAIM: Norgeot et al., "Minimum information about clinical artificial intelligence modeling", Nat. Med. 26:1320, 2020.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from skinlesion.data.labels.classes import LABELS
from skinlesion.evaluation.html_report import by_column, figure, interval, percent, signed, signed_interval
from skinlesion.prediction.decision import DecisionRule
from skinlesion.registry.metrics_record import Interval, MetricsRecord
from skinlesion.registry.training_record import TrainingRecord


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


@dataclass(frozen=True)
class CardContext:
    """What the card is made from.

    created: when the model was trained, ISO 8601. metrics: content of metrics.json. training: content of training.json.
    rule: the decision rule.
    """

    created: str
    metrics: MetricsRecord
    training: TrainingRecord
    rule: DecisionRule


def render_model_card(context: CardContext) -> str:
    """Return the card as Markdown; what comes from the user's files is escaped."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).with_name("templates")),
        autoescape=False,  # Markdown, escaped by `text` and `code`
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "figure": figure,
        "interval": interval,
        "percent": percent,
        "signed": signed,
        "signed_interval": signed_interval,
        "text": text,
        "code": code,
        "with_interval": _with_interval,
        "share": _share,
    }
    card = environment.get_template("model_card.md.j2").render(
        context=context,
        metrics=context.metrics,
        training=context.training,
        settings=context.training.settings,
        rule=context.rule,
        data=context.metrics.data,
        versions=versions(context.metrics, context.training),
        labels=LABELS,
        sections=SECTIONS,
        not_answered=NOT_ANSWERED,
        slices={name.replace("_", " "): rows for name, rows in by_column(context.metrics.slices).items()},
        classes=sum(row.support > 0 for row in context.metrics.per_class.values()),
    )
    return re.sub(r"\n{3,}", "\n\n", card)


def versions(metrics: MetricsRecord, training: TrainingRecord) -> dict[str, str]:
    """Return what the figures depend on, by name: data, code, packages."""
    packages = ", ".join(f"{name} {number}" for name, number in sorted(training.packages.items()))
    return {
        "Data version": metrics.data_version,
        "Training rows": metrics.training_version,
        "Held-out rows": metrics.held_out_version,
        "Git revision": training.git_revision,
        "Packages": packages,
    }


def text(value: object) -> str:
    """Return text on one line, escaped so that Markdown and HTML in it mean nothing, also within a table."""
    line = " ".join(str(value).split())
    return re.sub(r"([\\`*_{}\[\]<>#|~!&])", r"\\\1", line)


def code(value: object) -> str:
    """Return a code span on one line; a pipe in it is escaped for tables, a backtick is replaced."""
    line = " ".join(str(value).split()).replace("`", "'").replace("|", r"\|")
    return f"`{line}`" if line else ""


def _with_interval(value: float | None, bounds: Interval | None) -> str:
    return figure(value) if bounds is None else f"{figure(value)} ({interval(bounds)})"


def _share(value: float | None, bounds: Interval | None) -> str:
    """Return a predictive value in per cent; at 1 % prevalence two decimals matter."""
    if value is None or bounds is None:
        return "–" if value is None else f"{value:.2%}"
    return f"{value:.2%} ({bounds[0]:.2%}–{bounds[1]:.2%})"

"""The question to a person who is to decide about a version, as Markdown."""

from __future__ import annotations

from skinlesion.evaluation.in_use.record import ShadowRecord
from skinlesion.promotion.decide import Judgement
from skinlesion.registry.figure import Figure
from skinlesion.registry.snapshot import Registry
from skinlesion.registry.verdict import read_verdict
from skinlesion.registry.versions import FIGURES


def approval_text(registry: Registry, judgement: Judgement, link: str) -> str:
    """Return the question: the version beside the model in service, what to mind, what the gate found, the link to the report.

    What it said in the shadow of real pictures stands before the gate's many lines.
    """
    version, champion = registry.version(judgement.version), registry.champion
    beside = f"version {champion.number}, in service" if champion is not None else "(no model is in service)"
    lines = [judgement.sentence, "", f"| | version {version.number} | {beside} |", "|---|---|---|"]
    for name, title in FIGURES.items():
        other = champion.figure(name) if champion is not None else Figure()
        lines.append(f"| {title} | {version.figure(name).text} | {other.text} |")
    others = (
        one.measured.held_out_version for one in (version, champion) if one is not None and one.measured is not None
    )
    if len(set(others)) > 1:
        lines += [
            "",
            "The two were measured on different held-out images, so these columns do not compare; what the gate found does.",
        ]
    if version.measured is not None and version.measured.warnings:
        lines += ["", "Read with care:", "", *(f"- {sentence}" for sentence in version.measured.warnings)]
    verdict = read_verdict(registry.models, version.run, version.number)
    sentences = dict.fromkeys(one.sentence for one in (verdict.criteria if verdict else ()))
    lines += _shadow(registry, version.number)
    lines += ["", "What the gate found:", "", *(f"- {sentence}" for sentence in sentences)]
    lines += [
        "",
        f"[The report]({link}). Approve: it replaces the model in service. Reject, or no answer: nothing changes.",
    ]
    return "\n".join(lines)


def _shadow(registry: Registry, number: int) -> list[str]:
    """Return what the version said of real pictures in the shadow; none where nothing is known of it."""
    found, problem = ShadowRecord.known(registry.models, number)
    lines = ["", problem] if problem else []
    for one in found:
        heading, *rows = ("| " + " | ".join(row) + " |" for row in one.table)
        lines += ["", " ".join(one.sentences), "", heading, "|" + "---|" * len(one.table[0]), *rows]
    return lines

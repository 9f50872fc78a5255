"""A verdict of one line, for tests in which the gate itself is not the subject."""

from __future__ import annotations

from skinlesion.registry import history
from skinlesion.registry.snapshot import Registry
from skinlesion.registry.verdict import Criterion, Verdict


def verdict_of(registry: Registry, number: int, line: Criterion) -> Verdict:
    """Return the verdict on a version beside what is in service."""
    now = registry.in_service
    return Verdict(
        version=number,
        run=registry.version(number).run,
        against=now.version if now else None,
        against_run=now.run if now else None,
        held_out_version="held out",
        images=4,
        lesions=4,
        criteria=(line,),
        at=history.now(),
    )

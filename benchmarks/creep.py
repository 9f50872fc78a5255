"""Histories of many nights at the gate: whether the model in service sinks, what is gained, and what repeated looks flatter.

    python -m benchmarks.creep                       1,000 histories of 365 nights of each kind
    python -m benchmarks.creep --lesions 100         with fewer malignant lesions held out
    python -m benchmarks.creep --only looks          the best of 20 variants each night, and the sealed part beside it
    python -m benchmarks.creep --only first          how often an equal candidate passes the first judgement, by lesions

Both models are asked about the same lesions, by the Gaussian copula of `benchmarks.gate_simulation`. The p-values, the levels, what draws
on the budget and when the reference moves are the product's own. One figure is simulated, the sensitivity.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Literal, NamedTuple, cast

import numpy as np
import numpy.typing as npt
import typer
from scipy.stats import binomtest, norm

from skinlesion.evaluation.shares import p_worse
from skinlesion.registry.looks import BETTER_AT, is_draw, level
from skinlesion.stages.settings import PipelineConfig

Floats = npt.NDArray[np.float64]
Found = npt.NDArray[np.bool_]

Policy = Literal["the model in service alone", "with the reference", "with reference and budget"]
POLICIES: Final[tuple[Policy, ...]] = ("the model in service alone", "with the reference", "with reference and budget")
"""The first is the gate as it was."""

_AS_FLOAT: Final = cast(Callable[..., Floats], level)
_AS_BOOL: Final = cast(Callable[..., Found], is_draw)


@dataclass(frozen=True)
class Kind:
    """How the true sensitivity of the candidates goes over the nights.

    start: of the first model. step: how much it changes a night. chance: standard deviation of what a night adds by itself. turn: the
    night from which it falls by .002 a night; None for never.
    """

    name: str
    start: float
    step: float = 0.0
    chance: float = 0.0
    turn: int | None = None

    def truth(self, night: int, histories: int, generator: np.random.Generator) -> Floats:
        """Return the true sensitivities of that night's candidates."""
        turned = max(0, night - self.turn) if self.turn is not None else 0
        mean = self.start + self.step * (night - turned) - 0.002 * turned
        return np.clip(mean + self.chance * generator.normal(size=histories), 0.02, 0.99)


KINDS: Final = (
    Kind("down by .002 a night", 0.85, step=-0.002),
    Kind("equal on average, sd .01", 0.85, chance=0.01),
    Kind("equal on average, sd .03", 0.85, chance=0.03),
    Kind("up by .001 a night", 0.6, step=0.001),
    Kind("up by .001, after 120 nights down by .002", 0.8, step=0.001, turn=120),
)


@dataclass
class Histories:
    """Many histories at once, night by night.

    champion, reference: (histories, lesions), what either finds. truth: of the model in service; best: the highest there ever was.
    """

    champion: Found
    truth: Floats
    policy: Policy
    config: PipelineConfig = field(default_factory=lambda: PipelineConfig.of({}))

    def __post_init__(self) -> None:
        self.reference, self.best = self.champion.copy(), self.truth.copy()
        self.draws = np.zeros(len(self.truth))
        self.taken = np.zeros(len(self.truth))
        self.gap = np.zeros(len(self.truth))

    def judge(self, found: Found, truth: Floats) -> Found:
        """Judge a candidate in each history; return where it came into service."""
        usual, margin = 1 - self.config.gate_confidence, self.config.gate_sensitivity_margin
        won, lost = _differing(found, self.reference)
        lesions = float(found.shape[1])
        beside_reference = p_worse(won, lost, lesions, margin)
        passed = p_worse(*_differing(found, self.champion), lesions, margin) <= usual
        if self.policy != "the model in service alone":
            allowed: Any = usual
            if self.policy == "with reference and budget":
                allowed = np.minimum(usual, _AS_FLOAT(self.config.gate_error_budget, self.draws))
            passed &= beside_reference <= allowed
        self.draws += _AS_BOOL(beside_reference)
        is_better = passed & (p_worse(won, lost, lesions, 0.0) <= BETTER_AT) & (won >= lost)
        self.champion[passed] = found[passed]
        self.reference[is_better] = found[is_better]
        self.truth = np.where(passed, truth, self.truth)
        self.best = np.maximum(self.best, self.truth)
        self.gap = np.maximum(self.gap, self.best - self.truth)
        self.taken += passed
        return passed


def _differing(found: Found, other: Found) -> tuple[Floats, Floats]:
    return (found & ~other).sum(axis=1).astype(np.float64), (other & ~found).sum(axis=1).astype(np.float64)


class Outcome(NamedTuple):
    """What came of histories: the share with a violation and how many, the mean gain, the versions taken, and the draws."""

    violated: float
    histories: int
    gain: float
    taken: float
    draws: float


def run(
    kind: Kind, policy: Policy, *, histories: int, nights: int, lesions: int, agreement: float = 0.9, seed: int = 0
) -> Outcome:
    """Return what comes of histories in which every night a candidate of this kind is judged.

    A history is violated if the model in service ever is worse than the best that was by more than the margin.
    """
    generator = np.random.default_rng(seed)
    hard = np.sqrt(agreement) * generator.standard_normal((histories, lesions), dtype=np.float32)

    def found_by(truth: Floats) -> Found:
        own = generator.standard_normal((histories, lesions), dtype=np.float32)
        found: Found = hard + np.float32(np.sqrt(1 - agreement)) * own < norm.ppf(truth).astype(np.float32)[:, None]
        return found

    first = np.full(histories, kind.start)
    state = Histories(found_by(first), first, policy)
    for night in range(1, nights + 1):
        truth = kind.truth(night, histories, generator)
        state.judge(found_by(truth), truth)
    violated = state.gap > state.config.gate_sensitivity_margin
    return Outcome(
        float(violated.mean()),
        histories,
        float((state.truth - kind.start).mean()),
        float(state.taken.mean()),
        float(state.draws.mean()),
    )


def first_judgement(sensitivity: float, agreement: float, lesions: int, draws: int, *, seed: int = 0) -> float:
    """Return how often an equal candidate passes beside the first model, which is the reference, with the whole budget there."""
    generator = np.random.default_rng(seed)
    hard = np.sqrt(agreement) * generator.normal(size=(draws, lesions))
    models = [
        hard + np.sqrt(1 - agreement) * generator.normal(size=hard.shape) < norm.ppf(sensitivity) for _ in range(2)
    ]
    truth = np.full(draws, sensitivity)
    return float(Histories(models[0], truth, "with reference and budget").judge(models[1], truth).mean())


class Flattery(NamedTuple):
    """How much higher than the truth a figure is, on average: on the nightly lesions, and on the sealed ones."""

    nightly: float
    sealed: float
    standard_error: float


def flattery(
    policy: Policy,
    *,
    histories: int,
    nights: int,
    lesions: int,
    sealed: int,
    variants: int = 20,
    agreement: float = 0.9,
    likeness: float = 0.9,
    seed: int = 0,
) -> Flattery:
    """Return how the figures flatter where each night the best of some variants of the model in service is judged.

    All of them find .85 of all lesions. The variants of a night are chosen by their figure on the nightly lesions.

    likeness: correlation of what a variant and the model in service each have beside how hard a lesion is.
    """
    truth, generator = 0.85, np.random.default_rng(seed)
    every = lesions + sealed
    hard = np.sqrt(agreement) * generator.standard_normal((histories, every), dtype=np.float32)
    own = generator.standard_normal((histories, every), dtype=np.float32)
    bound = np.float32(norm.ppf(truth))

    def found_by(alone: npt.NDArray[np.float32]) -> Found:
        found: Found = hard + np.float32(np.sqrt(1 - agreement)) * alone < bound
        return found

    same = np.full(histories, truth)
    state = Histories(found_by(own)[:, :lesions].copy(), same, policy)
    for _ in range(nights):
        best, most = own, np.full(histories, -1)
        for _ in range(variants):
            other = generator.standard_normal((histories, every), dtype=np.float32)
            variant = np.float32(np.sqrt(likeness)) * own + np.float32(np.sqrt(1 - likeness)) * other
            count = found_by(variant)[:, :lesions].sum(axis=1)
            best = np.where((count > most)[:, None], variant, best)
            most = np.maximum(most, count)
        passed = state.judge(found_by(best)[:, :lesions], same)
        own = np.where(passed[:, None], best, own)
    now = found_by(own)
    on_sealed = now[:, lesions:].mean(axis=1)
    return Flattery(
        float(now[:, :lesions].mean()) - truth,
        float(on_sealed.mean()) - truth,
        float(on_sealed.std() / np.sqrt(histories)),
    )


def main(
    histories: Annotated[int, typer.Option(help="Of each row.")] = 1000,
    nights: Annotated[int, typer.Option(help="In each history.")] = 365,
    lesions: Annotated[int, typer.Option(help="Malignant ones that are held out.")] = 300,
    agreement: Annotated[float, typer.Option(help="How alike the errors of two models are.")] = 0.9,
    only: Annotated[str, typer.Option(help="`creep`, `looks` or `first` for one of the tables.")] = "",
) -> None:
    """Print the tables."""
    if only == "first":
        counts = (30, 60, 80, 100, 160, 200, 240, 300)
        typer.echo(f"{'malignant lesions':44}" + "".join(f"{count:>8}" for count in counts))
        for sensitivity, alike in ((0.95, 0.9), (0.95, 0.6), (0.85, 0.9), (0.85, 0.6)):
            shares = (first_judgement(sensitivity, alike, count, 4 * histories) for count in counts)
            name = f"sensitivity {sensitivity:g}, agreement {alike:g}"
            typer.echo(f"{name:44}" + "".join(f"{share:>8.1%}" for share in shares))
        return
    if only != "looks":
        typer.echo(f"{'':44}{'':28}ever below the best by more than .08     gain   taken   draws")
    for kind in KINDS if only != "looks" else ():
        for policy in POLICIES:
            found = run(kind, policy, histories=histories, nights=nights, lesions=lesions, agreement=agreement)
            ends = binomtest(round(found.violated * histories), histories).proportion_ci(method="wilson")
            share = f"{found.violated:.1%} ({ends.low:.1%} to {ends.high:.1%})"
            typer.echo(f"{kind.name:44}{policy:28}{share:>36}{found.gain:>+9.3f}{found.taken:>8.0f}{found.draws:>8.0f}")
    if only == "creep":
        return
    typer.echo(
        f"\n{'best of 20 variants each night':44}{'the nightly figure flatters by':>32}{'the sealed one by':>24}"
    )
    few, sealed = max(1, histories // 10), lesions // 5
    for policy in POLICIES:
        by = flattery(
            policy, histories=few, nights=nights, lesions=lesions - sealed, sealed=sealed, agreement=agreement
        )
        typer.echo(f"{policy:44}{by.nightly:>+32.3f}{by.sealed:>+16.3f} ± {2 * by.standard_error:.3f}")


if __name__ == "__main__":
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(main)
    app()

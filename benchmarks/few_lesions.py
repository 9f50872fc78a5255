"""Whether intervals of shares, and the gate's bound, hold where few lesions are held out: `python -m benchmarks.few_lesions`.

Three tables: how often the 95 % interval of a share holds the true value; how often that of the difference of two models does; and how
often a candidate passes the gate's comparison of sensitivities. Beside each the bootstrap over lesions that was used before: BCa
with the exact interval where all or none is found, and percentiles.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Final

import numpy as np
import typer
from scipy.stats import binomtest, norm

from skinlesion.evaluation.lesion_bootstrap import FiguresOfSums, bca, draw
from skinlesion.evaluation.scored_images import Floats
from skinlesion.evaluation.shares import Interval, PairedShares, Share

IMAGES_OF_A_LESION: Final = (0.75, 0.18, 0.05, 0.02)
"""Shares of lesions with one to four images; HAM10000 has 1.34 a lesion."""
WITHIN: Final = 0.5
"""Correlation of the images of a lesion."""
LESIONS: Final = (5, 10, 20, 30, 50, 100, 300)
TRUE_SHARES: Final = (0.5, 0.7, 0.8, 0.9, 0.95, 0.99)
AT_THE_GATE: Final = (1, 2, 3, 5, 10, 20, 30, 100, 300)
CONFIDENCE: Final = 0.9
MARGIN: Final = 0.08


@dataclass(frozen=True)
class Pair:
    """Two models on the same lesions.

    champion: the share of lesions that it finds. drop: how much less the candidate finds. agreement: correlation of how hard a lesion
    is for both.
    """

    champion: float
    drop: float
    agreement: float


PAIRS: Final = tuple(
    Pair(champion, drop, agreement)
    for champion, drop in ((0.95, 0.0), (0.85, 0.0), (0.85, 0.1))
    for agreement in (0.6, 0.9)
)
CANDIDATES: Final = tuple(Pair(0.95, drop, agreement) for drop in (0.0, MARGIN, 0.2) for agreement in (0.6, 0.9))


def drawn_shares(share: float, lesions: int, draws: int, seed: int = 0) -> Iterator[Share]:
    """Yield shares as they are measured on so many lesions, of a model that finds this share of all lesions."""
    generator = np.random.default_rng([seed, lesions, round(1000 * share)])
    for _ in range(draws):
        images = _sizes(lesions, generator)
        alike = generator.random(lesions) < WITHIN
        hits = np.where(
            alike, images * (generator.random(lesions) < share), generator.binomial(images.astype(int), share)
        )
        yield Share(hits.astype(np.float64), images)


def drawn_pairs(pair: Pair, lesions: int, draws: int, seed: int = 0) -> Iterator[PairedShares]:
    """Yield what two models, the candidate first, find of so many lesions: a Gaussian copula."""
    generator = np.random.default_rng([seed, lesions, round(1000 * pair.drop), round(1000 * pair.agreement)])
    bounds = norm.ppf([pair.champion - pair.drop, pair.champion])
    for _ in range(draws):
        images = _sizes(lesions, generator)
        groups = np.repeat(np.arange(lesions), images.astype(int))
        # Rows: how hard the image is for both, and for each alone; half of it is the lesion's.
        of_lesion = generator.normal(size=(3, lesions))[:, groups]
        hard = np.sqrt(WITHIN) * of_lesion + np.sqrt(1 - WITHIN) * generator.normal(size=(3, len(groups)))
        ease = np.sqrt(pair.agreement) * hard[0] + np.sqrt(1 - pair.agreement) * hard[1:]
        found = ease < bounds[:, None]
        yield PairedShares.of(found[0], found[1], groups)


def _sizes(lesions: int, generator: np.random.Generator) -> Floats:
    return generator.choice(np.arange(1.0, 5.0), p=IMAGES_OF_A_LESION, size=lesions)


def held(intervals: list[Interval], truth: float) -> float:
    """Return the share of intervals that hold the truth."""
    ends = np.array(intervals)
    return float(np.mean((ends[:, 0] <= truth) & (truth <= ends[:, 1])))


def _bootstrap_of_share(share: Share, resamples: int) -> Interval:
    if share.point in (0.0, 1.0):
        exact = binomtest(round(share.point * share.lesions), share.lesions).proportion_ci(method="exact")
        return [float(exact.low), float(exact.high)]
    counts = np.stack([share.hits, share.images], axis=1)
    figure = FiguresOfSums(counts, lambda sums: {"share": sums[:, 0] / sums[:, 1]})
    return bca(draw([figure], share.lesions, resamples, seed=0)["share"]) or [0.0, 1.0]


def _resampled_differences(pair: PairedShares, resamples: int) -> Floats:
    counts = np.stack([pair.only_new - pair.only_old, pair.images], axis=1)
    figure = FiguresOfSums(counts, lambda sums: {"difference": sums[:, 0] / sums[:, 1]})
    return draw([figure], pair.lesions, resamples, seed=0)["difference"].values


def main(
    draws: Annotated[int, typer.Option(help="Of each cell; 2,000 have a standard error of .005.")] = 2000,
    resamples: Annotated[int, typer.Option(help="Of each bootstrap.")] = 500,
) -> None:
    """Print the three tables; each cell has ours, then the bootstrap's."""
    typer.echo("The 95 % interval of a share holds the true value\n" + _header("true share", LESIONS))
    for share in TRUE_SHARES:
        cells = []
        for lesions in LESIONS:
            sample = list(drawn_shares(share, lesions, draws))
            before = held([_bootstrap_of_share(one, resamples) for one in sample], share)
            cells.append((held([one.interval() for one in sample], share), before))
        typer.echo(_row(f"{share:g}", cells))
    typer.echo("\nThe 95 % interval of a difference holds the true difference\n" + _header("", LESIONS))
    for pair in PAIRS:
        cells = []
        for lesions in LESIONS:
            found = list(drawn_pairs(pair, lesions, draws))
            percentiles = [
                np.quantile(_resampled_differences(one, resamples), [0.025, 0.975]).tolist() for one in found
            ]
            cells.append((held([one.interval() for one in found], -pair.drop), held(percentiles, -pair.drop)))
        typer.echo(_row(_named(pair), cells))
    typer.echo(
        f"\nA candidate passes: {CONFIDENCE:.0%} sure that its sensitivity is lower by no more than {MARGIN:g}\n"
        + _header("", AT_THE_GATE)
    )
    for pair in CANDIDATES:
        cells = []
        for lesions in AT_THE_GATE:
            found = list(drawn_pairs(pair, lesions, draws))
            percentiles = [float(np.quantile(_resampled_differences(one, resamples), 1 - CONFIDENCE)) for one in found]
            passes = np.mean([one.lower(CONFIDENCE) >= -MARGIN for one in found])
            cells.append((float(passes), float(np.mean(np.array(percentiles) >= -MARGIN))))
        typer.echo(_row(_named(pair), cells))


def _named(pair: Pair) -> str:
    return f"{pair.champion:g}, lower by {pair.drop:g}, agreement {pair.agreement:g}"


def _header(first: str, lesions: tuple[int, ...]) -> str:
    return f"{first:36}" + "".join(f"{count:>12}" for count in lesions) + "  lesions"


def _row(name: str, cells: list[tuple[float, float]]) -> str:
    return f"{name:36}" + "".join(f"{ours:>7.3f} {before:.2f}" for ours, before in cells)


if __name__ == "__main__":
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(main)
    app()

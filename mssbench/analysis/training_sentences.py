"""Sentences below tables of trainings, which the terminal and the report share."""

from collections.abc import Iterator, Sequence

from mssbench.analysis.best_rates import CAUTION
from mssbench.analysis.learning_rates import Grid, RateLine
from mssbench.analysis.trainings import LEAST_SEEDS, Line
from mssbench.records import units

INTERVALS = (
    "Differences are paired by seed. A 95 % t interval is for one method by itself; p, adjusted by "
    "Holm, and the sentences are for all methods together, so that a difference need not be "
    "resolved although its interval excludes 0."
)
NO_REFERENCE = "No differences: the exact root, eigh + loewner, was not trained without failure."
_AT_BEST = (
    "Differences are taken at the best rate of each method, and paired by seed. A 95 % t interval "
    "is for one method by itself; p, adjusted by Holm, is for all methods together, so that a "
    "difference need not be resolved although its interval excludes 0."
)


def unranked(seeds: int) -> str:
    """Return the sentence about too few seeds to rank any method."""
    are = "is" if seeds == 1 else "are"
    return f"Methods are not ranked: that takes {LEAST_SEEDS} seeds, and there {are} {seeds}."


def too_few(lines: Sequence[Line] | Sequence[RateLine], reference: str) -> Iterator[str]:
    """Yield a sentence on single methods that have too few seeds, if there are some."""
    if lines:
        of = f" in common with {reference}" if reference else ""
        named = "; ".join(f"{line.method}, {line.shared}" for line in lines)
        yield f"Not ranked, since that takes {LEAST_SEEDS} seeds{of}: {named}."


def of_grid(grid: Grid) -> Iterator[str]:
    """Yield what a reader has to know of one table of learning rates.

    That is which methods are not ranked, and whose best rate is not known for sure.
    """
    if not grid.ranked:
        yield unranked(grid.seeds)
    yield from too_few(grid.few, grid.reference)
    for line in grid.lines:
        if line.unknown and line.best is not None:
            yield (
                f"{units.count(line.unknown, 'training')} of {line.method} "
                f"{'is' if line.unknown == 1 else 'are'} {' or '.join(line.statuses)}, so that "
                "another rate may be its best one."
            )


def of_grids(grids: Sequence[Grid]) -> Iterator[str]:
    """Yield what a reader has to know of all tables of learning rates together."""
    if grids:
        yield CAUTION
    if any(line.difference is not None for grid in grids for line in grid.lines):
        yield _AT_BEST

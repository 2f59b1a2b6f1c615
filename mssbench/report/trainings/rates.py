"""The tables of learning rates on the page: each method at every rate, and at its best one."""

from collections.abc import Iterator, Sequence
from math import nan
from typing import TYPE_CHECKING, NamedTuple

from mssbench.analysis.learning_rates import RateLine
from mssbench.analysis.training_sentences import of_grid
from mssbench.report.trainings.tables import METHOD, Head, compared, compared_heads, share

if TYPE_CHECKING:
    from mssbench.report.trainings.reading import GridPlace, Shown


class RateTable(NamedTuple):
    """The table of one grid of learning rates.

    run, task, precision: what filters choose it by. heads: one for each text of a row. sentences:
    what a reader has to know beside it.
    """

    run: str
    task: str
    precision: str
    title: str
    heads: Sequence[Head]
    rows: Sequence[Sequence[str]]
    sentences: Sequence[str]


def learning_rates(shown: "Shown") -> Iterator[RateTable]:
    """Yield a table for each task that was trained at two or more learning rates."""
    for place in shown.grids:
        grid = place.grid
        is_compared = grid.ranked and bool(grid.reference)
        heads = [
            METHOD,
            *(
                Head(f"accuracy at {rate:g} (share)", "mean over the seeds at this learning rate")
                for rate in grid.rates
            ),
            Head("best learning rate (no unit)", "that with the highest mean accuracy"),
            Head(
                "at the edge of the grid",
                "whether it is the smallest or largest one of the method, so that another rate may "
                "be better still",
                number=False,
            ),
            *(compared_heads() if is_compared else ()),
        ]
        rows = [_texts(line, place, is_compared=is_compared) for line in grid.lines]
        yield RateTable(
            place.run,
            str(grid.title["task"]),
            str(grid.title["precision"]),
            place.title,
            heads,
            rows,
            list(of_grid(grid)),
        )


def _texts(line: RateLine, place: "GridPlace", *, is_compared: bool) -> list[str]:
    """Return the row of a method."""
    grid, best, means = place.grid, line.best, line.rates.means
    is_reference = line.method == grid.reference
    return [
        line.method,
        *(share(means.get(rate, nan)) for rate in grid.rates),
        "-" if best is None else f"{best.rate:g}",
        "-" if best is None else "yes" if best.at_edge else "no",
        *(compared(line.difference, is_reference=is_reference) if is_compared else ()),
    ]

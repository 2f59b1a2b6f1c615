"""The figures of `mssbench plot` and of the report, as Altair charts without data."""

from mssbench.report.figures.errors import OVER_CONDITION, OVER_ITERATIONS
from mssbench.report.figures.figure import Figure
from mssbench.report.figures.front import FRONT
from mssbench.report.figures.history import HISTORY as HISTORY
from mssbench.report.figures.limit import LIMITS
from mssbench.report.figures.maps import FAILURES, WINNERS
from mssbench.report.figures.over import OVER_BATCH, OVER_SIZE

# The figures of panels, in the order in which the report shows them. It shows HISTORY apart.
PANELS: tuple[Figure, ...] = (
    FRONT,
    LIMITS,
    OVER_SIZE,
    OVER_BATCH,
    OVER_CONDITION,
    OVER_ITERATIONS,
)
# All figures by name. The report shows the two maps as tables of its page.
FIGURES: dict[str, Figure] = {
    figure.name: figure for figure in (FRONT, FAILURES, WINNERS, *PANELS[1:], HISTORY)
}

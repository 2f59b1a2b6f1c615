"""Load the table of a run as a DataFrame that knows its machine: `mssbench.load`."""

from pathlib import Path
from typing import TYPE_CHECKING

from mssbench import results
from mssbench.analysis.table import with_names
from mssbench.errors import RunError
from mssbench.report import carried
from mssbench.results import table

if TYPE_CHECKING:
    import pandas as pd

    from mssbench.results.run import Run


def load(path: str | Path) -> "pd.DataFrame":
    """Return the table of a run as a DataFrame with typed columns, missing values as NA.

    path: the folder of a run, or its table.csv. A run that was killed or is still being measured
    has the rows that were written so far. The last column, `method`, is not in the file: it has a
    unique name of each row's method, such as `eigh + loewner`, with parameters only if methods of
    the table differ in nothing else.

    In a notebook, `frame.mssbench` shows which method to use, and `frame.mssbench.plot()` draws a
    figure; `help(frame.mssbench)` lists more. Raises TableError if there is no table, if it is
    damaged or not a table of mssbench, or if a newer mssbench wrote it.
    """
    return carrying(with_names(table.load(path)), results.open(Path(path)))


def carrying(frame: "pd.DataFrame", run: "Run") -> "pd.DataFrame":
    """Return the rows of a run with its facts in their attributes, and with `frame.mssbench`."""
    import mssbench.report.accessor  # noqa: F401  (makes `frame.mssbench` available)

    try:
        facts, left_over = run.facts, run.left_over
    except RunError:  # a damaged file of facts must not keep anybody from reading the rows
        return frame

    carried.attach(frame, run.name, facts, left_over)
    return frame

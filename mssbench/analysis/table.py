"""Load the table of a run as a DataFrame: `mssbench.load`."""

from pathlib import Path
from typing import TYPE_CHECKING

from mssbench.analysis.naming import short_names
from mssbench.results import table
from mssbench.results.labels import METHOD

if TYPE_CHECKING:
    import pandas as pd


def load(path: str | Path) -> "pd.DataFrame":
    """Return the table of a run as a DataFrame with typed columns, missing values as NA.

    path: the folder of a run, or its table.csv. A run that was killed or is still being measured
    has the rows that were written so far. The last column, `method`, is not in the file: it has a
    unique name of each row's method, such as `eigh + loewner`, with parameters only if methods of
    the table differ in nothing else. Raises TableError if there is no table, if it is damaged or
    not a table of mssbench, or if a newer mssbench wrote it.
    """
    return with_names(table.load(path))


def with_names(frame: "pd.DataFrame") -> "pd.DataFrame":
    """Return the frame with the name of each row's method as its last column, `method`."""
    import pandas as pd

    methods = frame[list(METHOD)].drop_duplicates()
    names = methods.assign(method=pd.Series(short_names(table.records(methods)), methods.index))
    merged = frame[list(METHOD)].merge(names, on=list(METHOD), how="left")
    return frame.assign(method=merged["method"].astype("str").to_numpy())

"""The table of a run as a user of the library gets it: `mssbench.load`."""

from pathlib import Path
from typing import TYPE_CHECKING

from mssbench.analysis.naming import short_names
from mssbench.results import table
from mssbench.results.labels import METHOD

if TYPE_CHECKING:
    import pandas as pd


def load(path: str | Path) -> "pd.DataFrame":
    """The table of a run as a DataFrame with typed columns, missing values as NA.

    path: a run's folder, or its table.csv. A run that was killed, or is still going on, reads as
    far as it got. The last column, `method`, is not in the file: it has the name of each row's
    method, `eigh + loewner`, with its parameters where others of the table need them to tell it
    apart. Two methods never have one name. Raises TableError if there is no table, if it is not one
    of ours, or if a newer mssbench wrote it.
    """
    return with_names(table.load(path))


def with_names(frame: "pd.DataFrame") -> "pd.DataFrame":
    """The frame with the name of each row's method as its last column, `method`."""
    import pandas as pd

    methods = frame[list(METHOD)].drop_duplicates()
    names = methods.assign(method=pd.Series(short_names(table.records(methods)), methods.index))
    merged = frame[list(METHOD)].merge(names, on=list(METHOD), how="left")
    return frame.assign(method=merged["method"].astype("str").to_numpy())

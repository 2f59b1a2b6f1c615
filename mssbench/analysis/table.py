"""Add the short name of each row's method to the table of a run."""

from typing import TYPE_CHECKING

from mssbench.analysis.naming import short_names
from mssbench.results import table
from mssbench.results.labels import METHOD

if TYPE_CHECKING:
    import pandas as pd


def with_names(frame: "pd.DataFrame") -> "pd.DataFrame":
    """Return the frame with the name of each row's method as its last column, `method`."""
    import pandas as pd

    methods = frame[list(METHOD)].drop_duplicates()
    names = methods.assign(method=pd.Series(short_names(table.records(methods)), methods.index))
    merged = frame[list(METHOD)].merge(names, on=list(METHOD), how="left")
    return frame.assign(method=merged["method"].astype("str").to_numpy())

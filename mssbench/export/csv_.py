"""The table itself, every column of the schema, as CSV."""

from mssbench.export import Exported
from mssbench.results.rows import as_csv, header


def text(what: Exported) -> str:
    """A header, and a line per row."""
    return (header() + as_csv(what.rows)).decode()

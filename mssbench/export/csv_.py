"""The table itself, every column of the schema, as CSV."""

from collections.abc import Iterator

from mssbench.export import Exported
from mssbench.results.rows import as_csv, header
from mssbench.results.views import Rows


def text(what: Exported) -> Iterator[str]:
    """A header, and a line per row."""
    yield header().decode()
    rows = what.rows
    for block in rows.blocks() if isinstance(rows, Rows) else [list(map(dict, rows))]:
        yield as_csv(block).decode()

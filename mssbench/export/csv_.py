"""Export to CSV: the table of the run with every column of the schema."""

from collections.abc import Iterator

from mssbench.export import Exported
from mssbench.results.rows import as_csv, header
from mssbench.results.views import Rows


def text(what: Exported) -> Iterator[str]:
    """Yield a header line, then blocks of lines with one line for each row."""
    yield header().decode()
    rows = what.rows
    for block in rows.blocks() if isinstance(rows, Rows) else [list(map(dict, rows))]:
        yield as_csv(block).decode()

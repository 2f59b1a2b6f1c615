"""A run on disk, `results/<run>/`: rows, samples, facts and suite, read and written."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mssbench.results.run import Run


def open(path: Path) -> "Run":  # noqa: A001  (like gzip.open)
    """The run in a folder, or the one whose table.csv is given. Reads nothing yet."""
    from mssbench.results.run import Run  # pandas, which a run that measures does not load

    return Run(path)

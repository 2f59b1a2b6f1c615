"""Read and write the files of a run, `results/<run>/`: rows, samples, facts and suite.

A row is the result of one phase of a cell on one clock; a cell is one combination of method,
problem, size, batch and so on; samples are its single times.
"""

import importlib
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mssbench.results.run import Run


def open(path: Path) -> "Run":  # noqa: A001  (like gzip.open)
    """Return the run in a folder. Its files are read when they are first used.

    path: the folder, or the table.csv in it.
    """
    # Imported by its name, since an import statement would make the readers of tables part of the
    # code hash of every row: a worker imports the locks of this package (see measure/code_hash.py).
    run: Run = importlib.import_module(".run", __name__).Run(path)
    return run

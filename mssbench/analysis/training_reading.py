"""Read and check the tables of a run of trainings, for every command that reads one.

A table that was cut or changed by hand must not be judged without a word, since a missing seed or
epoch changes means, intervals and verdicts. So each line must have all fields, and there must be a
row for each training of the suite, or of the shard of it, and for each epoch of a training that was
trained to its end.
"""

import csv
import io
from collections import Counter
from collections.abc import Sequence
from math import nan
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from mssbench.errors import SuiteError, TableError
from mssbench.records import units
from mssbench.records.cell import parse_options
from mssbench.records.schema import Column
from mssbench.records.training import (
    CURVES,
    ROBUSTNESS,
    TRAINING_KEY,
    TRAININGS,
    TrainingCell,
)
from mssbench.records.training_values import TRUNCATION
from mssbench.results import trainings as files
from mssbench.results.facts_file import read_facts
from mssbench.results.files import contents
from mssbench.results.parts import part_of
from mssbench.results.rows import SUITE

if TYPE_CHECKING:
    import pandas as pd

    from mssbench.suite.training import TrainingSuite

# Columns without which a table says nothing. A table of an older version may lack others.
_NEEDED = {
    files.TRAININGS: {*TRAINING_KEY, "status", "loss", "accuracy", "steps", "skipped", "cell_id"},
    files.CURVES: {*TRAINING_KEY, "epoch", "loss", "accuracy", "cell_id"},
    files.ROBUSTNESS: {*TRAINING_KEY, "change", "severity", "accuracy", "cell_id"},
}
_COLUMNS = {files.TRAININGS: TRAININGS, files.CURVES: CURVES, files.ROBUSTNESS: ROBUSTNESS}
_REMEDY = (
    "Restore the file; if its folder has the folder cells, the command that made the run writes it "
    "anew."
)
# Functions that a covariance with zero eigenvalues does not have, unless it has a floor.
_NEED_POSITIVE = ("logarithm", "log_cholesky")


class Tables(NamedTuple):
    """The tables of a run, with all known columns and the column `method`, the name of the method.

    Missing numbers are NaN, and missing texts are empty.
    """

    trainings: "pd.DataFrame"
    curves: "pd.DataFrame"
    robustness: "pd.DataFrame"


def load(path: Path) -> Tables:
    """Return the tables of a run of trainings. path: its folder, or the trainings.csv in it.

    Raises TableError, with the file, what is wrong and a remedy, for a table that is missing or
    damaged, or that has fewer rows than the suite and the trainings need, and RunError for a
    damaged environment.json. A run may lack the table of robustness if its suite does not ask for
    it.
    """
    folder = files.folder_of(path)
    trainings, curves = _read(folder / files.TRAININGS), _read(folder / files.CURVES)
    file = folder / files.ROBUSTNESS
    robustness = _read(file) if file.exists() else _typed(_without_rows(), file)
    suite = _suite(folder / SUITE)
    _check_trainings(folder, trainings, suite)
    _check_epochs(folder / files.CURVES, trainings, curves)
    ended = trainings[trainings["status"].isin(files.TRAINED)]
    if suite is not None and suite.robustness and len(ended) and robustness.empty:
        raise TableError(f"{file} has no rows, although robustness = true in {SUITE}. {_REMEDY}")
    _check_changes(file, ended, robustness)
    return Tables(trainings, curves, robustness)


def _without_rows() -> "pd.DataFrame":
    import pandas as pd

    return pd.DataFrame(columns=[column.name for column in ROBUSTNESS])


def _read(file: Path) -> "pd.DataFrame":
    """Return a table with typed columns. Raises TableError if it is missing or damaged."""
    import pandas as pd

    try:
        data = contents(file)
        text = None if data is None else data.decode("utf-8-sig")
    except (OSError, ValueError) as error:
        raise TableError(f"{file} cannot be read: {error}. {_REMEDY}") from None
    if text is None:
        raise TableError(f"{file} is missing. {_REMEDY}")
    _check_lines(file, text)
    words = {c.name: "str" for c in _COLUMNS[file.name] if c.kind == "str"}
    try:
        return _typed(pd.read_csv(io.StringIO(text), dtype=words), file)
    except ValueError as error:  # of the parser
        raise TableError(f"{file} cannot be read: {error}. {_REMEDY}") from None


def _check_lines(file: Path, text: str) -> None:
    """Raise TableError unless each line of a table is complete, also the last one."""
    if not text.endswith("\n"):
        why = ": its last line is cut" if text else " is empty"
        raise TableError(f"{file}{why}. {_REMEDY}")
    reader = csv.reader(io.StringIO(text))
    try:
        head = next(reader)
        for fields in reader:
            if fields and len(fields) != len(head):
                raise TableError(
                    f"{file}: line {reader.line_num} has {units.count(len(fields), 'field')}, and "
                    f"the first line {len(head)}. {_REMEDY}"
                )
    except csv.Error as error:
        raise TableError(f"{file}: line {reader.line_num}: {error}. {_REMEDY}") from None


def _typed(frame: "pd.DataFrame", file: Path) -> "pd.DataFrame":
    """Return the known columns of a table with their types, and with the names of the methods."""
    import pandas as pd

    if missing := sorted(_NEEDED[file.name] - set(frame.columns)):
        raise TableError(
            f"{file} is no table of trainings: it lacks {', '.join(missing)}. {_REMEDY}"
        )
    known = {}
    for column in _COLUMNS[file.name]:
        values = frame.get(column.name, pd.Series(nan, frame.index))
        known[column.name] = _column(values, column, file)
    table = pd.DataFrame(known, index=frame.index)
    return table.assign(method=_methods(table))


def _column(values: "pd.Series", column: Column, file: Path) -> "pd.Series":
    """Return a column with its type. Raises TableError for a text in place of a number."""
    import pandas as pd

    if column.kind == "str":
        return values.astype(object).where(values.notna(), "").astype(str)
    try:
        numbers = pd.to_numeric(values)
    except (ValueError, TypeError):
        raise TableError(f"{file}: a value of {column.name} is no number. {_REMEDY}") from None
    if column.name in (*TRAINING_KEY, "epoch") and numbers.isna().any():
        raise TableError(f"{file}: a value of {column.name} is missing. {_REMEDY}")
    return numbers


def _methods(table: "pd.DataFrame") -> list[str]:
    """Return the name of the method of each row."""
    rows = table[list(TRAINING_KEY)].itertuples(index=False, name=None)
    names: dict[tuple[Any, ...], str] = {}
    return [names.setdefault(key, TrainingCell(*key).method) for key in rows]


def _check_trainings(
    folder: Path, trainings: "pd.DataFrame", suite: "TrainingSuite | None"
) -> None:
    """Raise TableError if the suite has trainings that the table lacks, or if one stands twice."""
    file, cells = folder / files.TRAININGS, trainings["cell_id"]
    if cells.duplicated().any():
        twice = units.count(int(cells.duplicated().sum()), "training")
        raise TableError(f"{file} has {twice} more than once. {_REMEDY}")
    planned = _planned(folder, suite)
    if missing := len(planned - set(cells)):
        raise TableError(
            f"{file} lacks {missing} of the {units.count(len(planned), 'training')} of its run. "
            f"{_REMEDY}"
        )


def _planned(folder: Path, suite: "TrainingSuite | None") -> set[str]:
    """Return the cells of a run: those of its shard, or of its suite. None are known without it."""
    if part := part_of(read_facts(folder)):
        return {*part.places}
    return {cell.cell_id for cell in suite.cells} if suite is not None else set()


def _suite(file: Path) -> "TrainingSuite | None":
    """Return the suite of a run; None if it cannot be read, since its trainings still can be."""
    from mssbench.suite.training import load as load_suite

    try:
        return load_suite(str(file))
    except SuiteError:
        return None


def _check_epochs(file: Path, trainings: "pd.DataFrame", curves: "pd.DataFrame") -> None:
    """Raise TableError if a training was trained to its end and lacks an epoch."""
    epochs: Sequence[tuple[str, int]] = list(
        zip(curves["cell_id"].tolist(), curves["epoch"].tolist(), strict=True)
    )
    present = Counter(cell for cell, _ in set(epochs))
    ended = trainings[trainings["status"].isin(files.TRAINED)]
    missing = sum(
        present[cell] < planned
        for cell, planned in zip(ended["cell_id"].tolist(), ended["epochs"].tolist(), strict=True)
    )
    if missing:
        raise TableError(
            f"{file} lacks epochs of {missing} of {units.count(len(ended), 'training')} that have "
            f"ended. {_REMEDY}"
        )


def _check_changes(file: Path, ended: "pd.DataFrame", robustness: "pd.DataFrame") -> None:
    """Raise TableError if a training has fewer rows of robustness than another one of its task.

    ended: the trainings that have ended. All networks of a task are evaluated under the same
    changes of the images, and all that can pool truncated covariances with the same shares.
    """
    is_truncated = robustness["change"] == TRUNCATION
    needs_all = ended[~ended["cell_id"].isin(_not_truncated(ended))]
    missing: set[str] = set()
    for of, rows in ((ended, robustness[~is_truncated]), (needs_all, robustness[is_truncated])):
        found = of["cell_id"].map(Counter(rows["cell_id"].tolist())).fillna(0)
        expected = found.groupby(of["task"]).transform("max")
        missing |= set(of.loc[found < expected, "cell_id"])
    if missing:
        raise TableError(
            f"{file} lacks rows of {len(missing)} of {units.count(len(ended), 'training')} that "
            f"have ended. {_REMEDY}"
        )


def _not_truncated(trainings: "pd.DataFrame") -> set[str]:
    """Return the trainings whose networks cannot pool covariances with zero eigenvalues.

    `training.robustness` does not truncate their eigenvalues.
    """
    cells = trainings[["cell_id", "forward", "options", "then"]].itertuples(index=False, name=None)
    return {cell for cell, *method in cells if not exists_at_zero(*method)}


def exists_at_zero(forward: str, options: str, then: str) -> bool:
    """Whether a trained network can pool covariances with zero eigenvalues.

    The arguments are the columns of its training; its pooling is that of `then`, if it has one.
    """
    pooling = parse_options(then) or {"forward": forward, **parse_options(options)}
    return pooling.get("forward") not in _NEED_POSITIVE or bool(pooling.get("floor"))

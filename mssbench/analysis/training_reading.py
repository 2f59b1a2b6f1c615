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
from mssbench.records.measurement import Status
from mssbench.records.schema import Column
from mssbench.records.training import (
    CURVES,
    ROBUSTNESS,
    TRAINING_KEY,
    TRAININGS,
    TrainingCell,
)
from mssbench.results import trainings as files
from mssbench.results.facts_file import read_facts
from mssbench.results.files import contents
from mssbench.results.parts import part_of
from mssbench.results.rows import SUITE

if TYPE_CHECKING:
    import pandas as pd

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
_ENDED = (str(Status.OK), str(Status.NONFINITE))  # of trainings that have all of their epochs


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
    damaged environment.json. A run may lack the table of robustness, as older ones do.
    """
    folder = files.folder_of(path)
    trainings, curves = _read(folder / files.TRAININGS), _read(folder / files.CURVES)
    file = folder / files.ROBUSTNESS
    robustness = _read(file) if file.exists() else _typed(_without_rows(), file)
    _check_trainings(folder, trainings)
    _check_epochs(folder / files.CURVES, trainings, curves)
    _check_changes(file, trainings, robustness)
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


def _check_trainings(folder: Path, trainings: "pd.DataFrame") -> None:
    """Raise TableError if the suite has trainings that the table lacks, or if one stands twice."""
    file, cells = folder / files.TRAININGS, trainings["cell_id"]
    if cells.duplicated().any():
        twice = units.count(int(cells.duplicated().sum()), "training")
        raise TableError(f"{file} has {twice} more than once. {_REMEDY}")
    planned = _planned(folder)
    if missing := len(planned - set(cells)):
        raise TableError(
            f"{file} lacks {missing} of the {units.count(len(planned), 'training')} of its run. "
            f"{_REMEDY}"
        )


def _planned(folder: Path) -> set[str]:
    """Return the cells of a run: those of its shard, or of its suite.

    There are none if the suite cannot be read, since its trainings still can be.
    """
    from mssbench.suite.training import load as load_suite

    if part := part_of(read_facts(folder)):
        return {*part.places}
    try:
        return {cell.cell_id for cell in load_suite(str(folder / SUITE)).cells}
    except SuiteError:
        return set()


def _check_epochs(file: Path, trainings: "pd.DataFrame", curves: "pd.DataFrame") -> None:
    """Raise TableError if a training was trained to its end and lacks an epoch."""
    epochs: Sequence[tuple[str, int]] = list(
        zip(curves["cell_id"].tolist(), curves["epoch"].tolist(), strict=True)
    )
    present = Counter(cell for cell, _ in set(epochs))
    ended = trainings[trainings["status"].isin(_ENDED)]
    missing = sum(
        present[cell] < planned
        for cell, planned in zip(ended["cell_id"].tolist(), ended["epochs"].tolist(), strict=True)
    )
    if missing:
        raise TableError(
            f"{file} lacks epochs of {missing} of {units.count(len(ended), 'training')} that have "
            f"ended. {_REMEDY}"
        )


def _check_changes(file: Path, trainings: "pd.DataFrame", robustness: "pd.DataFrame") -> None:
    """Raise TableError if a training has fewer rows of robustness than another one of its task.

    All networks of a task are evaluated under the same changes.
    """
    ended = trainings.loc[trainings["status"].isin(_ENDED), ["task", "cell_id"]]
    rows = ended["cell_id"].map(Counter(robustness["cell_id"].tolist())).fillna(0)
    missing = int((rows < rows.groupby(ended["task"]).transform("max")).sum())
    if missing:
        raise TableError(
            f"{file} lacks rows of {missing} of {units.count(len(ended), 'training')} that have "
            f"ended. {_REMEDY}"
        )

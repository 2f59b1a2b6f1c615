"""`mssbench import`: make a run from a pytest-benchmark JSON file. It does not import torch."""

import json
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from mssbench.cli.output import output
from mssbench.errors import RunError, TableError
from mssbench.export import pytest_benchmark
from mssbench.records import units
from mssbench.records.measurement import Row
from mssbench.records.schema import KEY
from mssbench.results import table as tables
from mssbench.results.folder import RunFolder
from mssbench.results.rows import refuse_newer

_OTHER_FILE = "is not a pytest-benchmark JSON"
_REMEDY = (
    "Write one with `pytest --mssbench SUITE --benchmark-json FILE`, or with `mssbench export RUN "
    "--to pytest-benchmark`."
)

EXAMPLES = ("mssbench import benchmark.json --out results/from_pytest",)


def command(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="JSON file with cells of mssbench, from `pytest --mssbench SUITE --benchmark-json "
            "FILE` or `mssbench export RUN --to pytest-benchmark`. A file without such cells is "
            "refused.",
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder to write the run to; it must be new or empty.")],
) -> None:
    """Make a run of what `pytest --mssbench` or `export --to pytest-benchmark` wrote."""
    output([imported(file, out)])


def imported(file: Path, out: Path) -> Text:
    """Write the rows of a pytest-benchmark JSON file as a run, and return a line with their number.

    Raises RunError if `out` is not a new or empty folder, and TableError if the file cannot be
    read, is of another kind, or has no measurement of mssbench.
    """
    from mssbench.results import samples  # imports pyarrow, which --help must not wait for

    if out.exists() and (out.is_file() or any(out.iterdir())):
        raise RunError(f"{out} is not an empty folder. Nothing was written: choose another --out.")

    try:
        document: Any = json.loads(file.read_text("utf-8"))
        read, facts, seconds = pytest_benchmark.rows(document)
        rows = sorted(map(_typed, read), key=lambda row: row["cell_id"])
        refuse_newer(file, (row["schema"] for row in rows if row["schema"]))
    except OSError as error:
        raise TableError(f"{file} cannot be read: {error.strerror or error}.") from None
    except UnicodeDecodeError:
        raise TableError(f"{file} {_OTHER_FILE}: it is not UTF-8. {_REMEDY}") from None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise TableError(f"{file} {_OTHER_FILE}: {where} is not valid JSON. {_REMEDY}") from None
    except KeyError as error:
        raise TableError(f"{file} {_OTHER_FILE}: it has no {error.args[0]!r}. {_REMEDY}") from None
    except (ValueError, TypeError, AttributeError):
        raise TableError(
            f"{file} {_OTHER_FILE}: a value in it has the wrong type. {_REMEDY}"
        ) from None
    if not rows:
        raise TableError(f"{file} has no cell of mssbench. {_REMEDY}")

    with RunFolder(out) as folder:
        folder.write_facts(facts)
        for _, group in groupby(rows, key=lambda row: row["cell_id"]):
            cell = list(group)
            places = [tuple(row[k] for k in samples.KEY) for row in cell]
            folder.append(cell, [seconds.get(place, []) for place in places])
        folder.finish(rows)
    return Text(f"{units.count(len(rows), 'row')} in {out}")


def _typed(row: Row) -> Row:
    """Return a row whose values have the types of the table's columns.

    Raises KeyError if `cell_id`, `status` or a column of the row's key is missing.
    """
    import pandas as pd

    missing = [name for name in (*KEY, "cell_id", "status") if name not in row]
    if missing:
        raise KeyError(missing[0])
    return tables.records(tables.typed(pd.DataFrame([row])))[0]

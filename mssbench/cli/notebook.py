"""`mssbench.run`: what `mssbench run` does, called from a notebook or a script."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.text import Text

from mssbench import results
from mssbench.analysis.table import with_names
from mssbench.cli.measuring import measure
from mssbench.console.summary import remaining
from mssbench.console.terminal import make_console
from mssbench.errors import SuiteError
from mssbench.machine import children
from mssbench.report.frames import carrying
from mssbench.results import table
from mssbench.suite import select

if TYPE_CHECKING:
    import pandas as pd


def run(
    suite: str | Path,
    *,
    set: Mapping[str, Any] | None = None,  # noqa: A002  (as on the command line, --set)
    only: str | None = None,
    out: str | Path | None = None,
    effort: str | None = None,
    device: str | None = None,
    minutes: float | None = None,
    matrices: str | Path | None = None,
    key: str | None = None,
    kind: str | None = None,
    also: str | Path | Iterable[str | Path] = (),
    fresh: bool = False,
) -> "pd.DataFrame":
    """Measure a suite, or the part of it without results, and return the rows of its cells.

    suite: the name of a shipped suite, or a TOML file.
    set: axes, parameters or [measure] keys to replace: `{"size": [8, 16], "precision": "float64"}`.
    A text may be a range, "16:256:*2".
    only: a condition; only the cells for which it holds are measured, such as
    "size > 16 and forward == 'eigh'".
    out: the folder of the run; results/SUITE if not given. Rows that it has already are kept.
    effort: how long to sample each cell: smoke, quick, standard or rigorous; the suite's own if not
    given. device: cpu or cuda for every cell; the suite's own if not given.
    minutes: a limit of time in place of the suite's own.
    matrices: a file with matrices of your own, in place of the suite's. key: the array in it, if
    it has several. kind: matrices, or features whose covariance is computed.
    also: Python files that register methods or problems of your own.
    fresh: measure everything again.

    A cell is one combination of method, problem, size, batch and so on. The frame is as
    `mssbench.load` gives it, with the name of the method in the column `method`, and
    `frame.mssbench` shows in a notebook which method to use. A cell that failed has rows with a
    status and a reason. Progress is printed on stderr.

    Raises SuiteError or RegistryError for a suite, a value or a name that is wrong, and RunError
    where the folder or the device cannot be used, or the system is not Linux. Ctrl-C raises
    KeyboardInterrupt after what was measured has been saved.
    """
    if minutes is not None and not minutes > 0:
        raise SuiteError(f"minutes = {minutes!r} is not a number above 0.")
    files = [also] if isinstance(also, str | Path) else also
    paths = [Path(file) for file in files]
    children.heed()
    own = select.own_matrices(None if matrices is None else Path(matrices), key, kind)
    overrides = [_override(name, value) for name, value in (set or {}).items()]
    chosen = select.choose(str(suite), overrides, only, effort, device, paths, own=own)

    log = make_console(stderr=True)
    for line in select.read_from_outside(chosen):
        log.print(Text(line), soft_wrap=True)
    path = Path(out) if out is not None else Path("results") / chosen.name
    summary = measure(
        chosen,
        path,
        fresh=fresh,
        retry=(),
        also=paths,
        python=None,
        minutes=minutes if minutes is not None else chosen.minutes,
        log=log,
    )
    if summary.interrupted:
        raise KeyboardInterrupt
    if not summary.complete:
        again = "the same call of mssbench.run"
        log.print(remaining(summary, again, f"{again} with more minutes"), soft_wrap=True)

    frame = table.load(path)
    asked_for = frame["cell_id"].isin([cell.cell_id for cell in chosen.cells])
    return carrying(with_names(frame[asked_for].reset_index(drop=True)), results.open(path))


def _override(key: str, value: Any) -> str:
    """Return the text that --set takes: `size=8,16`.

    value: one value, or several in a list, array or range.
    """
    many = isinstance(value, Iterable) and not isinstance(value, str | Mapping)
    return f"{key}={','.join(_spelled(each) for each in (value if many else [value]))}"


def _spelled(value: Any) -> str:
    """Return a value as it is typed on the command line, such as `true`."""
    plain = value.item() if hasattr(value, "item") else value  # of a number of numpy
    return str(plain).lower() if isinstance(plain, bool) else str(plain)

r"""Export to LaTeX: a table for each size, batch, precision and phase, for use in a paper.

The tables need the package booktabs: \usepackage{booktabs}.
"""

import re
from collections.abc import Iterator
from math import floor, log10

from mssbench import units
from mssbench.analysis import decision
from mssbench.analysis.decision import PLACE, Board, Line, Mark
from mssbench.export import Exported
from mssbench.results.labels import spoken
from mssbench.results.table import typed
from mssbench.results.views import Rows

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "κ": r"$\kappa$",
    "≤": r"$\leq$",
    **{character: f"\\{character}" for character in "&%$#_{}"},
}
# What a file that LaTeX reads without further packages may contain besides `_SPECIAL`.
_UNKNOWN = re.compile(r"[^\x20-\x7e\n]")


def text(what: Exported) -> str:
    """Return a LaTeX table for each place of a run: the methods with their times and errors.

    A place is a function, precision, device, size and batch; each has a table for forwards and one
    for steps. Only the wall clock counts.
    """
    import pandas as pd

    rows = what.rows
    frame = rows.frame if isinstance(rows, Rows) else typed(pd.DataFrame(rows))
    boards = [board for board in decision.boards(frame) if board.clock == decision.WALL]
    name = escaped(what.name)
    lines = [
        f"% Measured by mssbench, run {name}. Needs \\usepackage{{booktabs}}.",
        *(line for board in boards for line in _table(board, what.name)),
    ]
    return "\n".join(lines) + "\n"


def _table(board: Board, run: str) -> Iterator[str]:
    """Yield the lines of the table of one board. run: the name of the run."""
    kinds = list(board.kinds.values())
    error = "gradient" if board.phase == "step" else "root"
    headings = [escaped(f"{kind.name} {kind.heading}".strip()) for kind in kinds]

    yield ""
    yield r"\begin{table}"
    yield r"\centering"
    yield f"\\caption{{{_caption(board, error)}}}"
    yield f"\\label{{{_label(board, run)}}}"
    yield f"\\begin{{tabular}}{{l{'r' * (1 + len(kinds))}}}"
    yield r"\toprule"
    if kinds:
        over = f"\\multicolumn{{{len(kinds)}}}{{c}}{{{error} error}}"
        yield f"& time & {over} \\\\"
        yield f"\\cmidrule(lr){{3-{2 + len(kinds)}}}"
        yield f"method & (ms) & {' & '.join(headings)} \\\\"
    else:
        yield r"method & time (ms) \\"
    yield r"\midrule"
    for line in board.lines:
        yield _row(line, [line.marks.get(kind.name) for kind in kinds])
    yield r"\bottomrule"
    yield r"\end{tabular}"
    yield r"\end{table}"


def _caption(board: Board, error: str) -> str:
    """Return the caption: what was measured where, and what the numbers are."""
    phase = "Root and gradient" if board.phase == "step" else "Root alone"
    place = ", ".join(spoken(name, board.place[name]) for name in PLACE)
    return (
        f"{phase}: {escaped(place)}. Time is the geometric mean of the medians over all matrices; "
        f"errors are the largest relative Frobenius errors of the {error}."
    )


def _label(board: Board, run: str) -> str:
    """Return a unique label, such as `tab:quick-step-sqrt-float32-cpu-64-64`."""
    words = [run, board.phase, *(str(board.place[name]) for name in PLACE)]
    return "tab:" + "-".join(re.sub(r"[^A-Za-z0-9.]+", "-", word).strip("-") for word in words)


def _row(line: Line, marks: list[Mark | None]) -> str:
    """Return the line of one method. marks: its accuracy on each kind of matrix."""
    cells = [escaped(line.name), f"{1e3 * line.seconds:#.3g}".rstrip("."), *map(_cell, marks)]
    return " & ".join(cells) + r" \\"


def _cell(mark: Mark | None) -> str:
    """Return an error in LaTeX, or why there is none. Errors that are not right are in italics."""
    if mark is None:
        return "--"
    if mark.error is None:
        return escaped(mark.word or "unknown")
    number = _power(mark.error)
    return number if mark.right else f"\\textit{{wrong}} ({number})"


def _power(error: float) -> str:
    r"""Return a number as LaTeX with one digit: `$2\times10^{-4}$`; `0` for zero."""
    if not error or error != error:
        return "0" if error == 0 else "nan"
    exponent = floor(log10(error))
    digit = round(error / 10.0**exponent)
    if digit == 10:
        digit, exponent = 1, exponent + 1
    return f"${digit}\\times10^{{{exponent}}}$"


def escaped(text: str) -> str:
    """Return a text escaped so that LaTeX prints it literally; `?` for what it cannot print."""
    flat = units.harmless(" ".join(text.split()))
    return "".join(_SPECIAL.get(c) or _UNKNOWN.sub("?", c) for c in flat)

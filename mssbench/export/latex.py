r"""Export to LaTeX: a table for each size, batch, precision and phase, for use in a paper.

The tables need the package booktabs: \usepackage{booktabs}.
"""

import re
from collections.abc import Iterator
from math import isfinite

from mssbench.analysis import decision
from mssbench.analysis.decision import PLACE, Board, Line, Mark
from mssbench.analysis.kinds import DOUBTFUL
from mssbench.analysis.trust import Trust, trust
from mssbench.export import Exported
from mssbench.records import units
from mssbench.records.cell import WALL
from mssbench.results.labels import spoken
from mssbench.results.table import typed
from mssbench.results.views import Rows

# Characters that LaTeX takes for commands, that its default fonts print as others, or lack.
_SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "κ": r"$\kappa$",
    "≤": r"$\leq$",
    **{character: f"\\{character}" for character in "&%$#_{}"},
}
# What a file that LaTeX reads without further packages may contain besides `_SPECIAL`.
_UNKNOWN = re.compile(r"[^\x20-\x7e\n]")

_UNSURE = r"$\sim$"  # before a time that varies much, for which tables of the terminal have ~


def text(what: Exported) -> str:
    """Return a LaTeX table for each place of a run: the methods with their times and errors.

    A place is a function, precision, device, size and batch; each has a table for forwards and one
    for steps. Only the wall clock counts. If times cannot be compared, a comment and every caption
    say why.
    """
    import pandas as pd

    rows = what.rows
    frame = rows.frame if isinstance(rows, Rows) else typed(pd.DataFrame(rows))
    boards = [board for board in decision.boards(frame) if board.clock == WALL]
    lines = [f"% Measured by mssbench, run {escaped(what.name)}. Needs \\usepackage{{booktabs}}."]
    reliability = trust(frame, what.facts)
    if boards and not reliability.comparable:
        lines.append(f"% Warning: {_warning(reliability)}")
    if not boards:
        lines.append("% There is no table, because no row has a time on the wall clock.")
    for board in boards:
        lines += _table(board, what.name, reliability)
    return "\n".join(lines) + "\n"


def _warning(reliability: Trust) -> str:
    """Return the sentences for a run whose times cannot be compared."""
    return f"The machine {escaped(reliability.why_not)}. These times cannot be compared."


def _table(board: Board, run: str, reliability: Trust) -> Iterator[str]:
    """Yield the lines of the table of one board.

    run: the name of the run. reliability: whether its times can be compared.
    """
    kinds = list(board.kinds.values())
    error = "gradient" if board.phase == "step" else "root"
    headings = [escaped(f"{kind.name} {kind.heading}".strip()) for kind in kinds]

    yield ""
    yield r"\begin{table}"
    yield r"\centering"
    yield f"\\caption{{{_caption(board, error, reliability)}}}"
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
        errors = [_error(line.marks.get(k.name), doubtful=k.doubt > DOUBTFUL) for k in kinds]
        time = (_UNSURE if line.unsure else "") + units.digits(1e3 * line.seconds)
        yield f"{' & '.join([_method(line), time, *errors])} \\\\"
    yield r"\bottomrule"
    yield r"\end{tabular}"
    yield r"\end{table}"


def _caption(board: Board, error: str, reliability: Trust) -> str:
    """Return the caption: what was measured where, what the numbers are, and their doubts."""
    phase = "Root and gradient" if board.phase == "step" else "Root alone"
    place = ", ".join(spoken(name, board.place[name]) for name in PLACE)
    doubted = any(kind.doubt > DOUBTFUL for kind in board.kinds.values())
    further = []
    if any(line.unsure for line in board.lines):
        further.append(rf" Times with {_UNSURE} vary by more than 30\,\%.")
    if not reliability.comparable:
        further.append(f" {_warning(reliability)}")
    return (
        f"{phase}: {escaped(place)}. Time is the geometric mean of the medians over all matrices; "
        f"errors are the largest relative Frobenius errors of the {error}"
        f"{'; with ?, no reference is exact enough to tell' if doubted else ''}."
        f"{''.join(further)}"
    )


def _label(board: Board, run: str) -> str:
    """Return a unique label, such as `tab:quick-step-sqrt-float32-cpu-64-64`."""
    words = [run, board.phase, *(str(board.place[name]) for name in PLACE)]
    return "tab:" + "-".join(re.sub(r"[^A-Za-z0-9.]+", "-", word).strip("-") for word in words)


def _method(line: Line) -> str:
    """Return the name of a method, and the precision that it computes in if that is another one.

    Other tables shorten the name of the backward. A paper names the one that readers can call.
    """
    forward, plus, rest = line.name.partition(" + ")
    words = [str(line.row["backward"]), *rest.split(" ")[1:]] if plus else []
    computed_in = f" (computed in {line.computed_in})" if line.computed_in else ""
    return escaped(forward + plus + " ".join(words) + computed_in)


def _error(mark: Mark | None, *, doubtful: bool) -> str:
    """Return the error of a method on one kind of matrix, or why it has none.

    An error above the limit of the run is in parentheses after the word `wrong` in italics.
    doubtful: whether the reference of this kind is too inaccurate to say; then the text is `?`.
    """
    if mark is None:
        return "--"
    if mark.error is None:
        return escaped(mark.word or "unknown")
    if doubtful:
        return "?"
    number = _power(mark.error)
    return number if mark.right else f"\\textit{{wrong}} ({number})"


def _power(error: float) -> str:
    r"""Return a number with one digit and a power of ten: `$2\times10^{-4}$`; `0` for zero."""
    if not error or not isfinite(error):
        return f"{error:g}"
    digit, _, exponent = f"{error:.0e}".partition("e")
    return f"${digit}\\times10^{{{int(exponent)}}}$"


def escaped(text: str) -> str:
    """Return a text escaped so that LaTeX prints it literally; `?` for what it cannot print."""
    flat = units.harmless(" ".join(text.split()))
    return "".join(_SPECIAL.get(c) or _UNKNOWN.sub("?", c) for c in flat)

"""`frame.mssbench`: what a DataFrame of results says, in a notebook or a script.

`mssbench.load` and `mssbench.run` make it available. For a frame that another process has stored,
`import mssbench.report.accessor` does.
"""

import warnings
from collections.abc import Iterator
from html import escape
from typing import TYPE_CHECKING, Any

import pandas as pd

from mssbench.analysis import advice, decision, pareto
from mssbench.analysis.decision import Board, Line
from mssbench.analysis.kinds import DOUBTFUL
from mssbench.analysis.naming import call_text
from mssbench.analysis.trust import Trust, trust
from mssbench.errors import TableError
from mssbench.records import units
from mssbench.records.facts import machine
from mssbench.records.schema import COLUMNS
from mssbench.report import carried
from mssbench.report.drawn import Measured, table_of
from mssbench.results import conditions
from mssbench.results.labels import spoken, with_labels

if TYPE_CHECKING:
    import altair as alt

_NAME = "mssbench"  # of the attribute of a DataFrame
_MOST_LINES = 20  # methods that the table in a notebook lists: about one screen
_PLACE = (*decision.PLACE, "phase", "clock")
# The order in which the caption of a table names its place.
_CAPTION = ("phase", "function", "precision", "size", "batch", "device")
_MOST_NAMED = 5  # missing columns that a message names before it counts the others


class Results:
    """What the rows of a DataFrame say: figures, fronts, and the best method at each place.

    * `plot(figure="front", where=None)` draws a figure as an Altair chart
    * `pareto(all=False)` lists the methods that no other one beats in time and error
    * `best()` names the method to use for each size, batch, precision and phase
    * in a notebook, `frame.mssbench` alone shows the table that `mssbench run` prints

    They use the rows of the frame, so that `frame[frame["size"] == 64].mssbench` is about one size.
    """

    def __init__(self, frame: "pd.DataFrame") -> None:
        """Take a frame of `mssbench.load`. Raises AttributeError if it lacks columns of one."""
        missing = [name for name in COLUMNS if name not in frame.columns]
        if missing:
            more = len(missing) - _MOST_NAMED
            named = ", ".join(missing[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
            # pandas expects this error of an accessor that does not fit a frame.
            raise AttributeError(
                "frame.mssbench needs the columns of a table that mssbench.load returns; "
                f"missing: {named}. Select rows rather than columns."
            )
        self._frame = frame

    def _runs(self) -> list[Measured]:
        """Return the rows of the frame by run, with labels. Raises TableError if it has none.

        They are not kept: pandas keeps this object with the frame, whose rows may change.
        """
        runs = [run for run in carried.runs_of(self._frame) if len(run.rows)]
        if not runs:
            raise TableError("the frame has no row of a run.")
        return [run._replace(rows=with_labels(_plain(run.rows))) for run in runs]

    def plot(self, figure: str = "front", where: str | None = None) -> "alt.ConcatChart":
        """Return a figure as an Altair chart, which a notebook shows and which `.save` writes.

        figure: what to draw, one of the figures of `mssbench plot`: front, failures, winners,
        limit, size, batch, condition, iterations or history. where: a condition on the columns;
        only rows for which it holds are drawn, such as "phase == 'step' and batch == 64". Without
        it, steps in float32 by the wall clock are drawn, if the frame has such rows.

        Raises RunError if a package for figures is missing, and TableError for an unknown figure,
        a wrong condition, or if there is nothing to draw.
        """
        from mssbench.report.packages import require

        require()
        from mssbench.report import draw
        from mssbench.report.cautions import cautions

        wanted = draw.figure_named(figure)
        frame = self._frame
        if where is not None:
            frame = conditions.chosen(frame, where, "where")
        runs = Results(frame)._runs()
        table = table_of(runs)
        rows = draw.usual_rows(wanted, table)[0] if where is None else table
        remarks = [caution.short for caution in cautions(runs)] if wanted.times else []
        specification = draw.specification(wanted, rows, remarks, option="where")
        return _chart(specification)

    def pareto(self, all: bool = False) -> "pd.DataFrame":  # noqa: A002  (as on the command line)
        """Return the methods that no other one beats in time and error, one row for each.

        A front is found for each size, batch, precision, function and phase, and for each kind of
        matrix. all: whether to return also the methods that are beaten, or not right. The column
        `standing` says which; `by` names the method that beats a method, or may do so, and `why`
        says why a method is not right. Seconds are geometric means over the problems of the kind.

        Warns if times cannot be compared. Raises TableError if no row has a time.
        """
        records, runs = [], self._runs()
        for run in runs:
            reliability = trust(run.rows, run.facts)
            if not reliability.comparable:
                warnings.warn(
                    f"{run.name}: {advice.warning(reliability, 'fresh=True').strip()}", stacklevel=2
                )
            for record in pareto.as_data(pareto.fronts(run.rows)):
                if all or record["standing"] in (pareto.Standing.FRONT, pareto.Standing.UNDECIDED):
                    names = {"problems": ", ".join(record["problems"])}
                    records.append(_named(run, runs) | record | names)
        if not records:
            raise TableError("no row has the time of a forward or a step: there is no front.")
        return pd.DataFrame.from_records(records)

    def best(self) -> "pd.DataFrame":
        """Return the method to use for each size, batch, precision, device, function and phase.

        It is the fastest of the methods that are right on every kind of matrix that was measured
        there; of methods that are as fast, a much more accurate one is preferred. `seconds` is its
        geometric mean over the problems, and `error` its largest error: of the gradient in a step,
        else of the root. `next` is the fastest of the other right methods, and `ratio` its time
        divided by that of the best one. `call` is the Python call of the method. Where there is no
        best method, `method` is missing and `why` says why.

        Raises TableError if no row has a time.
        """
        records, runs = [], self._runs()
        for run in runs:
            reliability = trust(run.rows, run.facts)
            for board in _boards(run):
                place = board.place | {"phase": board.phase, "clock": board.clock}
                records.append(_named(run, runs) | place | _answer(board, reliability))
        if not records:
            raise TableError("no row has the time of a forward or a step.")
        return pd.DataFrame.from_records(records)

    def __repr__(self) -> str:
        """Return the advice on each run as text."""
        return "\n\n".join("\n".join(_as_text(run)) for run in self._runs())

    def _repr_html_(self) -> str:
        """Return the table of methods and the advice on each run, for a notebook."""
        runs = self._runs()
        return "\n".join(_as_html(run, several=len(runs) > 1) for run in runs)


def _chart(specification: dict[str, Any]) -> "alt.ConcatChart":
    """Return a Vega-Lite specification of several panels as an Altair chart.

    The layers of each panel stay as they are: `from_dict` would make an object of every part, and
    look for its place in the schema, which takes seconds.
    """
    import altair as alt

    ready = ("$schema", "concat", "params")
    chart = alt.ConcatChart(
        concat=[alt.LayerSpec(**panel) for panel in specification["concat"]],
        **{name: x for name, x in specification.items() if name not in ready},
    )
    chart.params = [alt.VariableParameter(**p) for p in specification["params"]]
    return chart


def _named(run: Measured, runs: list[Measured]) -> dict[str, str]:
    """Return the name of a run as a column, if there are several runs."""
    return {"run": run.name} if len(runs) > 1 else {}


def _plain(frame: "pd.DataFrame") -> "pd.DataFrame":
    """Return a frame whose index numbers its rows, and without its own short names of methods."""
    return frame.drop(columns=["method"], errors="ignore").reset_index(drop=True)


def _boards(run: Measured) -> list[Board]:
    """Return the boards of a run, see analysis/decision.py."""
    return decision.boards(run.rows, max_error=decision.max_error(run.rows, run.facts))


def _best(board: Board, reliability: Trust) -> Line | None:
    """Return the method to use at a place; None if there is none or times are unsure."""
    return decision.choose(board, reliability.drift) if reliability.comparable else None


def _answer(board: Board, reliability: Trust) -> dict[str, Any]:
    """Return the columns of `Results.best` for one place."""
    best = _best(board, reliability)
    if best is None:
        nothing = dict.fromkeys(("method", "seconds", "error", "next", "ratio", "call"))
        return nothing | {"why": _why_none(board, reliability)}

    others = [line for line in decision.right_lines(board) if line is not best]
    return {
        "method": best.name,
        "seconds": best.seconds,
        "error": board.worst(best),
        "next": others[0].name if others else None,
        "ratio": decision.ratio(others[0], best) if others else None,
        "call": call_text(best.row),
        "why": "",
    }


def _why_none(board: Board, reliability: Trust) -> str:
    """Return why there is no method to use at a place."""
    if not reliability.comparable:
        return f"The machine {reliability.why_not}. Its times cannot be compared."
    return _in_python(next(advice.sentences(board, None, reliability)).text)


# Options of the command line that advice mentions, and what they are in a call of mssbench.run.
_ARGUMENTS = {
    "--set precision=float64": 'set={"precision": "float64"}',
    "--fresh": "fresh=True",
    "The same command": "The same call of mssbench.run",
}


def _in_python(text: str) -> str:
    """Return a sentence of advice in which options of the command line are arguments of a call."""
    for option, argument in _ARGUMENTS.items():
        text = text.replace(option, argument)
    return text


def _heading(run: Measured) -> str:
    """Return the name of a run, its date and its machine: `quick · 2026-12-01 · AMD EPYC, ...`."""
    known = [run.facts["runs"].get(run_id, {}) for run_id in run.rows["run_id"].unique()]
    started = min((str(r["started"])[:10] for r in known if r.get("started")), default="")
    names = [e for e in run.rows["environment"].unique() if e]
    machines = [machine(run.facts["environments"].get(e), e) for e in names]
    return " · ".join(filter(None, [run.name, started, " and ".join(dict.fromkeys(machines))]))


def _caption(board: Board) -> str:
    """Return the place of a board: `step · sqrt · float32 · n = 64 · batch 64 · cpu`."""
    place = board.place | {"phase": board.phase}
    return " · ".join(spoken(name, place[name]) for name in _CAPTION)


def _alone(run: Measured) -> str:
    """Return the sentence on a run in which no two methods can be compared."""
    rows = units.count(len(run.rows), "row")
    return f"{rows}, but no place with two methods that have a time: there is nothing to choose."


def _as_text(run: Measured) -> Iterator[str]:
    """Yield the lines of the advice on a run."""
    yield _heading(run)
    boards = _boards(run)
    board = decision.main_board(boards)
    if board is None:
        yield _alone(run)
        return
    reliability = trust(run.rows, run.facts)
    if not reliability.comparable:
        yield advice.warning(reliability, "fresh=True").strip()
    yield _caption(board)
    for sentence in advice.sentences(board, _best(board, reliability), reliability):
        yield f"    {sentence.text}" if sentence.code else _in_python(sentence.text)


def _as_html(run: Measured, *, several: bool) -> str:
    """Return a table of methods and the advice on a run as HTML. several: whether runs follow."""
    boards = _boards(run)
    board = decision.main_board(boards)
    parts = [f'<div style="color:gray">{escape(_heading(run))}</div>']
    if board is None:
        return _div([*parts, f"<p>{escape(_alone(run))}</p>"])

    reliability = trust(run.rows, run.facts)
    best = _best(board, reliability)
    if not reliability.comparable:
        parts.append(_sentence(advice.warning(reliability, "fresh=True").strip(), "bold yellow"))
    parts += _table(board, best, reliability)
    for sentence in advice.sentences(board, best, reliability):
        if sentence.code:
            parts.append(f"<pre>{escape(sentence.text)}</pre>")
        else:
            parts.append(_sentence(_in_python(sentence.text), sentence.style))

    elsewhere = list(advice.elsewhere(boards, board, reliability.drift))
    if elsewhere and reliability.comparable and not several:
        lines = "".join(f"<li>{escape(line)}</li>" for line in elsewhere)
        parts.append(
            f"<details><summary>Other sizes, batches and phases</summary><ul>{lines}</ul></details>"
        )
    return _div(parts)


def _div(parts: list[str]) -> str:
    return f'<div class="mssbench">{"".join(parts)}</div>'


def _sentence(text: str, style: str) -> str:
    """Return a sentence as a paragraph; the style is that of the terminal."""
    weight = "bold" if "bold" in style else "normal"
    lines = "<br>".join(escape(line) for line in text.split("\n"))
    return f'<p style="font-weight:{weight};margin:4px 0">{lines}</p>'


def _table(board: Board, best: Line | None, reliability: Trust) -> Iterator[str]:
    """Yield the table of the methods at one place: time, ratio, and error on each kind of matrix.

    Methods that are right on every kind stand first, each group from fast to slow. Those that are
    right on none are grey.
    """
    right = decision.right_lines(board)
    lines = [*right, *(line for line in board.lines if line not in right)]
    base = best or lines[0]
    heads = ["method", "time", "time ÷ best"]
    heads += [f"{kind.name} {kind.heading}".strip() for kind in board.kinds.values()]

    error = "gradient" if board.phase == "step" else "root"
    yield '<table><caption style="text-align:left">'
    yield f"{escape(_caption(board))}; relative error of the {error} on each kind of matrix"
    yield f"</caption><thead><tr>{''.join(map(_head, heads))}</tr></thead><tbody>"
    for line in lines[:_MOST_LINES]:
        cells = [
            line.name,
            ("~" if line.unsure else "") + units.seconds(line.seconds),
            _ratio(line, base, reliability),
            *(_error(line, name, kind.doubt > DOUBTFUL) for name, kind in board.kinds.items()),
        ]
        style = "font-weight:bold" if line is best else "" if board.right(line) else "color:gray"
        yield f'<tr style="{style}">{"".join(map(_cell, cells))}</tr>'
    yield "</tbody></table>"
    if len(lines) > _MOST_LINES:
        yield _sentence(f"{len(lines) - _MOST_LINES} more methods are not listed.", "dim")
    yield _sentence(_legend(board), "dim")


def _head(text: str) -> str:
    return f"<th>{escape(text)}</th>"


def _cell(text: str) -> str:
    return f"<td>{escape(text)}</td>"


def _ratio(line: Line, base: Line, reliability: Trust) -> str:
    """Return the time of a method divided by the best one's: `1.7x`, `=` for a tie."""
    if not reliability.comparable:
        return "?"
    if line is not base and decision.tied(line, base, reliability.drift):
        return "="
    return f"{decision.ratio(line, base):.1f}x"


def _error(line: Line, kind: str, doubtful: bool) -> str:
    """Return a method's error on a kind of matrix, with a cross if it is not right."""
    mark = line.marks.get(kind)
    if mark is None:
        return "-"
    if mark.word:
        return f"✗ {mark.word}"
    if mark.error is None:
        return "-"
    if doubtful:
        return "?"
    return units.error(mark.error) if mark.right else f"✗ {advice.wrong(mark.error)}"


def _legend(board: Board) -> str:
    """Return what the signs of the table mean."""
    words = [f"✗ not right: above {board.limit:g}, or without a number", "= a tie"]
    if any(line.unsure for line in board.lines):
        words.append("~ varies by more than 30 %")
    if any(kind.doubt > DOUBTFUL for kind in board.kinds.values()):
        words.append("? no reference is exact enough to say")
    return " · ".join(words)


pd.api.extensions.register_dataframe_accessor(_NAME)(Results)

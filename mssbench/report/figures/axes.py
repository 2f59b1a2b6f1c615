"""The axes of figures, whose ends and ticks are parameters of a chart."""

from collections.abc import Iterable, Sequence
from math import ceil, floor, isfinite, log10
from typing import Literal, NamedTuple

import altair as alt


class Axis(NamedTuple):
    """A quantitative axis whose ends and ticks are parameters of the chart.

    column: the column that is drawn along it. title: with the unit.
    labels: a Vega expression for the text of a tick. log: whether the axis is logarithmic.
    ticks: "round" for round numbers, or "values" for the values that occur.
    also: further columns whose values the axis must include, such as the ends of an interval.
    empty: the ends of the axis if there is no value that it can show.
    """

    column: str
    title: str
    labels: str = "format(datum.value, '~g')"
    log: bool = True
    ticks: str = "round"
    also: tuple[str, ...] = ()
    empty: tuple[float, float] = (1.0, 10.0)


# A time is written with its unit as in tables, see records/units.py: 20 us, 3 ms, 2 s.
_TIME_LABELS = (
    "datum.value >= 1 ? format(datum.value, '~g') + ' s' "
    ": datum.value >= 1e-3 ? format(datum.value * 1e3, '~g') + ' ms' "
    ": format(datum.value * 1e6, '~g') + ' us'"
)
TIME = Axis("seconds_median", "time per call", _TIME_LABELS, also=("seconds_low", "seconds_high"))
# Powers of ten as in the tables, 1e-5 and 1e6, but 1, 2, 5, 10, ... up to 100 in full.
POWER_LABELS = (
    "datum.value >= 1 && datum.value <= 100 ? format(datum.value, '~g') "
    ": replace(format(datum.value, '.0e'), '+', '')"
)
# If every error is 0, the axis ends at 1, and the symbols are drawn at its lower end.
ERROR = Axis("error", "relative error", POWER_LABELS, empty=(1e-17, 1.0))
CONDITION = Axis("condition", "condition number κ", POWER_LABELS)
SIZE = Axis("size", "size n of the matrices", ticks="values")
BATCH = Axis("batch", "matrices in the batch", ticks="values")
ITERATIONS = Axis("iterations", "iterations", log=False, ticks="values")
LIMIT = Axis("times_limit", "time ÷ shortest possible time", "format(datum.value, '~g') + 'x'")


def error_title(phases: Iterable[str]) -> str:
    """Return the title of the axis of errors: of the root in forwards, else of the gradient."""
    quantities = {"root" if phase == "forward" else "gradient" for phase in phases}
    return f"{ERROR.title} of the {quantities.pop()}" if len(quantities) == 1 else ERROR.title


def ends(axis: Axis, values: Sequence[float]) -> tuple[float, float, list[float]]:
    """Return the lower end, the upper end and the ticks of an axis on which values are drawn.

    The page has the same function in JavaScript, page/axes.js, since a filter changes the values.
    """
    drawn = sorted({v for v in values if isfinite(v) and (v > 0 or not axis.log)})
    if not drawn:
        return (*axis.empty, [*axis.empty])

    low, high = drawn[0], drawn[-1]
    if axis.ticks == "values":
        margin = (high / low) ** 0.05 if axis.log else 0.05 * (high - low)
        if high == low:
            margin = 1.5 if axis.log else 1.0
        return (
            (low / margin, high * margin, drawn)
            if axis.log
            else (low - margin, high + margin, drawn)
        )
    return _round_ends(low, high)


def _round_ends(low: float, high: float) -> tuple[float, float, list[float]]:
    """Return ends around two values, and the ticks between them.

    The ends are one, two or five times a power of ten, so that little of the axis is empty. The
    ticks are powers of ten, or also two and five times these if the range is short.
    """
    low = min(max(low / _MARGIN, _LEAST), _MOST / 10)
    high = min(max(high * _MARGIN, _LEAST * 10), _MOST)
    first, last = floor(log10(low)) - 1, ceil(log10(high)) + 1
    round_numbers = [float(f"{m}e{k}") for k in range(first, last + 1) for m in (1, 2, 5)]
    start = max(x for x in round_numbers if x <= low)
    end = min(x for x in round_numbers if x >= high)

    inside = [x for x in round_numbers if start <= x <= end]
    if high / low < _SHORT:
        return start, end, inside
    decades = [k for k in range(first, last + 1) if start <= float(f"1e{k}") <= end]
    every = ceil(len(decades) / _MOST_DECADES)
    return start, end, [float(f"1e{k}") for k in decades if k % every == 0]


_LEAST, _MOST = 1e-300, 1e300  # ends of any axis: beyond them, numbers round to 0 or to infinity
_MARGIN = 1.1  # between a value and the end of its axis, so that its symbol lies within the frame
_MOST_DECADES = 5  # labels of an axis over several decades; more of them would touch each other
_SHORT = 60.0  # below this ratio of its ends, an axis of powers of ten would have one or two labels


def position(letter: str, axis: Axis, field: str = "") -> alt.X | alt.Y:
    """Return the encoding of an axis whose ends and ticks are the parameters of a chart.

    letter: "x" or "y". field: what is drawn, if it is not the column of the axis.
    """
    channel = alt.X if letter == "x" else alt.Y
    kind: Literal["log", "linear"] = "log" if axis.log else "linear"
    domain = alt.ExprRef(f"[{letter}_low, {letter}_high]")
    scale = alt.Scale(type=kind, domain=domain, nice=False)
    lines = alt.Axis(
        title=axis.title,
        values=alt.ExprRef(f"{letter}_ticks"),
        labelExpr=axis.labels,
        labelOverlap=True,
        labelFlush=False,  # a label stands below its tick also at the ends of the axis
    )
    return channel(f"{field or axis.column}:Q", scale=scale, axis=lines)


def parameters() -> list[alt.Parameter]:
    """Return the parameters that `position` refers to, with values that are replaced."""
    return [
        alt.param(name=f"{letter}_{end}", value=value)
        for letter in "xy"
        for end, value in (("low", 1.0), ("high", 10.0), ("ticks", [1.0, 10.0]))
    ]

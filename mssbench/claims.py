"""What a source claims -> a verdict from the rows of a run.

A claim compares two selections of rows (`left`, `right`), or one selection with a number, or one
(`where`) with figures the source has published. It is decided where everything but the method is
equal: at a *point*, which is the rest of a row's key. Seeds repeat a point: a method's figure there
is its mean over them. Every row of one side meets every row of the other at the same point.

A claim holds only where it was measured, and a method that failed cannot win:

* ok, inaccurate       count; `at_error` leaves each side its fastest row that is accurate enough,
                       and a side without one cannot win either
* failed               infinitely bad for the side that should be smaller. For the other side an
                       error is infinite if the root or gradient is; a time or a size is no figure
* absent, interrupted  no figure
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from enum import StrEnum
from math import inf, isfinite
from typing import Any, NamedTuple

import pandas as pd

from mssbench.errors import RegistryError, SuiteError, TableError, unknown
from mssbench.expression import compared, select
from mssbench.labels import METHOD, with_labels
from mssbench.pivot import PHASES, spoken
from mssbench.ranges import as_list
from mssbench.records import KEY, SCHEMA, Cell, Status, uniform

VALUES = tuple(c.name for c in SCHEMA if c.kind == "float")
POINT = tuple(name for name in KEY if name not in (*METHOD, "seed"))
_ERRORS = tuple(c.name for c in SCHEMA if c.group == "error")
_USABLE = (Status.OK, Status.INACCURATE)
_WRONG = (Status.NONFINITE, Status.DIVERGED)
_FAILED = (*_WRONG, Status.OOM, Status.TIMEOUT, Status.CRASHED)
_RELATIONS = ("<", "<=", ">", ">=")
_OVER = ("every", "median")
_NAMES = ("library", "forward", "backward", "backend", "pair")  # those of the suite's methods
_CLOSED = {
    "device": ("cpu", "cuda"), "phase": PHASES, "clock": ("wall", "gpu"), "cache": ("hot",),
}  # fmt: skip


class Verdict(StrEnum):
    """What became of a claim in a run."""

    HOLDS = "holds"
    FAILS = "does not hold here"
    UNMEASURED = "not measured"


@dataclass(frozen=True)
class Claim:
    """A checked [[claim]]. Its fields are the keys of the table."""

    claim: str  # a sentence
    source: str
    value: str  # the column that is compared
    left: str = ""  # condition over the key columns
    relation: str = ""
    right: str | float = ""  # condition, or a number
    factor: float = 1.0  # left * factor < right; left > right * factor
    over: str = "every"  # every point, or the median of their ratios
    at_error: float | None = None  # of the root in a forward, else of the gradient
    apart: Sequence[str] = ()  # columns of the point in which the sides differ on purpose
    where: str = ""  # condition, instead of left
    published: Mapping[str, Any] = field(default_factory=dict)  # column -> values, figure -> values
    within: float | None = None  # relative distance from the published figure

    @property
    def entries(self) -> list[dict[str, Any]]:
        """The published figures: values of columns, and the figure there."""
        lists = [as_list(v) for v in self.published.values()]
        return [dict(zip(self.published, each, strict=True)) for each in zip(*lists, strict=True)]

    @property
    def conditions(self) -> dict[str, str]:
        """Its conditions over key columns, by key."""
        given = {key: getattr(self, key) for key in ("where", "left", "right")}
        return {key: text for key, text in given.items() if isinstance(text, str) and text}

    @property
    def left_wins(self) -> bool:
        """Whether the left side is the one that should be smaller."""
        return not self.relation.startswith(">")


_KEYS = tuple(f.name for f in fields(Claim))


class Side(NamedTuple):
    """A method and its figure at a point; a number has no method."""

    method: str | None
    figure: float
    error: float | None  # beside a figure that is no error itself
    failed: str  # the status that made the figure infinite


class Point(NamedTuple):
    """Where two sides meet, or a side and a published figure."""

    at: Mapping[str, Any]
    left: Side
    right: Side
    ratio: float  # left / right
    holds: bool


class Published(NamedTuple):
    """A published figure; of a comparison it is the ratio left / right."""

    at: Mapping[str, Any]
    figure: float
    here: float | None


@dataclass(frozen=True)
class Finding:
    """A claim, its verdict, and the points that decide it, worst first."""

    claim: Claim
    verdict: Verdict
    points: Sequence[Point] = ()
    median: float | None = None  # of the ratios
    published: Sequence[Published] = ()
    why: str = ""  # it is not measured


def read(tables: Any) -> list[Claim]:
    """The [[claim]] tables of a suite, checked. Raises SuiteError naming table and key."""
    if not isinstance(tables, list):
        raise SuiteError("'claim' is a list of tables: write [[claim]].")
    found = []
    for number, table in enumerate(tables, 1):
        with _numbered(number):
            found.append(_read(table))
    return found


def check(tables: Any, cells: Iterable[Cell], axis: Callable[[str, Any], list[Any]]) -> None:
    """Raise SuiteError for a claim with a word that no row of a suite could have.

    cells: of the suite. axis: (name, value) -> the value of an axis as cells have it. Which values
    the suite has of an axis does not matter: an override may take them away.
    """
    rows = [m.row() for cell in cells for m in uniform(cell, Status.INTERRUPTED, "")]
    steps = dict.fromkeys(("iterations", "backward_iterations"), "Int64")
    planned = with_labels(pd.DataFrame(rows, columns=list(KEY)).astype(steps))
    for number, claim in enumerate(read(tables), 1):
        with _numbered(number):
            _check_rows(claim, planned, axis)


def judge(tables: Any, frame: pd.DataFrame) -> list[Finding]:
    """What became of each claim in a result table. Raises SuiteError naming table and key."""
    frame, found = with_labels(frame), []
    for number, claim in enumerate(read(tables), 1):
        with _numbered(number):
            found.append(_judge(claim, frame))
    return found


@contextmanager
def _numbered(number: int) -> Iterator[None]:
    """Name the table that an error comes from."""
    try:
        yield
    except (SuiteError, TableError, RegistryError) as error:
        raise SuiteError(f"[[claim]] {number}: {error}") from None


def _judge(claim: Claim, frame: pd.DataFrame) -> Finding:
    """The verdict on a claim, from rows with labels.

    Raises TableError for a condition that the table cannot answer.
    """
    left = _side(claim, frame, "where" if claim.where else "left", wins=claim.left_wins)
    if claim.where:
        pairs = _with_entries(claim, left)
    elif isinstance(claim.right, str):
        right = _side(claim, frame, "right", wins=not claim.left_wins)
        pairs = left.merge(right, on=_shared(claim), suffixes=("", "_right"))
    else:
        pairs = left.assign(figure_right=float(claim.right))
    pairs = _weighed(claim, pairs)
    if pairs.empty:
        return Finding(claim, Verdict.UNMEASURED, published=_published(claim, pairs),
                       why=_why(claim, frame))  # fmt: skip
    published = _published(claim, pairs)
    decisive = pairs["margin"].max() if claim.over == "every" else pairs["margin"].median()
    verdict = Verdict.HOLDS if _meets(claim, decisive) else Verdict.FAILS
    why = ""
    if claim.where and verdict is Verdict.HOLDS and any(p.here is None for p in published):
        missing = sum(p.here is None for p in published)
        verdict, why = Verdict.UNMEASURED, f"{missing} of {len(published)} figures have no row"
    points = [_point(claim, row) for row in pairs.to_dict("records")]
    return Finding(claim, verdict, points, float(pairs["ratio"].median()), published, why)


def _side(claim: Claim, frame: pd.DataFrame, key: str, *, wins: bool) -> pd.DataFrame:
    """The figures of one side: a row for every method at every point."""
    rows = _chosen(claim, key, frame)
    errors = claim.value in _ERRORS
    infinite = _FAILED if wins else _WRONG if errors else ()
    status = rows["status"]
    failed = status.where(status.isin(infinite), "")
    figure = rows[claim.value].where(status.isin(_USABLE)).mask(failed != "", inf)
    error = rows["root_error"].where(rows["phase"] == "forward", rows["gradient_error"])
    if claim.at_error is not None:  # where no gradient exists, none can be accurate
        figure = figure.mask(error.isna() & (failed == ""))
    rows = rows.assign(figure=figure, failed=failed, error=error.fillna(inf))
    side = (
        rows[figure.notna()]
        .groupby([*METHOD, *POINT], dropna=False, sort=False, as_index=False)
        .agg(method=("method", "first"), figure=("figure", "mean"), error=("error", "max"),
             failed=("failed", "max"))
    )[[*POINT, "method", "figure", "error", "failed"]]  # fmt: skip
    if claim.at_error is None:
        return side
    late = side["error"] > claim.at_error
    side["figure"] = side["figure"].mask(late, inf if wins else float("nan"))
    side["failed"] = side["failed"].mask(late & (side["failed"] == ""), "inaccurate")
    return side.dropna(subset="figure").sort_values("figure").drop_duplicates(list(POINT))


def _with_entries(claim: Claim, side: pd.DataFrame) -> pd.DataFrame:
    """Every figure beside the published one it belongs to."""
    entries = pd.DataFrame(claim.entries).rename(columns={"figure": "figure_right"})
    on = [name for name in claim.published if name != "figure"]
    return side.merge(entries, on=on) if on else side.merge(entries, how="cross")


def _weighed(claim: Claim, pairs: pd.DataFrame) -> pd.DataFrame:
    """The pairs with their ratio, and with their margin: below 1 the claim holds; worst first."""
    left, right = pairs["figure"], pairs["figure_right"]
    ratio = (left / right).mask(left == right, 1.0)
    if claim.where:
        margin = (ratio - 1).abs() / claim.within
    else:
        margin = ratio * claim.factor if claim.left_wins else claim.factor / ratio
        margin = margin.mask((left if claim.left_wins else right) == inf, inf)
    return pairs.assign(ratio=ratio, margin=margin).sort_values(
        "margin", ascending=False, kind="stable"
    )


def _meets(claim: Claim, margin: float) -> bool:
    return margin < 1 or (margin == 1 and claim.relation not in ("<", ">"))


def _point(claim: Claim, row: Mapping[str, Any]) -> Point:
    shown = claim.value not in _ERRORS

    def side(end: str) -> Side:
        method, error = row.get(f"method{end}"), row.get(f"error{end}")
        if method is not None:
            method = " ".join([method, *(spoken(n, row[f"{n}{end}"]) for n in claim.apart)])
        known = shown and error is not None and isfinite(error)
        failed = row.get(f"failed{end}") or ""
        return Side(method, float(row[f"figure{end}"]), error if known else None, failed)

    at = {name: row[name] for name in _shared(claim)}
    return Point(at, side(""), side("_right"), float(row["ratio"]), _meets(claim, row["margin"]))


def _published(claim: Claim, pairs: pd.DataFrame) -> list[Published]:
    """Each published figure, and the median of what was measured there."""
    found = []
    for entry in claim.entries:
        at = {k: v for k, v in entry.items() if k != "figure"}
        here = pairs[_at(pairs, at)]["figure" if claim.where else "ratio"]
        found.append(Published(at, entry["figure"], float(here.median()) if len(here) else None))
    return found


def _at(frame: pd.DataFrame, at: Mapping[str, Any]) -> pd.Series:
    """Which rows have these values."""
    same = pd.Series(True, index=frame.index)
    for name, value in at.items():
        same &= frame[name] == value
    return same


def _why(claim: Claim, frame: pd.DataFrame) -> str:
    """Which side has no figure, and how its rows ended."""
    for key in claim.conditions:
        wins = claim.left_wins == (key != "right")
        if _side(claim, frame, key, wins=wins).empty:
            counts = _chosen(claim, key, frame)["status"].value_counts()
            ended = ", ".join(f"{n} {status}" for status, n in counts.items())
            accurate = f" at an error of {claim.at_error:g}" if claim.at_error else ""
            return f"{key} has no figure{accurate} ({ended or 'no row'})"
    return "no published figure has a row" if claim.where else "no point has both sides"


def _chosen(claim: Claim, key: str, frame: pd.DataFrame) -> pd.DataFrame:
    try:
        return select(frame, getattr(claim, key))
    except TableError as error:
        raise TableError(f"{key} {error}") from None


def _shared(claim: Claim) -> list[str]:
    return [name for name in POINT if name not in claim.apart]


def _check_rows(claim: Claim, planned: pd.DataFrame, axis: Callable[[str, Any], list[Any]]) -> None:
    chosen = {}
    for key, text in claim.conditions.items():
        chosen[key] = _chosen(claim, key, planned)
        for column, value in compared(text):
            _check_value(column, value, planned, axis)
    for column, values in claim.published.items():
        for value in as_list(values) if column != "figure" else ():
            _check_value(column, value, planned, axis)
    if (
        all(len(rows) for rows in chosen.values())
        and "right" in chosen
        and chosen["left"].merge(chosen["right"], on=_shared(claim)).empty
    ):
        raise SuiteError(
            "left and right share no point. Name the columns in which they differ: apart = [...]."
        )


def _check_value(
    column: str, value: Any, planned: pd.DataFrame, axis: Callable[[str, Any], list[Any]]
) -> None:
    """A misspelt word would leave the claim unmeasured, without a sound."""
    if column in _NAMES or column in _CLOSED:
        known = _CLOSED.get(column) or planned[column].unique().tolist()
        _check_words(column, [value], known)
    elif column in POINT and (spelled := axis(column, value)) != [value]:
        raise SuiteError(f"{column} {value!r} is {spelled[0]!r} in a table.")


def _read(table: Any) -> Claim:
    if not isinstance(table, dict):
        raise SuiteError("it is no table: write [[claim]].")
    for key in table:
        if key not in _KEYS:
            raise SuiteError(unknown("key", key, _KEYS))
    figures = "where" in table
    needed = ("published", "within") if figures else ("left", "relation", "right")
    for key in ("claim", "source", "value", *needed):
        if key not in table:
            raise SuiteError(
                f"no {key!r}. A claim has claim, source, value, and either left, relation, right "
                "or where, published, within."
            )
    alien = ("left", "relation", "right", "factor", "at_error", "apart") if figures else ("within",)
    for key in alien:
        if key in table:
            raise SuiteError(f"{key!r} does not go with {'where' if figures else 'left'!r}.")
    for key in ("claim", "source", "value", "left", "relation", "where", "over"):
        if key in table and (not isinstance(table[key], str) or not table[key].strip()):
            raise SuiteError(f"{key} = {table[key]!r} is not a text.")
    _check_words("value", [table["value"]], VALUES)
    _check_words("relation", [table.get("relation", "<")], _RELATIONS)
    _check_words("over", [table.get("over", "every")], _OVER)
    _check_words("column", as_list(table.get("apart", [])), POINT, "apart: ")
    if not isinstance(table.get("right", 1.0), str):
        _check_number("right", table.get("right", 1.0), "a condition or a number above 0")
    elif not table["right"].strip():
        raise SuiteError(f"right = {table['right']!r} is not a text.")
    for key in ("factor", "at_error", "within"):
        _check_number(key, table.get(key, 1.0))
    if "at_error" in table and table["value"] in _ERRORS:
        raise SuiteError(
            f"at_error is for a time or a size; {table['value']!r} is itself an error."
        )
    _check_published(table.get("published", {"figure": 1.0}))
    return Claim(**{**table, "apart": as_list(table.get("apart", []))})


def _check_words(what: str, words: Sequence[Any], known: Sequence[str], where: str = "") -> None:
    for word in words:
        if word not in known:
            raise SuiteError(where + unknown(what, word, known))


def _check_number(key: str, value: Any, kind: str = "a number above 0") -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not 0 < value < inf:
        raise SuiteError(f"{key} = {value!r} is not {kind}.")


def _check_published(published: Any) -> None:
    if not isinstance(published, dict) or "figure" not in published:
        raise SuiteError("published is a table with 'figure': {size = [16, 32], figure = [1, 2]}.")
    _check_words("column", list(published), ("figure", *POINT), "published: ")
    for figure in as_list(published["figure"]):
        _check_number("published figure", figure)
    lengths = {name: len(as_list(values)) for name, values in published.items()}
    for name, length in lengths.items():
        if length != lengths["figure"] or not length:
            raise SuiteError(f"published: {lengths['figure']} of figure, but {length} of {name}.")

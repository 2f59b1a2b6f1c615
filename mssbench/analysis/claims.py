"""The verdict on what a source claims, from the rows of a run.

A claim compares two selections of rows (`left`, `right`), one selection with a number, or one
selection (`where`) with figures that the source has published. It is decided at *points*, where
everything but the method is equal: a point is the key of a row without the method and the seed. The
figure of a method at a point is its mean over the seeds, and every row of one side is compared with
every row of the other side at the same point.

A claim holds only where it was measured, and a method that failed cannot win:

* ok, inaccurate       The row has a figure. With `at_error` each side has only its fastest row that
                       is accurate enough, and a side without such a row cannot win.
* diverged             The same where the claim accepts it, as of a method that computes something
                       else than the root on purpose.
* failed               The figure is infinite for the side that should be smaller. For the other
                       side an error is infinite if the root or gradient is not finite or diverged;
                       there is no figure for a time or a size.
* absent, interrupted  The row has no figure.
* unverified           The row has no figure: its reference is not known to the limit of errors.

Two times that are not told apart are a tie: neither is faster, which a claim with < or > does not
survive, and neither is slower, so that one with <= or >= does.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import inf, isfinite
from typing import TYPE_CHECKING, Any, NamedTuple

from mssbench.records.measurement import Status
from mssbench.results.labels import METHOD, deltas, spoken, with_labels, with_outcomes
from mssbench.suite.claims import ERRORS, POINT, Claim, numbered, read

if TYPE_CHECKING:
    import pandas as pd

_USABLE = (Status.OK, Status.INACCURATE)
_WRONG = (Status.NONFINITE, Status.DIVERGED)
_FAILED = (*_WRONG, Status.OOM, Status.TIMEOUT, Status.CRASHED)


class ClaimVerdict(StrEnum):
    """Whether a claim holds in a run."""

    HOLDS = "holds"
    FAILS = "does not hold here"
    UNMEASURED = "not measured"


class ClaimSide(NamedTuple):
    """A method and its figure at a point; a number has no method."""

    method: str | None
    figure: float
    error: float | None  # beside a figure that is no error itself
    failed: str  # the status that made the figure infinite


class Point(NamedTuple):
    """Where two sides meet, or a side and a published figure."""

    at: Mapping[str, Any]
    left: ClaimSide
    right: ClaimSide
    ratio: float  # left / right
    holds: bool
    tied: bool = False  # two times that are not told apart


class Published(NamedTuple):
    """A published figure; of a comparison it is the ratio left / right."""

    at: Mapping[str, Any]
    figure: float
    here: float | None


@dataclass(frozen=True)
class Finding:
    """A claim, its verdict, and the points that decide it, worst first."""

    claim: Claim
    verdict: ClaimVerdict
    points: Sequence[Point] = ()
    median: float | None = None  # of the ratios
    published: Sequence[Published] = ()
    why: str = ""  # it is not measured


def judge_claims(tables: Any, frame: "pd.DataFrame") -> list[Finding]:
    """The verdict on each claim, from a result table. Raises SuiteError naming table and key."""
    frame, findings = with_labels(frame), []
    for number, claim in enumerate(read(tables), 1):
        with numbered(number):
            findings.append(_finding(claim, frame))
    return findings


def _finding(claim: Claim, frame: "pd.DataFrame") -> Finding:
    """The verdict on a claim, from rows with labels.

    Raises TableError for a condition that the table cannot answer.
    """
    left = _side(claim, frame, "where" if claim.where else "left", wins=claim.left_wins)
    if claim.where:
        pairs = _with_entries(claim, left)
    elif isinstance(claim.right, str):
        right = _side(claim, frame, "right", wins=not claim.left_wins)
        pairs = left.merge(right, on=claim.shared, suffixes=("", "_right"))
    else:
        pairs = left.assign(figure_right=float(claim.right))
    pairs = _weighed(claim, pairs)
    if pairs.empty:
        return Finding(
            claim,
            ClaimVerdict.UNMEASURED,
            published=_published(claim, pairs),
            why=_why(claim, frame),
        )

    published = _published(claim, pairs)
    decisive = pairs["margin"].max() if claim.over == "every" else pairs["margin"].median()
    verdict = ClaimVerdict.HOLDS if _meets(claim, decisive) else ClaimVerdict.FAILS
    why = ""
    if claim.where and verdict is ClaimVerdict.HOLDS and any(p.here is None for p in published):
        missing = sum(p.here is None for p in published)
        verdict, why = ClaimVerdict.UNMEASURED, f"{missing} of {len(published)} figures have no row"
    points = [_point(claim, row) for row in pairs.to_dict("records")]
    return Finding(claim, verdict, points, float(pairs["ratio"].median()), published, why)


def _side(claim: Claim, frame: "pd.DataFrame", key: str, *, wins: bool) -> "pd.DataFrame":
    """The figures of one side: a row for every method at every point."""
    rows = with_outcomes(claim.rows(key, frame))
    errors = claim.value in ERRORS
    infinite = {*(_FAILED if wins else _WRONG if errors else ())} - {*claim.accept}
    status, error = rows["ended"], rows["error"]
    failed = status.where(status.isin(infinite), "")
    known = status.isin([*_USABLE, *claim.accept])
    figure = rows[claim.value].where(known).mask(failed != "", inf)
    if claim.at_error is not None:  # what was not compared may not be called accurate
        figure = figure.mask(error.isna() & (failed == ""))
    timed = claim.value == "seconds_median"
    low, high = (rows[f"seconds_{end}"] if timed else figure for end in ("low", "high"))
    rows = rows.assign(figure=figure, failed=failed, low=low, high=high, delta=deltas(rows))
    side = (
        rows[figure.notna()]
        .groupby([*METHOD, *POINT], dropna=False, sort=False, as_index=False)
        .agg(
            method=("method", "first"),
            figure=("figure", "mean"),
            error=("error", "max"),
            failed=("failed", "max"),
            low=("low", "mean"),
            high=("high", "mean"),
            delta=("delta", "max"),
        )
    )[[*POINT, "method", "figure", "error", "failed", "low", "high", "delta"]]
    if claim.at_error is None:
        return side
    late = side["error"] > claim.at_error
    side["figure"] = side["figure"].mask(late, inf if wins else float("nan"))
    side["failed"] = side["failed"].mask(late & (side["failed"] == ""), "inaccurate")
    return side.dropna(subset="figure").sort_values("figure").drop_duplicates(list(POINT))


def _with_entries(claim: Claim, side: "pd.DataFrame") -> "pd.DataFrame":
    """Every figure beside the published one it belongs to."""
    import pandas as pd

    entries = pd.DataFrame(claim.entries).rename(columns={"figure": "figure_right"})
    on = [name for name in claim.published if name != "figure"]
    return side.merge(entries, on=on) if on else side.merge(entries, how="cross")


def _weighed(claim: Claim, pairs: "pd.DataFrame") -> "pd.DataFrame":
    """The pairs with their ratio, and with their margin: below 1 the claim holds; worst first."""
    left, right = pairs["figure"], pairs["figure_right"]
    ratio = (left / right).mask(left == right, 1.0)
    if claim.where:
        margin = (ratio - 1).abs() / claim.within
    else:
        margin = ratio * claim.factor if claim.left_wins else claim.factor / ratio
        margin = margin.mask((left if claim.left_wins else right) == inf, inf)
        # two times whose intervals overlap are not told apart: neither is the faster or the slower
        strict = claim.relation in ("<", ">")
        tied = _tied(claim, pairs) & (margin < 1 if strict else margin > 1)
        tied &= (left != inf) & (right != inf)
        margin = margin.mask(tied, 1.0)
    pairs = pairs.assign(tied=False if claim.where else tied)
    return pairs.assign(ratio=ratio, margin=margin).sort_values(
        "margin", ascending=False, kind="stable"
    )


def _tied(claim: Claim, pairs: "pd.DataFrame") -> "pd.Series":
    """Where two times are close for their noise, or overlap."""
    import pandas as pd

    if claim.value != "seconds_median" or "low_right" not in pairs:
        return pd.Series(False, index=pairs.index)
    ours, theirs = (claim.factor, 1.0) if claim.left_wins else (1.0, claim.factor)
    left, right = ours * pairs["figure"], theirs * pairs["figure_right"]
    hidden = 1 + pairs[["delta", "delta_right"]].max(axis=1)
    overlap = (ours * pairs["low"] <= theirs * pairs["high_right"]) & (
        theirs * pairs["low_right"] <= ours * pairs["high"]
    )
    return overlap | ((left <= right * hidden) & (right <= left * hidden))


def _meets(claim: Claim, margin: float) -> bool:
    return margin < 1 or (margin == 1 and claim.relation not in ("<", ">"))


def _point(claim: Claim, row: Mapping[str, Any]) -> Point:
    shown = claim.value not in ERRORS

    def side(end: str) -> ClaimSide:
        method, error = row.get(f"method{end}"), row.get(f"error{end}")
        if method is not None:
            method = " ".join([method, *(spoken(n, row[f"{n}{end}"]) for n in claim.apart)])
        known = shown and error is not None and isfinite(error)
        failed = row.get(f"failed{end}") or ""
        return ClaimSide(method, float(row[f"figure{end}"]), error if known else None, failed)

    at = {name: row[name] for name in claim.shared}
    met = _meets(claim, row["margin"])
    return Point(at, side(""), side("_right"), float(row["ratio"]), met, bool(row["tied"]))


def _published(claim: Claim, pairs: "pd.DataFrame") -> list[Published]:
    """Each published figure, and the median of what was measured there."""
    found = []
    for entry in claim.entries:
        at = {k: v for k, v in entry.items() if k != "figure"}
        here = pairs[_at(pairs, at)]["figure" if claim.where else "ratio"]
        found.append(Published(at, entry["figure"], float(here.median()) if len(here) else None))
    return found


def _at(frame: "pd.DataFrame", at: Mapping[str, Any]) -> "pd.Series":
    """Which rows have these values."""
    import pandas as pd

    same = pd.Series(True, index=frame.index)
    for name, value in at.items():
        same &= frame[name] == value
    return same


def _why(claim: Claim, frame: "pd.DataFrame") -> str:
    """Which side has no figure, and how its rows ended."""
    here = sorted(set(frame["device"]))
    for key in claim.conditions:
        for other in ("cpu", "cuda"):
            elsewhere = frame.assign(device=other)
            if claim.rows(key, frame).empty and not claim.rows(key, elsewhere).empty:
                return f"{key} is about {other}, and this run is of {' and '.join(here)}"
    for key in claim.conditions:
        wins = claim.left_wins == (key != "right")
        if _side(claim, frame, key, wins=wins).empty:
            counts = claim.rows(key, frame)["status"].value_counts()
            ended = ", ".join(f"{n} {status}" for status, n in counts.items())
            accurate = f" at an error of {claim.at_error:g}" if claim.at_error else ""
            return f"{key} has no figure{accurate} ({ended or 'no row'})"
    return "no published figure has a row" if claim.where else "no point has both sides"

"""Judge the claims of a paper from the rows of a run.

A claim compares two selections of rows (`left`, `right`), one selection with a number, or one
selection (`where`) with figures that the source has published. It is decided at *points*: a point
is the key of a row without the method and the seed, so that only methods differ within it. The
figure of a method at a point is its mean over the seeds. Every row of one side is compared with
every row of the other side at the same point.

A claim holds only where it was measured, and a method that failed cannot win:

* ok, inaccurate       The row has a figure. With `at_error` each side keeps only its fastest row
                       that is accurate enough, and a side without such a row cannot win.
* diverged             The same if the claim accepts this status, e.g. for a method that computes
                       something other than the root on purpose.
* failed               The figure is infinite for the side that should be smaller. For the other
                       side an error is infinite if the root or gradient is not finite or diverged;
                       a time or a size has no figure.
* absent, interrupted  The row has no figure.
* unverified           The row has no figure: its reference is less accurate than the error limit.

Two times that cannot be distinguished are a tie. A tie violates a claim with < or >, and satisfies
one with <= or >=.
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
    """One side of a comparison: a method and its figure, or a number, which has no method."""

    method: str | None
    figure: float
    error: float | None  # shown beside the figure, unless the figure is an error itself
    failed: str  # the status that made the figure infinite


class Point(NamedTuple):
    """One comparison of a claim's two sides; one of them may be a number or a published figure."""

    at: Mapping[str, Any]  # the key values of the point
    left: ClaimSide
    right: ClaimSide
    ratio: float  # left / right
    holds: bool
    tied: bool = False  # whether the two times cannot be distinguished


class Published(NamedTuple):
    """A published figure and what this run measured; with two sides, both are left / right."""

    at: Mapping[str, Any]
    figure: float
    here: float | None  # the median measured in this run; None if it was not measured


@dataclass(frozen=True)
class ClaimResult:
    """The result of judging a claim: the verdict, and the deciding comparisons, worst first."""

    claim: Claim
    verdict: ClaimVerdict
    points: Sequence[Point] = ()
    median: float | None = None  # of the ratios of all points
    published: Sequence[Published] = ()
    why: str = ""  # the reason for the verdict "not measured"


def judge_claims(tables: Any, frame: "pd.DataFrame") -> list[ClaimResult]:
    """Return the verdict on each claim of a suite, as the rows of a run decide it.

    tables: the [[claim]] tables. frame: the rows. Raises SuiteError, which names table and key, for
    a malformed claim or a condition on columns that the rows do not have.
    """
    frame, findings = with_labels(frame), []
    for number, claim in enumerate(read(tables), 1):
        with numbered(number):
            findings.append(_finding(claim, frame))
    return findings


def _finding(claim: Claim, frame: "pd.DataFrame") -> ClaimResult:
    """Return the verdict on one claim. frame: the rows, with the columns of labels.

    Raises TableError for a condition on columns that the rows do not have.
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
        return ClaimResult(
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
    return ClaimResult(claim, verdict, points, float(pairs["ratio"].median()), published, why)


def _side(claim: Claim, frame: "pd.DataFrame", key: str, *, wins: bool) -> "pd.DataFrame":
    """Return the figures of one side, with one row for every method at every point.

    key: the condition that selects the side's rows: where, left or right. wins: whether the claim
    says that this side is the smaller one; then a failed row has an infinite figure.
    """
    rows = with_outcomes(claim.rows(key, frame))
    errors = claim.value in ERRORS
    infinite = {*(_FAILED if wins else _WRONG if errors else ())} - {*claim.accept}
    status, error = rows["ended"], rows["error"]
    failed = status.where(status.isin(infinite), "")
    known = status.isin([*_USABLE, *claim.accept])
    figure = rows[claim.value].where(known).mask(failed != "", inf)
    if claim.at_error is not None:  # a row without a known error does not count as accurate
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

    too_inaccurate = side["error"] > claim.at_error
    side["figure"] = side["figure"].mask(too_inaccurate, inf if wins else float("nan"))
    side["failed"] = side["failed"].mask(too_inaccurate & (side["failed"] == ""), "inaccurate")
    return side.dropna(subset="figure").sort_values("figure").drop_duplicates(list(POINT))


def _with_entries(claim: Claim, side: "pd.DataFrame") -> "pd.DataFrame":
    """Return the figures of a side, each with the published figure that it is compared with."""
    import pandas as pd

    entries = pd.DataFrame(claim.entries).rename(columns={"figure": "figure_right"})
    on = [name for name in claim.published if name != "figure"]
    return side.merge(entries, on=on) if on else side.merge(entries, how="cross")


def _weighed(claim: Claim, pairs: "pd.DataFrame") -> "pd.DataFrame":
    """Return the pairs of figures with `ratio`, `margin` and `tied`, the worst pair first.

    A margin says how far a pair is from violating the claim: below 1 the claim is met.
    """
    left, right = pairs["figure"], pairs["figure_right"]
    ratio = (left / right).mask(left == right, 1.0)
    if claim.where:
        margin = (ratio - 1).abs() / claim.within
    else:
        margin = ratio * claim.factor if claim.left_wins else claim.factor / ratio
        margin = margin.mask((left if claim.left_wins else right) == inf, inf)
        # Two times whose intervals overlap are a tie: neither is the faster or the slower one.
        strict = claim.relation in ("<", ">")
        tied = _tied(claim, pairs) & (margin < 1 if strict else margin > 1)
        tied &= (left != inf) & (right != inf)
        margin = margin.mask(tied, 1.0)
    pairs = pairs.assign(tied=False if claim.where else tied)
    return pairs.assign(ratio=ratio, margin=margin).sort_values(
        "margin", ascending=False, kind="stable"
    )


def _tied(claim: Claim, pairs: "pd.DataFrame") -> "pd.Series":
    """Return for each pair whether its times tie: within noise, or with overlapping intervals."""
    import pandas as pd

    if claim.value != "seconds_median" or "low_right" not in pairs:
        return pd.Series(False, index=pairs.index)

    left_factor, right_factor = (claim.factor, 1.0) if claim.left_wins else (1.0, claim.factor)
    left, right = left_factor * pairs["figure"], right_factor * pairs["figure_right"]
    hidden = 1 + pairs[["delta", "delta_right"]].max(axis=1)
    overlap = (left_factor * pairs["low"] <= right_factor * pairs["high_right"]) & (
        right_factor * pairs["low_right"] <= left_factor * pairs["high"]
    )
    return overlap | ((left <= right * hidden) & (right <= left * hidden))


def _meets(claim: Claim, margin: float) -> bool:
    """Whether a margin of `_weighed` satisfies the relation of a claim; a margin of 1 is a tie."""
    return margin < 1 or (margin == 1 and claim.relation not in ("<", ">"))


def _point(claim: Claim, row: Mapping[str, Any]) -> Point:
    """Return one comparison of a claim, a row that `_weighed` has made, as a Point."""
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
    """Return each published figure with the median of this run's figures at the same point."""
    comparisons = []
    for entry in claim.entries:
        at = {k: v for k, v in entry.items() if k != "figure"}
        measured = pairs[_at(pairs, at)]["figure" if claim.where else "ratio"]
        comparisons.append(
            Published(at, entry["figure"], float(measured.median()) if len(measured) else None)
        )
    return comparisons


def _at(frame: "pd.DataFrame", at: Mapping[str, Any]) -> "pd.Series":
    """Return for each row whether its columns have the values `at`."""
    import pandas as pd

    same = pd.Series(True, index=frame.index)
    for name, value in at.items():
        same &= frame[name] == value
    return same


def _why(claim: Claim, frame: "pd.DataFrame") -> str:
    """Return why a claim was not measured, for example: `left has no figure (3 timeout)`."""
    devices = sorted(set(frame["device"]))
    for key in claim.conditions:
        for other in ("cpu", "cuda"):
            elsewhere = frame.assign(device=other)
            if claim.rows(key, frame).empty and not claim.rows(key, elsewhere).empty:
                return f"{key} is about {other}, and this run is of {' and '.join(devices)}"

    for key in claim.conditions:
        wins = claim.left_wins == (key != "right")
        if _side(claim, frame, key, wins=wins).empty:
            counts = claim.rows(key, frame)["status"].value_counts()
            statuses = ", ".join(f"{n} {status}" for status, n in counts.items())
            accurate = f" at an error of {claim.at_error:g}" if claim.at_error else ""
            return f"{key} has no figure{accurate} ({statuses or 'no row'})"
    return "no published figure has a row" if claim.where else "no point has both sides"

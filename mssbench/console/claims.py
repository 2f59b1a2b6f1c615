"""Claims with their verdicts as rich renderables. Prints nothing itself."""

from collections.abc import Iterable, Iterator, Mapping
from math import inf
from typing import Any

from rich.table import Table
from rich.text import Text

from mssbench import units
from mssbench.analysis.claims import ClaimSide, ClaimVerdict, Finding, Point
from mssbench.records.schema import BY_NAME
from mssbench.results.labels import spoken
from mssbench.suite.claims import Claim

STYLE = {ClaimVerdict.HOLDS: "green", ClaimVerdict.FAILS: "yellow", ClaimVerdict.UNMEASURED: "dim"}
_POINTS = 3  # of one claim, worst first; the rest are counted


def verdicts(found: Iterable[Finding]) -> Table:
    """A verdict beside each claim; below it the source, the rule, and the worst of its points."""
    table = Table(box=None, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for each in found:
        text = Text.assemble((each.claim.claim, "bold"), "\n", (each.claim.source, "dim"), "\n")
        text.append("".join(f"{line}\n" for line in _lines(each)))
        table.add_row(Text(each.verdict, STYLE[each.verdict]), text)
    return table


def _lines(found: Finding) -> Iterator[str]:
    claim, points = found.claim, found.points
    if found.why:
        yield f"{found.why}."
    if points:
        same = {k: v for k, v in points[0].at.items() if all(p.at[k] == v for p in points)}
        yield _rule(found)
        yield f"everywhere: {_words(same)}"
        for point in points[:_POINTS]:
            apart = _words({k: v for k, v in point.at.items() if k not in same})
            yield f"  {apart}{': ' if apart else ''}{_compared(claim, point)}"
        if len(points) > _POINTS:
            yield f"  and {units.count(len(points) - _POINTS, 'more comparison')} (--json has all)"
    if claim.where:
        return  # the points have said it
    for each in found.published:
        where = f"{_words(each.at)}: " if each.at else ""
        here = "not measured here"
        if each.here is not None:
            here = f"here {_ratio(each.here)}, {_ratio(each.here / each.figure)} as much"
        yield f"  {where}published {_ratio(each.figure)}; {here}"


def _sides(claim: Claim) -> tuple[str, str]:
    """`3 x left` and `right`, or `left` and `1.2 x right`: never a part of the left."""
    if claim.factor == 1:
        return "left", "right"
    if claim.left_wins and claim.factor > 1:
        return f"{claim.factor:g} x left", "right"
    return "left", f"{1 / claim.factor if claim.left_wins else claim.factor:.4g} x right"


def _rule(found: Finding) -> str:
    """`seconds_median: left < right in 11 of 12 comparisons, 0.62x in the median`."""
    claim = found.claim
    holds = sum(p.holds for p in found.points)
    at = f"in {holds} of {units.count(len(found.points), 'comparison')}"
    if claim.accept:
        at += f", {' and '.join(claim.accept)} rows included"
    if claim.within is not None:
        return f"{claim.value}: within {100 * claim.within:g} % of the published figure {at}"
    left, right = _sides(claim)
    right = right if isinstance(claim.right, str) else BY_NAME[claim.value].figure(claim.right)
    rule = f"{claim.value}: {left} {claim.relation} {right}"
    middle = f"{_ratio(found.median)} in the median"
    return f"{rule}, {middle}; {at}" if claim.over == "median" else f"{rule} {at}, {middle}"


def _compared(claim: Claim, point: Point) -> str:
    left, right = _side(claim, point.left), _side(claim, point.right)
    if claim.where:
        return f"{_off(point.ratio)}{left} against the published {right}"
    if point.right.method is None:
        return left
    failed = point.left.failed or point.right.failed
    tied = ", not told apart" if point.tied else ""
    return f"{'' if failed else f'{_ratio(point.ratio)}, '}{left} against {right}{tied}"


def _side(claim: Claim, side: ClaimSide) -> str:
    """`torch/eigh 3.93 ms (error 2e-01)`; what it failed with instead of a figure."""
    method = f"{side.method} " if side.method is not None else ""
    error = f" (error {units.error(side.error)})" if side.error is not None else ""
    return f"{method}{side.failed or BY_NAME[claim.value].figure(side.figure)}{error}"


def _ratio(x: float | None) -> str:
    """0.62x; 3e-06x where a point would hide among the zeros; a dash where one side has failed."""
    if x is None or not 0 < x < inf:
        return "-"
    return units.ratio(x) if 1e-3 <= x < 1e4 else f"{x:.0e}x"


def _off(ratio: float) -> str:
    return f"{100 * (ratio - 1):+.1f} %, " if ratio < inf else ""


def _words(at: Mapping[str, Any]) -> str:
    return " · ".join(spoken(name, value) for name, value in at.items())

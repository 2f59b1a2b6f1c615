"""Sentences on the verdict on a claim: its rule, how often it holds, and the worst comparisons."""

from collections.abc import Iterator, Mapping
from math import inf
from typing import Any

from mssbench.analysis.claims import ClaimResult, ClaimSide, Point
from mssbench.records import units
from mssbench.records.schema import BY_NAME
from mssbench.results.labels import spoken
from mssbench.suite.claims import Claim

_POINTS = 3  # comparisons of one claim that are listed, worst first; the rest are counted


def lines(finding: ClaimResult) -> Iterator[str]:
    """Yield the lines on one claim: why it was not measured, the rule, and some comparisons.

    Lines on single comparisons are indented. The worst comparisons come first.
    """
    claim, points = finding.claim, finding.points
    if finding.why:
        yield f"{finding.why}."
    if points:
        same = {k: v for k, v in points[0].at.items() if all(p.at[k] == v for p in points)}
        yield _rule(finding)
        yield f"everywhere: {_words(same)}"
        for point in points[:_POINTS]:
            apart = _words({k: v for k, v in point.at.items() if k not in same})
            yield f"  {apart}{': ' if apart else ''}{_compared(claim, point)}"
        if len(points) > _POINTS:
            yield f"  and {units.count(len(points) - _POINTS, 'more comparison')} (--json has all)"
    if claim.where:
        return  # the points above already show the published figures

    for published in finding.published:
        where = f"{_words(published.at)}: " if published.at else ""
        measured = "not measured here"
        if published.here is not None:
            measured = (
                f"here {_ratio(published.here)}, "
                f"{_ratio(published.here / published.figure)} as much"
            )
        yield f"  {where}published {_ratio(published.figure)}; {measured}"


def _sides(claim: Claim) -> tuple[str, str]:
    """Return the names of the two sides, with the claim's factor where it exceeds 1: `2 x left`."""
    if claim.factor == 1:
        return "left", "right"
    if claim.left_wins and claim.factor > 1:
        return f"{claim.factor:g} x left", "right"
    return "left", f"{1 / claim.factor if claim.left_wins else claim.factor:.4g} x right"


def _rule(finding: ClaimResult) -> str:
    """Return a claim's rule and how often it holds: `root_error: left < right in 11 of 12 ...`.

    The median of the ratios left / right is added.
    """
    claim = finding.claim
    holds = sum(p.holds for p in finding.points)
    at = f"in {holds} of {units.count(len(finding.points), 'comparison')}"
    if claim.accept:
        at += f", {' and '.join(claim.accept)} rows included"
    if claim.within is not None:
        return f"{claim.value}: within {100 * claim.within:g} % of the published figure {at}"

    left, right = _sides(claim)
    right = right if isinstance(claim.right, str) else BY_NAME[claim.value].figure(claim.right)
    rule = f"{claim.value}: {left} {claim.relation} {right}"
    middle = f"{_ratio(finding.median)} in the median"
    return f"{rule}, {middle}; {at}" if claim.over == "median" else f"{rule} {at}, {middle}"


def _compared(claim: Claim, point: Point) -> str:
    """Return one comparison as text: the ratio, and the figures of both sides."""
    left, right = _side(claim, point.left), _side(claim, point.right)
    if claim.where:
        return f"{_off(point.ratio)}{left} against the published {right}"
    if point.right.method is None:
        return left
    failed = point.left.failed or point.right.failed
    tied = ", a tie" if point.tied else ""
    return f"{'' if failed else f'{_ratio(point.ratio)}, '}{left} against {right}{tied}"


def _side(claim: Claim, side: ClaimSide) -> str:
    """Return a method with its figure, `torch/eigh 3.93 ms (error 2e-01)`, or with its failure."""
    method = f"{side.method} " if side.method is not None else ""
    error = f" (error {units.error(side.error)})" if side.error is not None else ""
    return f"{method}{side.failed or BY_NAME[claim.value].figure(side.figure)}{error}"


def _ratio(x: float | None) -> str:
    """Return a ratio: `0.62x`, `3e-06x` if it is very small or large, `-` if one side failed."""
    if x is None or not 0 < x < inf:
        return "-"
    return units.ratio(x) if 1e-3 <= x < 1e4 else f"{x:.0e}x"


def _off(ratio: float) -> str:
    return f"{100 * (ratio - 1):+.1f} %, " if ratio < inf else ""


def _words(at: Mapping[str, Any]) -> str:
    return " · ".join(spoken(name, value) for name, value in at.items())

"""The verdict on the time of each row, from pairs of processes.

All rows are screened, and the few that stand out are confirmed. The statistical unit is the pair of
processes, one of base and one of new, sampled in turn, because samples inside one process are not
independent. Each process counts with its lower quartile, as other work on a machine makes times
longer and never shorter; the effect of a pair is e = ln(q1 of new / q1 of base).

The screen compares a magnitude and is no test: three pairs cannot reach significance. A row that it
flags is measured in nine fresh pairs. The row is slower if all of these hold:

* the mean of the fresh pairs is significantly larger (one-sided t test, 5 % over all flagged rows
  by Holm's rule);
* their median exceeds what the scatter of pairs allows;
* a sample changed by more than the uncertainty of a clock.

In simulations of identical code, a row whose pairs scatter by 5 % is called slower once in some
thousand times. Rules on stored times failed in 20 to 80 % of comparisons of 16 identical rows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import exp, inf, log, sqrt
from statistics import fmean, median, stdev

from mssbench.compare.judgement import SelfComparison
from mssbench.compare.verdict import BY_TIME, Verdict
from mssbench.records.noise import DELTA, Noise

SCREEN_PAIRS, CONFIRM_PAIRS, ROUNDS = 3, 9, 15
NULL_SHARE, FEWEST_NULL = 0.1, 8  # of the cells, those in which base meets itself
SCREEN = log(1.03)
_ALPHA = 0.05
_CHANCE = 0.1  # false discovery rate of the list of rows that are worth a look
_POWER = 0.8  # the probability with which the detectable slowdown is found
_FLOOR = {"cpu": 10e-6, "cuda": 2e-6}  # seconds by which a sample must change: a clock's doubt
# What an effect must exceed, in units of the scatter of a single pair. By chance the median of nine
# pairs is as far off once in a thousand times, whatever the t test of the same nine pairs says.
# With five pairs the margin would have to be 1.6, and a slowdown of 5 % was then found in only half
# of the rows whose pairs scatter by 3 %.
_MARGIN = 1.2
_OWN = 4  # weight of the usual scatter, in pairs: three pairs of a row tell little about its own
_LEAST, _MOST = log(1 + DELTA[Noise.QUIET]), log(1 + DELTA[Noise.NOISY])


@dataclass(frozen=True)
class Evidence:
    """All that is known about the time of one row."""

    screen: tuple[float, ...]  # effects of the first pairs
    confirm: tuple[float, ...] = ()  # effects of the fresh pairs, where the row was flagged
    window: float = inf  # seconds of a sample of base
    device: str = "cpu"
    limit: float | None = None  # the factor by which a person lets the time grow
    disturbed: bool = False  # whether other work was seen while it was sampled, noise.DISTURBED
    usual: float | None = None  # the usual scatter of the rows of this run, see `together`

    @property
    def flagged(self) -> bool:
        """Whether the screen sends it on."""
        return abs(median(self.screen)) > SCREEN

    @property
    def slower(self) -> bool:
        """Which way it was flagged."""
        return median(self.screen) > 0

    @property
    def effects(self) -> tuple[float, ...]:
        """Of every pair; only of the fresh ones where there are some, as flags are a choice."""
        return self.confirm or self.screen

    @property
    def scatter(self) -> float | None:
        """How far single pairs lie from each other: by its own, and by what is usual in this run.

        In-process quartiles do not say it: half of the rows whose samples spread by a tenth have
        pairs that agree within 2 %.
        """
        squares, free = _squares(self.screen)
        more, free_more = _squares(self.confirm)
        if self.usual is not None:
            more, free_more = more + _OWN * self.usual**2, free_more + _OWN
        free += free_more
        return sqrt((squares + more) / free) if free else None  # of a single pair nothing is known

    @property
    def delta(self) -> float:
        """The least effect that matters and is no chance; what somebody allows is about growth."""
        if self.slower and self.limit is not None:
            return log(self.limit)
        return max(_MARGIN * (self.scatter or 0.0), _MOST if self.disturbed else _LEAST)

    @property
    def noise(self) -> Noise:
        """The name of it."""
        hidden = _MARGIN * (self.scatter or 0.0)
        if hidden > _MOST:
            return Noise.UNSTABLE
        return Noise.NOISY if self.disturbed or hidden > _LEAST else Noise.QUIET

    def interval(self) -> tuple[float, float]:
        """Of the mean effect, 90 %."""
        n = len(self.effects)
        if n < 2:
            return -inf, inf
        half = _quantile(0.95, n - 1) * stdev(self.effects) / sqrt(n)
        return fmean(self.effects) - half, fmean(self.effects) + half

    def proven_same(self) -> bool:
        """Whether the whole interval lies within 3 %, or upwards within what somebody allows."""
        low, high = self.interval()
        return low > -_LEAST and high < (_LEAST if self.limit is None else log(self.limit))

    def excess(self) -> list[float]:
        """The effects beyond what somebody allows, which is nothing as a rule."""
        allowed = 0.0 if self.limit is None else log(self.limit)
        return [x - allowed for x in self.effects]


def _squares(effects: Sequence[float]) -> tuple[float, int]:
    """The sum of the squared distances from their mean, and how many of them are free."""
    middle = fmean(effects) if effects else 0.0
    return sum((x - middle) ** 2 for x in effects), max(len(effects) - 1, 0)


def together(rows: Mapping[str, Evidence]) -> dict[str, Evidence]:
    """The rows of one run, each with the usual scatter of this run."""
    usual = usual_scatter(rows)
    return {key: replace(e, usual=usual) for key, e in rows.items()}


def verdicts(rows: Mapping[str, Evidence]) -> dict[str, Verdict]:
    """The verdict on each row; Holm's rule needs all of them, to know how many were flagged."""
    flagged = {k: e for k, e in rows.items() if e.flagged}
    significant = _holm({k: _p_value(e) for k, e in flagged.items()})

    found = {}
    for key, e in rows.items():
        if e.flagged and key in significant and _matters(e):
            found[key] = Verdict.SLOWER if e.slower else Verdict.FASTER
        elif e.proven_same():
            found[key] = Verdict.SAME
        elif e.flagged:
            found[key] = Verdict.UNCLEAR
        else:
            found[key] = Verdict.UNFLAGGED
    return found


def _matters(e: Evidence) -> bool:
    if not e.confirm:
        return False
    effect = median(e.confirm) * (1 if e.slower else -1)
    changed = e.window * abs(exp(median(e.confirm)) - 1)
    return effect > e.delta and changed > _FLOOR[e.device]


def _p_value(e: Evidence) -> float:
    """The p-value of the one-sided t test on the fresh pairs; 1 where there are none.

    The null hypothesis is that the row has no effect in the direction that was flagged, or, where a
    person has set a limit, no effect beyond this limit.
    """
    if not e.confirm:
        return 1.0
    return _one_sided(e.excess() if e.slower else [-x for x in e.confirm])


def _one_sided(effects: Sequence[float]) -> float:
    """The p-value of the t test that the mean of the effects is positive; 1 for fewer than two."""
    n = len(effects)
    if n < 2:
        return 1.0

    scatter = stdev(effects)
    if scatter == 0:
        return 0.0 if fmean(effects) > 0 else 1.0
    from scipy.special import stdtr

    return float(stdtr(n - 1, -fmean(effects) * sqrt(n) / scatter))


def worth_a_look(rows: Mapping[str, Evidence]) -> list[str]:
    """The rows that may be slower, smallest p-value first. This is advice and no verdict.

    Benjamini and Hochberg's rule is applied to one-sided t tests. Where a row has fresh pairs, only
    these count, because the pairs of the screen were the reason to measure it again.
    """
    known = {k: _one_sided(e.excess()) for k, e in rows.items()}
    ordered = sorted(known.items(), key=lambda item: item[1])

    likely = (i for i, (_, p) in enumerate(ordered, 1) if p <= _CHANCE * i / len(ordered))
    last = max(likely, default=0)
    return [key for key, _ in ordered[:last]]


def _holm(p_values: Mapping[str, float]) -> set[str]:
    """The rows that are significant together, by Holm's rule.

    The smallest p-value is compared with α / m, the next with α / (m - 1), and so on.
    """
    significant: set[str] = set()
    for i, (key, p) in enumerate(sorted(p_values.items(), key=lambda item: item[1])):
        if p > _ALPHA / (len(p_values) - i):
            break
        significant.add(key)
    return significant


def _quantile(p: float, df: int) -> float:
    """A quantile of Student's t distribution."""
    from scipy.special import stdtrit

    return float(stdtrit(df, p))


def detectable(e: Evidence) -> float | None:
    """The smallest slowdown that would be confirmed four times of five, 0.05 is 5 %.

    None where the scatter is not known.
    """
    if e.scatter is None:
        return None

    matters = max(_MARGIN * e.scatter, _LEAST) if e.limit is None else log(e.limit)
    df = CONFIRM_PAIRS - 1
    told = (_quantile(1 - _ALPHA, df) + _quantile(_POWER, df)) * e.scatter / sqrt(CONFIRM_PAIRS)

    # The medians of three and of nine pairs have to pass as well; 0.8 is from simulations of all
    # three conditions.
    allowed = 0.0 if e.limit is None else log(e.limit)
    return exp(max(allowed + told, max(matters, SCREEN) + 0.8 * e.scatter)) - 1


def usual_scatter(rows: Mapping[str, Evidence]) -> float | None:
    """The median over the rows of the scatter of one row's pairs, from the screen alone.

    None where no row has two pairs. The median of variances of few pairs is too low, which is
    corrected by the cube of Wilson and Hilferty's approximation of χ².
    """
    variances = sorted(
        squares / (free * (1 - 2 / (9 * free)) ** 3)
        for squares, free in (_squares(e.screen) for e in rows.values())
        if free
    )
    return sqrt(median(variances)) if variances else None


def null(rows: Mapping[str, Evidence]) -> SelfComparison:
    """What the rule finds in the null arm, where base is compared with base."""
    confirmed = [key for key, verdict in verdicts(rows).items() if verdict in BY_TIME]
    bias = median(abs(median(e.screen)) for e in rows.values()) if rows else 0.0

    single = sorted(abs(x) for e in rows.values() for x in (*e.screen, *e.confirm))
    floor = single[min(int(0.95 * len(single)), len(single) - 1)] if single else 0.0
    return SelfComparison(len(rows), tuple(confirmed), bias, floor, usual_scatter(rows) or 0.0)


def doubt_of(null: SelfComparison) -> str:
    """Why no time of the run may be trusted; empty where the null arm shows nothing unusual."""
    if null.confirmed:
        return f"base was told from itself in {len(null.confirmed)} of its own rows"

    # Twice the bias that scatter alone gives three pairs, for which the rule allows everywhere.
    if null.bias > min(max(_LEAST / 2, 0.9 * null.scatter), _LEAST):
        return f"base differs from itself by {100 * null.bias:.1f} % in the median"
    return ""

"""Judge the time of each row from pairs of processes, in two stages: a screen and a confirmation.

The statistical unit is the pair of processes, one of base and one of new, sampled alternately,
because samples inside one process are not independent. Each process is summarized by its lower
quartile q1, as other load on a machine only makes times longer. The effect of a pair is
e = ln(q1 of new / q1 of base).

The screen flags all rows whose median effect exceeds a threshold. It is no significance test, as
three pairs are too few for one. A flagged row is measured in nine fresh pairs. It is slower if all
of these hold:

* the mean effect of the fresh pairs is significantly positive (one-sided t test, 5 % over all
  flagged rows by Holm's rule);
* their median effect exceeds a multiple of the scatter of single pairs;
* the time of a sample changed by more than the uncertainty of a clock.

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

# Pairs of processes in the screen and in the confirmation, and samples of a process for each row.
# More of them detect smaller slowdowns, and take proportionally longer.
SCREEN_PAIRS, CONFIRM_PAIRS, ROUNDS = 3, 9, 15
# Share of the cells in the null arm, which compares base with itself, and their least number.
NULL_SHARE, FEWEST_NULL = 0.1, 8
SCREEN = log(1.03)  # median effect of the screen above which a row is flagged
_ALPHA = 0.05  # family-wise error rate of the confirmation
_CHANCE = 0.1  # false discovery rate of the list of rows that are worth a look
_POWER = 0.8  # probability with which the "detectable" slowdown is confirmed
# Seconds by which a sample must change: the uncertainty of the clock of each device.
_FLOOR = {"cpu": 10e-6, "cuda": 2e-6}
# Multiple of the scatter of a single pair that an effect must exceed. By chance the median of nine
# pairs exceeds it once in a thousand times, independently of the result of the t test. With five
# pairs the factor would have to be 1.6, and a slowdown of 5 % was then detected in only half of the
# rows whose pairs scatter by 3 %.
_MARGIN = 1.2
# Weight of the usual scatter of all rows, in pairs: the three pairs of the screen alone do not
# estimate the scatter of their row well.
_USUAL_WEIGHT = 4
# Smallest relevant effect without disturbances, and with them.
_LEAST, _MOST = log(1 + DELTA[Noise.QUIET]), log(1 + DELTA[Noise.NOISY])


@dataclass(frozen=True)
class Evidence:
    """The effects of all pairs of one row, with what is needed to judge them.

    An effect is the logarithm of a pair's ratio of times, see the module; 0.05 is 5 % slower.
    """

    screen: tuple[float, ...]  # effects of the screening pairs
    confirm: tuple[float, ...] = ()  # effects of the fresh pairs, if the row was flagged
    window: float = inf  # seconds of a sample of base
    device: str = "cpu"
    limit: float | None = None  # the user's limit: the factor by which the time may grow
    disturbed: bool = False  # whether other load was seen during the samples, noise.DISTURBED
    usual: float | None = None  # the usual scatter of the rows of this run, see `together`

    @property
    def flagged(self) -> bool:
        """Whether the screen flags the row for confirmation."""
        return abs(median(self.screen)) > SCREEN

    @property
    def slower(self) -> bool:
        """Whether the median effect of the screen is a slowdown."""
        return median(self.screen) > 0

    @property
    def effects(self) -> tuple[float, ...]:
        """The effects of the fresh pairs, or of the screen if there are none.

        For a flagged row the effects of the screen are biased, as the row was selected by them.
        """
        return self.confirm or self.screen

    @property
    def scatter(self) -> float | None:
        """The standard deviation of a single pair's effect, pooled with the usual one of the run.

        None if it is unknown. The quartiles inside a process are no substitute: half of the rows
        whose samples spread by 10 % have pairs that agree within 2 %.
        """
        squares, free = _squares(self.screen)
        more, free_more = _squares(self.confirm)
        if self.usual is not None:
            more, free_more = more + _USUAL_WEIGHT * self.usual**2, free_more + _USUAL_WEIGHT

        free += free_more
        return sqrt((squares + more) / free) if free else None  # a single pair has no scatter

    @property
    def delta(self) -> float:
        """The smallest relevant effect: the user's limit for slowdowns, else a bound of noise."""
        if self.slower and self.limit is not None:
            return log(self.limit)
        return max(_MARGIN * (self.scatter or 0.0), _MOST if self.disturbed else _LEAST)

    @property
    def noise(self) -> Noise:
        """The noise of the row as a word: quiet, noisy or unstable."""
        hidden = _MARGIN * (self.scatter or 0.0)
        if hidden > _MOST:
            return Noise.UNSTABLE
        return Noise.NOISY if self.disturbed or hidden > _LEAST else Noise.QUIET

    def interval(self) -> tuple[float, float]:
        """Return the 90 % confidence interval of the mean effect."""
        n = len(self.effects)
        if n < 2:
            return -inf, inf
        half = _quantile(0.95, n - 1) * stdev(self.effects) / sqrt(n)
        return fmean(self.effects) - half, fmean(self.effects) + half

    def proven_same(self) -> bool:
        """Whether the interval lies within ±3 %; a user's limit replaces the upper end."""
        low, high = self.interval()
        return low > -_LEAST and high < (_LEAST if self.limit is None else log(self.limit))

    def excess(self) -> list[float]:
        """Return how far each effect exceeds the logarithm of the user's limit, by default 0."""
        allowed = 0.0 if self.limit is None else log(self.limit)
        return [x - allowed for x in self.effects]


def _squares(effects: Sequence[float]) -> tuple[float, int]:
    """Return the sum of squared deviations from the mean, and its degrees of freedom."""
    mean = fmean(effects) if effects else 0.0
    return sum((x - mean) ** 2 for x in effects), max(len(effects) - 1, 0)


def together(rows: Mapping[str, Evidence]) -> dict[str, Evidence]:
    """Return the evidence of all rows of a comparison, with the usual scatter of rows filled in."""
    usual = usual_scatter(rows)
    return {key: replace(e, usual=usual) for key, e in rows.items()}


def verdicts(rows: Mapping[str, Evidence]) -> dict[str, Verdict]:
    """Return the verdict on each row. Holm's rule needs all rows of the comparison in `rows`."""
    flagged = {k: e for k, e in rows.items() if e.flagged}
    significant = _holm({k: _p_value(e) for k, e in flagged.items()})

    verdict_of = {}
    for key, e in rows.items():
        if e.flagged and key in significant and _matters(e):
            verdict_of[key] = Verdict.SLOWER if e.slower else Verdict.FASTER
        elif e.proven_same():
            verdict_of[key] = Verdict.SAME
        elif e.flagged:
            verdict_of[key] = Verdict.UNCLEAR
        else:
            verdict_of[key] = Verdict.UNFLAGGED
    return verdict_of


def _matters(e: Evidence) -> bool:
    """Whether the median effect of the fresh pairs exceeds noise and clock uncertainty."""
    if not e.confirm:
        return False
    effect = median(e.confirm) * (1 if e.slower else -1)
    changed = e.window * abs(exp(median(e.confirm)) - 1)
    return effect > e.delta and changed > _FLOOR[e.device]


def _p_value(e: Evidence) -> float:
    """Return the p-value of the one-sided t test on the fresh pairs; 1 if there are none.

    The null hypothesis is that the row has no effect in the direction that was flagged or, if a
    user has set a limit, no effect beyond this limit.
    """
    if not e.confirm:
        return 1.0
    return _one_sided(e.excess() if e.slower else [-x for x in e.confirm])


def _one_sided(effects: Sequence[float]) -> float:
    """Return the p-value of the t test for a positive mean effect; 1 for fewer than two effects."""
    n = len(effects)
    if n < 2:
        return 1.0

    scatter = stdev(effects)
    if scatter == 0:
        return 0.0 if fmean(effects) > 0 else 1.0
    from scipy.special import stdtr

    return float(stdtr(n - 1, -fmean(effects) * sqrt(n) / scatter))


def worth_a_look(rows: Mapping[str, Evidence]) -> list[str]:
    """Return the keys of rows that may be slower, smallest p-value first: advice, no verdict.

    Benjamini and Hochberg's rule is applied to one-sided t tests. If a row has fresh pairs, only
    these count, because the row was selected by the pairs of the screen.
    """
    known = {k: _one_sided(e.excess()) for k, e in rows.items()}
    ordered = sorted(known.items(), key=lambda item: item[1])

    likely = (i for i, (_, p) in enumerate(ordered, 1) if p <= _CHANCE * i / len(ordered))
    last = max(likely, default=0)
    return [key for key, _ in ordered[:last]]


def _holm(p_values: Mapping[str, float]) -> set[str]:
    """Return the keys of the rows that are jointly significant by Holm's rule.

    The smallest of m p-values is compared with α / m, the next with α / (m - 1), and so on, up to
    the first that exceeds its limit.
    """
    significant: set[str] = set()
    for i, (key, p) in enumerate(sorted(p_values.items(), key=lambda item: item[1])):
        if p > _ALPHA / (len(p_values) - i):
            break
        significant.add(key)
    return significant


def _quantile(p: float, df: int) -> float:
    """Return the quantile p of Student's t distribution with df degrees of freedom."""
    from scipy.special import stdtrit

    return float(stdtrit(df, p))


def detectable(e: Evidence) -> float | None:
    """Return the smallest slowdown that would be confirmed with 80 % probability; 0.05 is 5 %.

    None if the scatter is not known.
    """
    if e.scatter is None:
        return None

    matters = max(_MARGIN * e.scatter, _LEAST) if e.limit is None else log(e.limit)
    df = CONFIRM_PAIRS - 1
    t_margin = (_quantile(1 - _ALPHA, df) + _quantile(_POWER, df)) * e.scatter / sqrt(CONFIRM_PAIRS)

    # The medians of the three and of the nine pairs must pass as well. The factor 0.8 was found in
    # simulations of all three conditions.
    allowed = 0.0 if e.limit is None else log(e.limit)
    return exp(max(allowed + t_margin, max(matters, SCREEN) + 0.8 * e.scatter)) - 1


def usual_scatter(rows: Mapping[str, Evidence]) -> float | None:
    """Return the median over the rows of the scatter of a row's screening pairs.

    None if no row has two pairs. The median of variances of few pairs is biased downwards, which is
    corrected by the cube of Wilson and Hilferty's approximation of χ².
    """
    variances = sorted(
        squares / (free * (1 - 2 / (9 * free)) ** 3)
        for squares, free in (_squares(e.screen) for e in rows.values())
        if free
    )
    return sqrt(median(variances)) if variances else None


def null(rows: Mapping[str, Evidence]) -> SelfComparison:
    """Return what the rule for times finds where base is compared with base (the null arm).

    rows: the evidence on the null arm, by key.
    """
    confirmed = [key for key, verdict in verdicts(rows).items() if verdict in BY_TIME]
    bias = median(abs(median(e.screen)) for e in rows.values()) if rows else 0.0

    single = sorted(abs(x) for e in rows.values() for x in (*e.screen, *e.confirm))
    floor = single[min(int(0.95 * len(single)), len(single) - 1)] if single else 0.0
    return SelfComparison(len(rows), tuple(confirmed), bias, floor, usual_scatter(rows) or 0.0)


def doubt_of(null: SelfComparison) -> str:
    """Return why no time of the run can be trusted; empty if the null arm is as expected."""
    if null.confirmed:
        return (
            f"a difference of base from itself was confirmed in {len(null.confirmed)} of its rows"
        )

    # 0.9 times the scatter is twice the bias that scatter alone causes in three pairs.
    if null.bias > min(max(_LEAST / 2, 0.9 * null.scatter), _LEAST):
        return f"base differs from itself by {100 * null.bias:.1f} % in the median"
    return ""
